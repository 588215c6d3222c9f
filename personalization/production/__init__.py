"""Stations, stock, journal and audit: each card made once and accounted for."""
