"""Tasks: data, how it is asked and graded; one registry for evaluation, training mixtures and rewards."""
