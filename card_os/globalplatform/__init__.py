"""The card manager: registry, issuer domain, secure channels, content management."""
