"""The WebSocket carrier of `micwire.v1`: an ASGI application for `/v1/stream`.

It moves messages between a socket and a link and decides nothing but the handshake.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from micwire.core.interfaces import Link
from micwire.core.wire import SUBPROTOCOL

Message = MutableMapping[str, Any]  # as ASGI has it
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
MayConnect = Callable[[Scope], bool]
"""Whether the Origin of a handshake may open sockets here."""


class StreamEndpoint:
    """`GET /v1/stream`.

    Args:
        connect: Makes the link of a new connection; its argument wakes the sender.
        may_connect: The Origin check.
    """

    def __init__(
        self, connect: Callable[[Callable[[], None]], Link], may_connect: MayConnect
    ) -> None:
        self._connect = connect
        self._may_connect = may_connect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if not self._may_connect(scope):
            await deny(scope, send, HTTPStatus.FORBIDDEN, ORIGIN_REFUSED)
        elif SUBPROTOCOL not in scope["subprotocols"]:
            await deny(
                scope,
                send,
                HTTPStatus.BAD_REQUEST,
                f"This address speaks the WebSocket subprotocol {SUBPROTOCOL}: offer it.",
            )
        else:
            await receive()  # websocket.connect
            await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
            await carry(self._connect, receive, send)


ORIGIN_REFUSED = "This page's origin may not record here. Allow it with --allow-origin."


async def carry(
    connect: Callable[[Callable[[], None]], Link], receive: Receive, send: Send
) -> None:
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


async def deny(scope: Scope, send: Send, status: HTTPStatus, text: str) -> None:
    """Answer a handshake with an HTTP error instead of a socket."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": text})
        return
    body = f"{text}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "websocket.http.response.start", "status": int(status), "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
