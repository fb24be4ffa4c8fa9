"""Which items of a benchmark stand in the training corpus, and what the scores are without them."""
