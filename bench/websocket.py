"""Just enough of a WebSocket client (RFC 6455) to load a server and not the machine.

Messages are masked with the key 00000000, which is legal and leaves the payload as it
is, so they are built once and sent many times. Nothing here waits but for `connect`.
"""

import base64
import os
import socket
from collections.abc import Iterator

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_FIN, _MASK = 0x80, 0x80

Address = tuple[str, int]


class ServerError(Exception):
    """The server did what the benchmark can't go on with; the text says what."""


def encode(opcode: int, payload: bytes) -> bytearray:
    """Return one whole client message; its last `len(payload)` bytes are the payload."""
    size = len(payload)
    if size < 126:
        head = bytes((_FIN | opcode, _MASK | size))
    elif size < 65_536:
        head = bytes((_FIN | opcode, _MASK | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, _MASK | 127)) + size.to_bytes(8, "big")
    return bytearray(head + bytes(4) + payload)


def encode_close(code: int) -> bytearray:
    """Return a close message with `code`."""
    return encode(CLOSE, code.to_bytes(2, "big"))


class Reader:
    """Cuts what a server sends into messages."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (opcode, payload) of each message that is complete by now.

        Raises:
            ServerError: The server sent a fragment, which no server here has a reason to.
        """
        if self._rest:
            data = self._rest + data
        start, end = 0, len(data)
        while end - start >= 2:
            size, payload = data[start + 1], start + 2
            if size >= 126:
                payload += 2 if size == 126 else 8
                if payload > end:
                    break
                size = int.from_bytes(data[start + 2 : payload], "big")
            if payload + size > end:
                break
            if not data[start] & _FIN:
                raise ServerError("the server sent a message in fragments")
            head, start = data[start], payload + size
            # Kept before it is yielded: the caller may stop listening at any message.
            self._rest = data[start:]
            yield head & 0x0F, data[payload:start]
        self._rest = data[start:]


def connect(
    address: Address,
    target: str,
    subprotocol: str | None = None,
    timeout_s: float = 30,
    token: str | None = None,
) -> socket.socket:
    """Return a connected blocking socket to which the upgrade request has been sent.

    Raises:
        OSError: There is no connection.
    """
    connection = socket.create_connection(address, timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {address[0]}:{address[1]}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *([f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []),
        *([f"Authorization: Bearer {token}"] if token else []),
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def read_upgrade(connection: socket.socket) -> bytes:
    """Wait for the answer to the upgrade request; return the bytes that followed it.

    Raises:
        ServerError: The server refused.
    """
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = connection.recv(65_536)
        if not data:
            break
        answer += data
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n")[0] + b" ":
        raise ServerError(f"the server refused the WebSocket: {head[:300]!r}")
    return rest
