"""Reports of a batch and its cards for people and programs."""
