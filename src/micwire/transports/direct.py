"""WebSockets of our own server: from the socket to the link, without queue or task.

uvicorn hands over a connection that asks for an upgrade. Handshake, control frames,
fragments, limits and every breach of RFC 6455 are judged by the `websockets` library; only
a whole, ordinary binary message takes the short way, because there are 50 of them a second
and stream. `bench/` measures what that is worth.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from uvicorn import Config
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from micwire.core.interfaces import Link
from micwire.transports.handshake import NO_SUCH_DOOR, Denied, Door, Handshake

if TYPE_CHECKING:
    from websockets.utils import apply_mask
else:
    try:
        from websockets.speedups import apply_mask
    except ImportError:
        from websockets.utils import apply_mask

PING_INTERVAL_S = 20.0
PING_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 5.0
_FINAL_BINARY = 0x82
_MASKED = 0x80
_LENGTH = 0x7F
_MASK_BYTES = 4
_OPEN = State.OPEN


class _Protocol(ServerProtocol):
    """The library's protocol, whose refusals, also those of its own, carry our headers."""

    def __init__(self, headers: Mapping[str, str], max_size: int) -> None:
        super().__init__(max_size=max_size)
        self._refusal_headers = headers

    def reject(self, status: int, text: str) -> Response:
        """Return a refusal."""
        response = super().reject(status, text)
        response.headers.update(self._refusal_headers)
        return response


class DirectSocket(asyncio.Protocol):
    """One upgraded connection.

    Args:
        doors: What stands at which path.
        headers: What a refusal carries, as every answer does.
        config, server_state, app_state: As uvicorn hands them to its own protocols.
    """

    def __init__(
        self,
        doors: Mapping[str, Door],
        headers: Mapping[str, str],
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
    ) -> None:
        del app_state
        self._doors = doors
        self._max_size = config.ws_max_size
        self._root_path = config.root_path
        self._connections = cast("set[object]", server_state.connections)
        self._loop = asyncio.get_running_loop()
        self._websocket = _Protocol(headers, config.ws_max_size)
        self._transport: asyncio.Transport | None = None
        self._link: Link | None = None
        self._is_upgraded = False
        self._buffer = bytearray()
        self._needed = 2
        self._fragments = bytearray()
        self._is_fragmented = False
        self._is_text = False
        self._is_paused = False
        self._is_writable = True
        self._is_closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._closing_timer: asyncio.TimerHandle | None = None
        self._ping: bytes | None = None
        self._room: asyncio.Task[None] | None = None

    # ---- from the event loop -----------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._end()
        if self._room is not None:
            self._room.cancel()
        if self._closing_timer is not None:
            self._closing_timer.cancel()

    def data_received(self, data: bytes) -> None:
        if not self._is_upgraded:
            self._judge(data)  # uvicorn hands over the whole request, and nothing else
        elif self._buffer:
            self._buffer += data
            # A message that comes byte by byte must not be looked at as often.
            if len(self._buffer) >= self._needed:
                whole = bytes(self._buffer)
                self._buffer.clear()
                self._take(whole)
        else:
            self._take(data)

    def pause_writing(self) -> None:
        # A peer that doesn't read what it is sent isn't read either: pings are answered too.
        self._is_writable = False
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_writable = True
        if self._transport is not None and not self._is_paused:
            self._transport.resume_reading()
        self._flush()

    def shutdown(self) -> None:
        """Close now: the server stops. Links were closed before, by the recorder."""
        if self._link is None and not self._is_closing:
            self._write_out()
        elif not self._is_closing:
            self._close(1012, "")
        if self._transport is not None:
            self._transport.close()

    # ---- in ------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        """Take whole frames from the front of `data`; keep the rest for later."""
        position, size, view = 0, len(data), memoryview(data)
        self._needed = 2
        while size - position >= 2 and not self._is_paused:
            length = data[position + 1] & _LENGTH
            head = position + 2
            if length > 125:
                head += 2 if length == 126 else 8
                if head > size:
                    self._needed = head - position
                    break
                length = int.from_bytes(data[position + 2 : head], "big")
            if length > self._max_size or not data[position + 1] & _MASKED:
                self._judge(data[position:])  # it will refuse
                return
            start = head + _MASK_BYTES
            end = start + length
            if end > size:
                self._needed = end - position
                break
            if (
                data[position] == _FINAL_BINARY
                and not self._is_fragmented
                and self._websocket.state is _OPEN
            ):
                self._feed(apply_mask(view[start:end], data[head:start]))
            else:
                self._judge(data[position:end])
            position = end
        self._buffer += data[position:]

    def _judge(self, data: bytes) -> None:
        """Let the library read some bytes, and do what follows."""
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Request):
                self._open(event)
            elif isinstance(event, Frame):
                self._take_frame(event)
        self._write_out()
        if self._websocket.close_expected():
            self._end()
            self._expect_close()
        if self._websocket.state is State.CLOSED or self._websocket.parser_exc is not None:
            self._end()
            if self._transport is not None:
                self._transport.close()

    def _take_frame(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT | Opcode.BINARY | Opcode.CONT:
                if frame.opcode is not Opcode.CONT:
                    self._is_text = frame.opcode is Opcode.TEXT
                self._fragments += frame.data
                self._is_fragmented = not frame.fin
                if frame.fin:
                    self._take_message()
            case Opcode.PONG:
                if self._ping is not None and bytes(frame.data) == self._ping:
                    self._ping = None
                    self._set_timer(PING_INTERVAL_S, self._send_ping)
            case _:
                pass  # the library has answered a ping or a close

    def _take_message(self) -> None:
        data = bytes(self._fragments)
        self._fragments.clear()
        if not self._is_text:
            self._feed(data)
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self._close(1007, "text that is not UTF-8")
        else:
            self._feed(text)

    def _feed(self, message: str | bytes) -> None:
        link = self._link
        if link is None or self._is_closing:
            return
        if not link.feed(message):
            self._pause(link)

    def _pause(self, link: Link) -> None:
        self._is_paused = True
        if self._transport is not None:
            self._transport.pause_reading()
        self._room = self._loop.create_task(self._wait_for_room(link))

    async def _wait_for_room(self, link: Link) -> None:
        await link.has_room()
        self._is_paused = False
        if self._transport is not None and not self._transport.is_closing():
            if self._is_writable:
                self._transport.resume_reading()
            self.data_received(b"")

    # ---- handshake -----------------------------------------------------------------

    def _open(self, request: Request) -> None:
        path, _, query = request.path.partition("?")
        headers = request.headers
        peer = None if self._transport is None else self._transport.get_extra_info("peername")
        offered = ",".join(headers.get_all("Sec-WebSocket-Protocol"))
        handshake = Handshake(
            query=query,
            origins=headers.get_all("Origin"),
            hosts=headers.get_all("Host"),
            subprotocols=[name.strip() for name in offered.split(",")],
            request={
                "type": "websocket",
                "path": self._root_path + path,
                "root_path": self._root_path,
                "query_string": query.encode(),
                "client": None if peer is None else tuple(peer[:2]),
                "headers": [
                    (name.lower().encode(), value.encode("latin-1", "replace"))
                    for name, value in headers.raw_items()
                ],
            },
        )
        door = self._doors.get(path)
        verdict = NO_SUCH_DOOR if door is None else door.judge(handshake)
        if isinstance(verdict, Denied):
            self._refuse(verdict.status, f"{verdict.text}\n")
            return
        response = self._websocket.accept(request)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS and verdict.subprotocol:
            response.headers["Sec-WebSocket-Protocol"] = verdict.subprotocol
        self._websocket.send_response(response)
        self._write_out()
        if self._websocket.state is not _OPEN:
            self._is_closing = True
            return
        self._is_upgraded = True
        self._set_timer(PING_INTERVAL_S, self._send_ping)
        self._link = verdict.connect(self._flush)
        # A carrier that translates may have to wait before it can take the first message.
        self._pause(self._link)
        self._flush()

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._websocket.send_response(self._websocket.reject(status, text))
        self._is_closing = True

    # ---- out -------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what the link has to say; close if it says so."""
        link, transport = self._link, self._transport
        if link is None or transport is None or self._is_closing or not self._is_writable:
            return
        texts = link.outgoing()
        if texts:
            transport.write(b"".join([_text_frame(text) for text in texts]))
        closing = link.closing
        if closing is not None:
            self._close(*closing)

    def _close(self, code: int, reason: str) -> None:
        self._end()
        if self._websocket.state is _OPEN:
            self._websocket.send_close(code, reason)
            self._write_out()
        self._expect_close()

    def _write_out(self) -> None:
        """Write what the library wants written; an empty piece means: close behind it."""
        transport = self._transport
        if transport is None:
            return
        for data in self._websocket.data_to_send():
            if data:
                transport.write(data)
            else:
                transport.close()

    # ---- life ------------------------------------------------------------------------

    def _expect_close(self) -> None:
        # Once, however much the peer still sends.
        if self._closing_timer is None:
            self._closing_timer = self._loop.call_later(CLOSE_TIMEOUT_S, self._abort)

    def _end(self) -> None:
        """The link is over, whatever may still arrive."""
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        link, self._link = self._link, None
        if link is not None:
            link.lost()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _set_timer(self, delay_s: float, action: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, action)

    def _send_ping(self) -> None:
        if self._is_paused:  # its pong could not be read
            self._set_timer(PING_INTERVAL_S, self._send_ping)
            return
        self._ping = os.urandom(4)
        self._websocket.send_ping(self._ping)
        self._write_out()
        self._set_timer(PING_TIMEOUT_S, self._abort)


def _text_frame(text: str) -> bytes:
    """Return an unfragmented text frame of a server (RFC 6455, section 5.2)."""
    data = text.encode()
    size = len(data)
    if size <= 125:
        return bytes((0x81, size)) + data
    if size <= 0xFFFF:
        return b"\x81\x7e" + size.to_bytes(2, "big") + data
    return b"\x81\x7f" + size.to_bytes(8, "big") + data
