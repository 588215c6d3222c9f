"""Applications of the card, one folder each with its profile."""
