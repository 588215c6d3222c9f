"""Access rules, PINs, keys, authentication and secure messaging."""
