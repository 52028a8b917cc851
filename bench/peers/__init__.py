"""The servers that micwire is compared with; each prints `NAME is at http://HOST:PORT`."""
