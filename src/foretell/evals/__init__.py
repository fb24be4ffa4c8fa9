"""Evaluation: tasks put to a model, scored, recorded, compared; calibration and contamination."""
