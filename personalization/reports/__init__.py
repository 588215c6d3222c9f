"""What an operator and a customer are shown of a batch."""
