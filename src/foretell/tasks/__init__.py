"""Tasks: data, how it is asked, and how an answer is graded; one registry for evaluation, training mixtures and rewards."""
