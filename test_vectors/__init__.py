"""Published and self-made vectors, with their schema and sources."""
