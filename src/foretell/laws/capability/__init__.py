"""Accuracies, error rates and pass rates of runs that nobody has trained yet."""
