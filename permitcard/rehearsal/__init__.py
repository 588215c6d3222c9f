"""A whole batch rehearsed before it is loaded."""
