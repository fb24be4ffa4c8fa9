"""Images with text: documents, their generator, and how they are stored and packed."""
