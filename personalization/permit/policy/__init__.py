"""Policies as dated data: one file an area and a day from which it holds."""
