"""The host's side of GlobalPlatform: secure channel and commands."""
