"""Laws of parameters and tokens, and what they say about a budget."""
