"""A key store in a PKCS#11 token; the only place that imports python-pkcs11."""
