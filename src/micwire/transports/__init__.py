"""Carriers: bytes in, bytes out. What the bytes mean is in `micwire.core`."""
