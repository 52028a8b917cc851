"""What a carrier must know before it takes a socket: who knocks, and who may come in.

A door judges a handshake; it is asked by every carrier alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from micwire.core.interfaces import Link

OriginCheck = Callable[[list[str], list[str]], bool]
"""Whether a page may open sockets here, by the Origin and Host headers of its handshake."""

Wake = Callable[[], None]
"""Called when a link has something to send."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """The request that asks for a socket."""

    query: str
    origins: list[str]
    hosts: list[str]
    subprotocols: list[str]
    request: Mapping[str, Any]
    """The whole request as ASGI has it, for whoever tells who asks."""


@dataclass(frozen=True, slots=True)
class Denied:
    """No socket: an HTTP error instead."""

    status: HTTPStatus
    text: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """A socket, and what its messages go to."""

    connect: Callable[[Wake], Link]
    subprotocol: str | None = None


class Door(Protocol):
    """One address that takes sockets."""

    def judge(self, handshake: Handshake) -> Accepted | Denied:
        """Decide on a handshake."""
        ...


ORIGIN_DENIED = Denied(
    HTTPStatus.FORBIDDEN,
    "This page's origin may not record here. Allow it with --allow-origin.",
)
NO_SUCH_DOOR = Denied(HTTPStatus.NOT_FOUND, "There is no socket at this address.")
