"""Keys by reference: stores, derivation, the document signer."""
