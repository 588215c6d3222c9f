"""What a chip is made of: memory, clock, randomness, power and the two interfaces."""
