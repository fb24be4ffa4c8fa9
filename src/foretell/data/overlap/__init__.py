"""Exact search for passages in a large corpus: an index on disk, built and read with bounded memory."""
