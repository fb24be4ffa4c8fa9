"""The tasks that come with Foretell: readers of their files, prompts and graders; no data."""
