"""The WebSocket carrier of `micwire.v1`: the door `/v1/stream`, and sockets under ASGI.

Any ASGI server can carry micwire so. Our own server takes the shorter way of `direct`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any

from micwire.core.interfaces import Link
from micwire.core.wire import SUBPROTOCOL
from micwire.transports.handshake import (
    NO_SUCH_DOOR,
    ORIGIN_DENIED,
    Accepted,
    Denied,
    Door,
    Handshake,
    OriginCheck,
    Wake,
)

Message = MutableMapping[str, Any]  # as ASGI has it
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class StreamDoor:
    """`GET /v1/stream`.

    Args:
        connect: Makes the link of a new socket, for whom the request tells.
        may_connect: The Origin check.
    """

    def __init__(
        self, connect: Callable[[Wake, Mapping[str, Any]], Link], may_connect: OriginCheck
    ) -> None:
        self._connect = connect
        self._may_connect = may_connect

    def judge(self, handshake: Handshake) -> Accepted | Denied:
        """Let in who may and who offers our subprotocol."""
        if not self._may_connect(handshake.origins, handshake.hosts):
            return ORIGIN_DENIED
        if SUBPROTOCOL not in handshake.subprotocols:
            return Denied(
                HTTPStatus.BAD_REQUEST,
                f"This address speaks the WebSocket subprotocol {SUBPROTOCOL}: offer it.",
            )
        request = handshake.request
        return Accepted(lambda wake: self._connect(wake, request), SUBPROTOCOL)


class AsgiSockets:
    """The doors as an ASGI application for scopes of type `websocket`.

    Args:
        doors: What stands at which path.
    """

    def __init__(self, doors: Mapping[str, Door]) -> None:
        self._doors = doors

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, denied: Denied | None = None
    ) -> None:
        """Serve one connection, unless it was denied already."""
        door = self._doors.get(scope["path"].removeprefix(scope.get("root_path", "")))
        verdict: Accepted | Denied = NO_SUCH_DOOR
        if denied is not None:
            verdict = denied
        elif door is not None:
            verdict = door.judge(_handshake(scope))
        await receive()  # websocket.connect
        if isinstance(verdict, Denied):
            await _deny(scope, send, verdict)
            return
        await send({"type": "websocket.accept", "subprotocol": verdict.subprotocol})
        await _carry(verdict.connect, receive, send)


def _handshake(scope: Scope) -> Handshake:
    def values(wanted: bytes) -> list[str]:
        return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]

    return Handshake(
        query=scope["query_string"].decode("latin-1"),
        origins=values(b"origin"),
        hosts=values(b"host"),
        subprotocols=list(scope["subprotocols"]),
        request=scope,
    )


async def _carry(connect: Callable[[Wake], Link], receive: Receive, send: Send) -> None:
    """Move messages both ways until the link or the socket is closed."""
    wake = asyncio.Event()
    link = connect(wake.set)
    sender = asyncio.create_task(_send_outgoing(link, wake, send))
    try:
        await link.has_room()
        while (message := await receive())["type"] != "websocket.disconnect":
            data = message.get("bytes")
            if not link.feed(message["text"] if data is None else data):
                await link.has_room()
    finally:
        link.lost()
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sender


async def _send_outgoing(link: Link, wake: asyncio.Event, send: Send) -> None:
    # A peer that left while we send is news for the receiving side, which hears it too.
    with contextlib.suppress(OSError):
        while True:
            await wake.wait()
            wake.clear()
            for text in link.outgoing():
                await send({"type": "websocket.send", "text": text})
            closing = link.closing
            if closing is not None:
                code, reason = closing
                await send({"type": "websocket.close", "code": code, "reason": reason})
                return


async def _deny(scope: Scope, send: Send, denied: Denied) -> None:
    """Answer a handshake with an HTTP error instead of a socket."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": denied.text})
        return
    body = f"{denied.text}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send(
        {
            "type": "websocket.http.response.start",
            "status": int(denied.status),
            "headers": headers,
        }
    )
    await send({"type": "websocket.http.response.body", "body": body})
