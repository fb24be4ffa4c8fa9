"""Kernels for inference on a CPU, compiled on the machine that runs them."""
