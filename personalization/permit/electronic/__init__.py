"""The electronic permit: a signed pass of equal force, its status list, and the confirmation sheet."""
