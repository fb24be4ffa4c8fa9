"""Whole training curves: the law of annealed ones, and jobs watched against their forecast."""
