"""Tear scripts: what a card is made to do while power is cut at every programming unit."""
