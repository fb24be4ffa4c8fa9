"""Ladders: from a target's compute to small runs that can forecast it, planned, tuned and run side by side."""
