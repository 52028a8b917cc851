"""HTTP of our own server: uvicorn's protocol, with bounds on what comes before a request.

uvicorn waits for ever for the end of a head, and takes one of any size. A body is bounded
where requests are guarded, as any ASGI server hands it on. Who reads an answer slowly holds
one connection and what the kernel keeps for it; that is not bounded in time.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

MAX_HEAD_BYTES = 64 << 10
"""An export names up to a thousand recordings in its address."""
HEAD_TIMEOUT_S = 10.0


class GuardedHttp(HttpToolsProtocol):
    """One connection.

    Args:
        common: Headers that answers of our own carry, as every answer does.
        config, server_state, app_state, _loop: As uvicorn hands them to its own protocols.
    """

    def __init__(
        self,
        common: Mapping[str, str],
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._common = common
        self._is_in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first head."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, unless it is a head without end."""
        was_in_head = self._is_in_head
        if was_in_head and self._head_timer is None:
            self._expect_head()
        super().data_received(data)
        if was_in_head and self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; of one that came whole its parts are counted here."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("the head is too large")  # the parser makes it a bad request
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the request."""
        self._is_in_head = False
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for the next head; how long it may stay away is uvicorn's matter."""
        self._is_in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._answer(HTTPStatus.BAD_REQUEST)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(
            HEAD_TIMEOUT_S, self._answer, HTTPStatus.REQUEST_TIMEOUT
        )

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _answer(self, status: HTTPStatus) -> None:
        """Answer by ourselves, and close."""
        self._stop_timer()
        if self.transport.is_closing():
            return
        text = f"{status.phrase}\n".encode()
        headers = dict(self._common) | {
            "content-type": "text/plain; charset=utf-8",
            "content-length": str(len(text)),
            "connection": "close",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\n{head}\r\n".encode() + text
        )
        self.transport.close()
