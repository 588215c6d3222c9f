"""The front door: the command line and the names that a newcomer imports."""

__version__ = "0.1.0"
