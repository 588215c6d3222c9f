"""Casework: an application from its receipt to the permit that is handed over."""
