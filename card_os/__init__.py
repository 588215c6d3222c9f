"""The firmware model: bytes in, bytes out; everything lasting lives in the NVM image."""
