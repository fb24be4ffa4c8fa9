"""The one decoder: its shape, its parametrization, its primitives, and its life as a Hugging Face directory."""
