"""One recording sent as fast as the server takes it, over one blocking connection."""

import json
import socket
import struct
from time import perf_counter

from bench.kinds import Kind, Route, digest
from bench.load import open_message
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

_HEADER = struct.Struct("<Q")


class Recording:
    """A recording on `/v1/stream`.

    Raises:
        ServerError: From any method: the server refused, closed, or sent what it must not.
        OSError: From any method: the connection broke, or was silent for `timeout_s`.
    """

    def __init__(self, address: Address, kind: Kind, timeout_s: float = 600) -> None:
        self._kind, self._reader = kind, Reader()
        self.sent = self.acked = 0  # frames
        self.finished: dict[str, object] | None = None
        target = Route.STREAM.target(kind)
        self._socket = connect(address, target, "micwire.v1", timeout_s)
        rest = read_upgrade(self._socket)
        self._socket.sendall(encode(TEXT, open_message(kind)))
        self.opened: dict[str, object] = {}
        self._take(rest)
        while not self.opened:
            self._read()
        self._limit = int(str(self.opened["max_unacked_frames"]))
        largest = int(str(self.opened["max_message_bytes"]))
        if len(kind.block) + _HEADER.size > largest:
            raise ServerError(f"{kind.name} needs larger messages than {largest} bytes")

    def send(self, messages: int) -> None:
        """Send that many messages, and wait until all are acknowledged."""
        message = encode(BINARY, bytes(_HEADER.size) + self._kind.block)
        header_at = len(message) - len(self._kind.block) - _HEADER.size
        for _ in range(messages):
            while self.sent + self._kind.frames - self.acked > self._limit:
                self._read()
            _HEADER.pack_into(message, header_at, self.sent)
            self._socket.sendall(message)
            self.sent += self._kind.frames
        while self.acked < self.sent:
            self._read()

    def finish(self) -> float:
        """Finish it; return the seconds from `finish` to `finished`."""
        began = perf_counter()
        text = json.dumps({"type": "finish", "frames": self.sent}).encode()
        self._socket.sendall(encode(TEXT, text))
        while self.finished is None:
            self._read()
        seconds = perf_counter() - began
        self._socket.sendall(encode_close(1000))
        self._socket.close()
        expected = digest(self._kind.block, self.sent // self._kind.frames)
        if (self.finished["frames"], self.finished["digest"]) != (self.sent, expected):
            raise ServerError(f"{self.sent} frames were sent, and the server holds {self.finished}")
        return seconds

    def _read(self) -> None:
        data = self._socket.recv(65_536)
        if not data:
            raise ServerError(f"the connection ended after {self.sent} frames")
        self._take(data)

    def _take(self, data: bytes) -> None:
        for opcode, payload in self._reader.feed(data):
            if opcode == PING:
                self._socket.sendall(encode(PONG, payload))
            elif opcode == CLOSE:
                raise ServerError(f"closed with {payload!r} after {self.sent} frames")
            elif opcode == TEXT:
                match json.loads(payload):
                    case {"type": "ack", "frames": int(frames)}:
                        self.acked = frames
                    case {"type": "opened"} as opened:
                        self.opened = opened
                    case {"type": "finished"} as finished:
                        self.finished = finished
                    case {"type": "error"} as error:
                        raise ServerError(f"the server said {error}")


def cut(connection: socket.socket) -> None:
    """End a connection by a reset, as a crash of the peer's machine would."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
