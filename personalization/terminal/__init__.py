"""The host's side of a terminal: authentication through a SAM and secure messaging."""
