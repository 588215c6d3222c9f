"""Finished cards read back and compared with what was asked for."""
