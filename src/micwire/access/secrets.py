"""Random secrets: how they are made, and what is kept of them.

A secret of 256 random bits needs no salt and no slow hash: nobody can guess what is hashed.
Only the hash is ever stored, and secrets are found by it, so that no comparison of them can
be timed.
"""

import hashlib
import hmac
import secrets

TOKEN_PREFIX = "micwire_"
"""Makes an API token recognizable to programs that look for leaked ones."""


def new_secret(prefix: str = "") -> str:
    """Return a fresh secret of 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


def new_id() -> str:
    """Return a fresh name for a thing that people don't name."""
    return secrets.token_hex(8)


def hash_secret(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def is_secret(given: str, kept: str) -> bool:
    """Tell whether a secret is the one of a hash, in a time that says nothing."""
    return hmac.compare_digest(hash_secret(given), kept)


def csrf_of(session: str) -> str:
    """Return what a page has to send beside the cookie of its session.

    Derived, so that nothing more is stored: who knows it can't compute the session from it.
    """
    return hmac.new(session.encode(), b"micwire csrf", hashlib.sha256).hexdigest()
