"""Preparation of batches of any size: in chunks, on all cores or many machines, going on where it stopped."""
