"""Dying at a named place, so that tests can kill a server between any two calls."""

import os
import signal
from collections.abc import Callable


def failpoint(setting: str) -> Callable[[str], None] | None:
    """Return the function to call with the names of places, for `NAME:COUNT` or `NAME`.

    The process kills itself with SIGKILL the COUNT-th time (from 1) that NAME is reached.
    `list:PATH` appends each name that is reached to a file instead. Empty: None.
    """
    if not setting:
        return None
    name, _, argument = setting.partition(":")
    if name == "list":
        return _lister(argument)
    left = int(argument or 1)

    def hit(place: str) -> None:
        nonlocal left
        if place == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hit


def _lister(path: str) -> Callable[[str], None]:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    return lambda place: void(os.write(descriptor, f"{place}\n".encode()))


def void(_: object) -> None:
    """Take a value and give none."""
