"""The vocabulary that every part may import: APDUs, status words, errors, data objects, identifiers."""
