"""HTTPS of our own server: who we are, the certificate that says so, and where we are found."""
