"""The secure access module that a terminal carries."""
