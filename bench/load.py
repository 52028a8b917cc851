"""The load: many streams in real time from one process and one epoll loop.

It must never be the bottleneck: messages are built beforehand, the schedule is one
counter, acks are read without a JSON parser, and how late the generator itself was is
part of every result. Latency is the time from the return of the `send` that finished a
message to the reading of the ack that covers its last frame.
"""

import gc
import json
import resource
import secrets
import select
import socket
import struct
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from bench.kinds import Kind, Route, digest
from bench.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Address,
    Reader,
    ServerError,
    connect,
    encode,
    encode_close,
    read_upgrade,
)

_ACK = b'{"type":"ack","frames":'
_HEADER = struct.Struct("<Q")
_OBSERVE_S = 0.25
_OPEN_AT_ONCE = 50
_SEND_AT_ONCE = 64
_UNLIMITED = 1 << 62


@dataclass
class Window:
    """What one stretch of sending was like, seen from the generator."""

    seconds: float = 0.0
    messages: int = 0
    owed: int = 0
    """Messages that were due and not written, since the server did not read."""
    unread_before: int = 0
    unread_after: int = 0
    """Bytes that stood in the kernel's buffers, written but not yet read by the server."""
    late_s: list[float] = field(default_factory=list)
    """For each message: how long after its time the generator came to it."""
    ack_s: list[float] = field(default_factory=list)
    """For each acknowledged message: its latency."""
    unacked: int = 0
    """Messages that had no ack when waiting ended; `ack_s` has the time waited."""


@dataclass
class Ending:
    """What the server said of all streams at their end."""

    sent_frames: int
    held_frames: int
    altered: int
    """Recordings whose digest is not that of what was sent."""
    seconds: float

    @property
    def lost_frames(self) -> int:
        """Return the frames sent and not held."""
        return self.sent_frames - self.held_frames


class _Stream:
    """One connection; a plain record, since it is touched 50,000 times a second."""

    __slots__ = (
        "acked",
        "closed",
        "closing",
        "cut_message",
        "finished",
        "limit",
        "opened",
        "owed",
        "reader",
        "send",
        "sent",
        "sent_at",
        "socket",
        "unwritten",
    )

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.send = connection.send
        self.reader = Reader()
        self.sent = self.acked = self.owed = 0  # messages
        self.limit = _UNLIMITED  # messages under way at most
        self.sent_at: deque[float] = deque()
        self.unwritten = b""
        self.opened: dict[str, object] | None = None
        self.finished: dict[str, object] | None = None
        self.cut_message = False  # `unwritten` holds the rest of an audio message
        self.closing = self.closed = False  # said by us, said by the server


def raise_descriptor_limit(wanted: int) -> None:
    """Allow this process, and the servers it starts, `wanted` open files.

    Raises:
        SystemExit: The hard limit is below it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"{wanted} open files are needed and the hard limit is {hard}: ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Load:
    """`count` streams of one kind to one server, of the user whose `token` it is if there is one.

    Raises:
        ServerError: From any method: the server refused, closed, or sent what it must not.
    """

    def __init__(
        self, address: Address, route: Route, kind: Kind, count: int, token: str | None = None
    ) -> None:
        self._address, self._route, self._kind, self._count = address, route, kind, count
        self._token = token
        self._streams: list[_Stream] = []
        self._by_descriptor: dict[int, _Stream] = {}
        self._epoll = select.epoll()
        numbered = route is Route.STREAM
        self._message = encode(BINARY, bytes(_HEADER.size if numbered else 0) + kind.block)
        self._header_at = len(self._message) - len(kind.block) - _HEADER.size if numbered else None
        self._turn = 0  # the next message is that of stream `turn` modulo `count`
        self._window = Window()
        self._window_began = 0.0

    @property
    def opened(self) -> dict[str, object]:
        """Return the server's `opened` for the first stream; empty where there is none."""
        return self._streams[0].opened or {}

    # ---- opening -----------------------------------------------------------------

    def open(self) -> None:
        """Connect all streams, in small groups, and wait until the server took them."""
        for first in range(0, self._count, _OPEN_AT_ONCE):
            group = min(_OPEN_AT_ONCE, self._count - first)
            self._open_group(group)
        for stream in self._streams:
            stream.socket.setblocking(False)
            descriptor = stream.socket.fileno()
            self._by_descriptor[descriptor] = stream
            self._epoll.register(descriptor, select.EPOLLIN)

    def _open_group(self, count: int) -> None:
        target = self._route.target(self._kind)
        subprotocol = "micwire.v1" if self._route is Route.STREAM else None
        group = [
            _Stream(connect(self._address, target, subprotocol, token=self._token))
            for _ in range(count)
        ]
        self._streams += group
        for stream in group:
            rest = read_upgrade(stream.socket)
            if self._route is Route.STREAM:
                stream.socket.sendall(encode(TEXT, open_message(self._kind)))
            self._take(stream, rest)
        if self._route is Route.SINK:
            return
        for stream in group:
            while stream.opened is None:
                self._take(stream, _receive(stream.socket))
            unacked = stream.opened.get("max_unacked_frames")
            if isinstance(unacked, int):
                stream.limit = max(1, unacked // self._kind.frames)

    # ---- the loop ----------------------------------------------------------------

    def run(self, seconds: float, observe: Callable[[], None] = lambda: None) -> Window:
        """Send in real time for `seconds`; call `observe` a few times a second.

        The window's latencies are complete only after `drain`.
        """
        self._window = window = Window(unread_before=_unread_bytes(self._address[1]))
        self._window_began = began = perf_counter()
        step = self._kind.interval_s / self._count
        sent_before = sum(stream.sent for stream in self._streams)
        turn, end, next_look = 0, began + seconds, began
        with _no_garbage_collection():
            while (now := perf_counter()) < end:
                # Bounded, so that acks are read in time also when the sending is late.
                for _ in range(_SEND_AT_ONCE):
                    due = began + turn * step
                    if due > now:
                        break
                    self._send_next(now - due)
                    turn += 1
                    now = perf_counter()
                if now >= next_look:
                    observe()
                    next_look = now + _OBSERVE_S
                # epoll counts in whole milliseconds, rounded up: that is the lateness at rest.
                self._poll(max(0.0, min(due, end) - perf_counter()))
        window.seconds = perf_counter() - began
        window.messages = sum(stream.sent for stream in self._streams) - sent_before
        window.owed = sum(stream.owed for stream in self._streams)
        window.unread_after = _unread_bytes(self._address[1])
        return window

    def _send_next(self, late_s: float) -> None:
        self._window.late_s.append(late_s)
        stream = self._streams[self._turn]
        self._turn = (self._turn + 1) % self._count
        if stream.unwritten or stream.owed or stream.sent - stream.acked >= stream.limit:
            stream.owed += 1  # it is sent as soon as the server makes room
        else:
            self._send_message(stream)

    def _send_message(self, stream: _Stream) -> None:
        message = self._message
        if self._header_at is not None:
            _HEADER.pack_into(message, self._header_at, stream.sent * self._kind.frames)
        stream.sent += 1
        try:
            written = stream.send(message)
        except BlockingIOError:
            written = 0
        except OSError as error:
            raise self._broken(stream, str(error)) from None
        if self._route is not Route.SINK:
            # A message in pieces gets its time when the last one is written.
            stream.sent_at.append(perf_counter())
        if written < len(message):
            stream.unwritten, stream.cut_message = bytes(message[written:]), True
            self._epoll.modify(stream.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _poll(self, timeout_s: float) -> None:
        for descriptor, events in self._epoll.poll(timeout_s):
            stream = self._by_descriptor[descriptor]
            if events & ~select.EPOLLOUT:
                self._read(stream)
            if events & select.EPOLLOUT and not stream.closed:
                self._write_rest(stream)

    def _write(self, stream: _Stream, data: bytes | bytearray) -> None:
        stream.unwritten += bytes(data)
        self._write_rest(stream)

    def _write_rest(self, stream: _Stream) -> None:
        try:
            written = stream.send(stream.unwritten) if stream.unwritten else 0
        except BlockingIOError:
            written = 0
        except OSError as error:
            if stream.closed:
                return
            raise self._broken(stream, str(error)) from None
        stream.unwritten = stream.unwritten[written:]
        if stream.unwritten:
            self._epoll.modify(stream.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)
        else:
            if stream.cut_message and stream.sent_at:
                stream.sent_at[-1] = perf_counter()
            stream.cut_message = False
            self._epoll.modify(stream.socket.fileno(), select.EPOLLIN)
            self._send_owed(stream)

    def _send_owed(self, stream: _Stream) -> None:
        while stream.owed and not stream.unwritten and stream.sent - stream.acked < stream.limit:
            stream.owed -= 1
            self._send_message(stream)

    def _read(self, stream: _Stream) -> None:
        try:
            data = stream.socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError as error:
            if not stream.closed:
                raise self._broken(stream, str(error)) from None
            data = b""
        if data:
            self._take(stream, data)
            return
        if not stream.closed:
            raise self._broken(stream, "the connection ended without a close")
        self._epoll.unregister(stream.socket.fileno())
        del self._by_descriptor[stream.socket.fileno()]
        stream.socket.close()

    def _take(self, stream: _Stream, data: bytes) -> None:
        for opcode, payload in stream.reader.feed(data):
            if opcode == TEXT:
                if payload.startswith(_ACK):
                    self._take_ack(stream, int(payload[len(_ACK) : -1]))
                else:
                    self._take_text(stream, json.loads(payload))
            elif opcode == PING:
                if stream.socket.gettimeout() == 0:
                    self._write(stream, encode(PONG, payload))
                else:
                    stream.socket.sendall(encode(PONG, payload))
            elif opcode == CLOSE:
                stream.closed = True
                code = int.from_bytes(payload[:2], "big")
                if code not in (1000, 1005, 0):
                    raise self._broken(stream, f"it was closed with {code} {payload[2:]!r}")
                self._say_close(stream)

    def _take_text(self, stream: _Stream, message: dict[str, object]) -> None:
        match message:
            case {"type": "ack", "frames": int(frames)}:  # written with other spaces or order
                self._take_ack(stream, frames)
            case {"type": "opened"}:
                stream.opened = message
            case {"type": "finished"}:
                stream.finished = message
            case {"type": "error"}:
                raise self._broken(stream, f"the server said {message}")

    def _take_ack(self, stream: _Stream, frames: int) -> None:
        now, ack_s, began = perf_counter(), self._window.ack_s, self._window_began
        acked = frames // self._kind.frames
        if acked > stream.sent:
            raise self._broken(stream, f"{frames} frames were acknowledged before they were sent")
        for _ in range(acked - stream.acked):
            sent_at = stream.sent_at.popleft()
            if sent_at >= began:
                ack_s.append(now - sent_at)
        stream.acked = max(acked, stream.acked)
        if stream.owed:
            self._send_owed(stream)

    def _broken(self, stream: _Stream, what: str) -> ServerError:
        return ServerError(
            f"stream {self._streams.index(stream) + 1} of {self._count}, "
            f"after {stream.sent} messages: {what}"
        )

    # ---- the end -----------------------------------------------------------------

    def drain(self, timeout_s: float = 10) -> None:
        """Send what is owed and wait until all is acknowledged; see `Window.unacked`."""
        streams, window = self._streams, self._window
        deadline = perf_counter() + timeout_s
        while any(s.owed or s.unwritten or s.sent_at for s in streams):
            if perf_counter() > deadline:
                break
            self._poll(0.01)
        now = perf_counter()
        for stream in streams:
            waiting = [now - sent_at for sent_at in stream.sent_at if sent_at >= self._window_began]
            window.unacked += len(waiting)
            window.ack_s.extend(waiting)

    def finish(self, timeout_s: float = 120) -> Ending:
        """End all streams properly, and compare what the server holds with what was sent.

        A sink says nothing: there the frames held are the frames sent.
        """
        began = perf_counter()
        for stream in self._streams:
            stream.owed = 0
            if self._route is Route.STREAM:
                frames = stream.sent * self._kind.frames
                self._write(stream, encode(TEXT, _json({"type": "finish", "frames": frames})))
            elif self._route is Route.PLAIN:
                self._write(stream, encode(TEXT, b"finish"))
            else:
                self._say_close(stream)
        if self._route is not Route.SINK:
            self._wait(lambda stream: stream.finished is not None, "finished", began + timeout_s)
            for stream in self._streams:
                self._say_close(stream)
        seconds = perf_counter() - began
        self._wait(lambda stream: stream.closed, "a close", began + timeout_s)
        return self._ending(seconds)

    def _say_close(self, stream: _Stream) -> None:
        if not stream.closing:
            stream.closing = True
            self._write(stream, encode_close(1000))

    def _wait(self, is_done: Callable[[_Stream], bool], what: str, deadline: float) -> None:
        waiting = self._streams
        while waiting := [stream for stream in waiting if not is_done(stream)]:
            if perf_counter() > deadline:
                raise self._broken(waiting[0], f"{len(waiting)} streams waited in vain for {what}")
            self._poll(0.05)

    def _ending(self, seconds: float) -> Ending:
        stored_as_int16 = self._route is not Route.STREAM
        block = self._kind.block_as_int16 if stored_as_int16 else self._kind.block
        digests: dict[int, str] = {}
        ending = Ending(sum(s.sent for s in self._streams) * self._kind.frames, 0, 0, seconds)
        if self._route is Route.SINK:
            ending.held_frames = ending.sent_frames
        for stream in self._streams:
            if stream.finished is not None:
                ending.held_frames += int(str(stream.finished["frames"]))
                if stream.sent not in digests:
                    digests[stream.sent] = digest(block, stream.sent)
                ending.altered += stream.finished["digest"] != digests[stream.sent]
        return ending

    def close(self) -> None:
        """Drop all connections; without `finish` before it, that cuts the streams off."""
        for stream in self._streams:
            stream.socket.close()
        self._epoll.close()


def open_message(kind: Kind) -> bytes:
    """Return an `open` for a new recording."""
    return _json(
        {
            "type": "open",
            "recording": str(uuid.uuid4()),
            "key": secrets.token_urlsafe(24),
            "format": {
                "encoding": kind.encoding,
                "sample_rate": kind.sample_rate,
                "channels": 1,
            },
        }
    )


def _json(message: dict[str, object]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ServerError("the server ended the connection instead of answering `open`")
    return data


def _unread_bytes(port: int) -> int:
    """Return what stands in the kernel between the streams and the server on `port`."""
    ours, unread = f":{port:04X}", 0
    with open("/proc/net/tcp") as table:
        for line in table:
            _, local, remote, state, queues, *_ = line.split()
            sending, _, receiving = queues.partition(":")
            if state != "01":  # established
                continue
            if local.endswith(ours):
                unread += int(receiving, 16)
            elif remote.endswith(ours):
                unread += int(sending, 16)
    return unread


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
