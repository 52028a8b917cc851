"""Passwords: Argon2id, on threads, and only a few at once.

Each computation takes 64 MiB and some tens of milliseconds, so a flood of sign-ins may
neither fill the memory nor hold the event loop.
"""

from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

MIN_CHARACTERS = 8
MAX_CHARACTERS = 1_000
AT_ONCE = 2

_HASHER = PasswordHasher()  # the parameters of RFC 9106, section 4, for little memory
_NOBODYS = (
    "$argon2id$v=19$m=65536,t=3,p=4$LIsqlP6T+vKusihTHehFDg$"
    "9Jje0tMSIPGNawfJ4yY1tDokH0GLpxPIrROagWgVfPI"
)
"""Of no password: what is computed where there is no such user, so that it takes as long."""


def hash_password(password: str) -> str:
    """Return what is kept of a password. Blocks.

    Raises:
        ValueError: It is too short or too long.
    """
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise ValueError(f"a password has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters")
    return _HASHER.hash(password)


class Passwords:
    """Compares passwords; belongs to one event loop."""

    def __init__(self) -> None:
        self._at_once = CapacityLimiter(AT_ONCE)

    async def is_password(self, password: str, kept: str | None) -> bool:
        """Tell whether a password is the one that was kept; takes as long where there is none."""
        if len(password) > MAX_CHARACTERS:
            password, kept = "", None
        return await to_thread.run_sync(_is_password, password, kept, limiter=self._at_once)


def _is_password(password: str, kept: str | None) -> bool:
    try:
        _HASHER.verify(kept or _NOBODYS, password)
    except (VerifyMismatchError, InvalidHashError):
        return False
    return kept is not None
