"""Simulated and real cards behind one connection."""
