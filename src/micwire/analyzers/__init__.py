"""Analyzers that come with micwire, one file each; entry points "micwire.analyzers"."""
