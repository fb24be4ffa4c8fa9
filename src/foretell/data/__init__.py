"""From sources to batches: a frozen corpus with its provenance, a tokenizer, tokens on disk, the stream of rows."""
