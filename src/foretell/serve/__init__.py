"""The OpenAI HTTP API and a chat page over one engine."""
