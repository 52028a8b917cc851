"""The plain socket, `/websocket`: for any page that sends samples and knows no protocol.

A translator: it speaks `micwire.v1` to the recorder on the page's behalf, and hides the
answers from a page that did not ask for them. Each connection is one recording.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from micwire.core.audio import Encoding, Format
from micwire.core.errors import BadMessageError, MicwireError
from micwire.core.interfaces import RecorderLink
from micwire.core.wire import AUDIO_HEADER, Finish, Open, encode_client
from micwire.transports.convert import convert
from micwire.transports.handshake import (
    ORIGIN_DENIED,
    Accepted,
    Denied,
    Handshake,
    OriginCheck,
    Wake,
)

MAX_TITLE_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class PlainQuery:
    """What a page asks for in the address of the socket."""

    encoding: Encoding
    format: Format
    """How the recording is stored."""
    title: str | None
    has_events: bool
    ticket: str | None = field(default=None, repr=False)

    @staticmethod
    def parse(query: str) -> "PlainQuery":
        """Read the query string.

        Raises:
            MicwireError: A value is not what it should be; the text says which.
        """
        try:
            values = parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=50)
        except ValueError as error:
            raise BadMessageError(f"the query can't be read: {error}") from None
        repeated = [name for name, found in values.items() if len(found) > 1]
        if repeated:
            raise BadMessageError(f"{repeated[0]} is given more than once")
        first = {name: found[0] for name, found in values.items()}
        rate, channels = _count(first, "sample_rate", 48_000), _count(first, "channels", 1)
        source = Format.parse(first.get("encoding", Encoding.F32), rate, channels)
        title = first.get("title") or None
        if title is not None and len(title) > MAX_TITLE_CHARACTERS:
            raise BadMessageError(f"title is longer than {MAX_TITLE_CHARACTERS} characters")
        events = first.get("events", "0")
        if events not in ("0", "1"):
            raise BadMessageError(f"events is 0 or 1, not {events[:20]!r}")
        return PlainQuery(
            source.encoding,
            Format.parse(first.get("store", Encoding.S16), rate, channels),
            title,
            events == "1",
            first.get("ticket"),
        )


def _count(values: dict[str, str], name: str, default: int) -> int:
    text = values.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadMessageError(f"{name} is a whole number, not {text[:20]!r}")
    return int(text)


class PlainDoor:
    """`GET /websocket`.

    Args:
        connect: Makes the link of a new socket, for whom the request tells.
        may_connect: The Origin check.
        max_message_bytes: The largest message of a page.
    """

    def __init__(
        self,
        connect: Callable[[Wake, Mapping[str, Any]], RecorderLink],
        may_connect: OriginCheck,
        max_message_bytes: int,
    ) -> None:
        self._connect = connect
        self._may_connect = may_connect
        self._max_message_bytes = max_message_bytes

    def judge(self, handshake: Handshake) -> Accepted | Denied:
        """Let in who may and whose query makes sense."""
        if not self._may_connect(handshake.origins, handshake.hosts):
            return ORIGIN_DENIED
        try:
            query = PlainQuery.parse(handshake.query)
        except MicwireError as error:
            return Denied(HTTPStatus.BAD_REQUEST, f"Bad query: {error}.")
        request = handshake.request
        return Accepted(
            lambda wake: PlainLink(
                lambda woken: self._connect(woken, request), wake, query, self._max_message_bytes
            )
        )


class PlainLink:
    """A link that takes bare samples and numbers them."""

    def __init__(
        self,
        connect: Callable[[Wake], RecorderLink],
        wake: Wake,
        query: PlainQuery,
        max_message_bytes: int,
    ) -> None:
        self._query = query
        self._max_message_bytes = max_message_bytes
        self._frame_bytes = query.encoding.sample_bytes * query.format.channels
        self._source, self._target = query.encoding, query.format.encoding
        self._stored_bytes = query.format.frame_bytes
        room = max_message_bytes - AUDIO_HEADER.size
        self._part_bytes = room // self._stored_bytes * self._stored_bytes
        self._next_frame = 0
        self._is_ended = False
        self._is_finished = False
        self._has_answer = asyncio.Event()
        self._link = connect(self._woken)
        self._wake = wake
        self._link.feed(
            encode_client(
                Open(
                    str(uuid4()),
                    secrets.token_urlsafe(32),
                    query.format,
                    ticket=query.ticket,
                    title=query.title,
                )
            )
        )

    def _woken(self) -> None:
        # The first thing that the recorder has to say is `opened`, or an error.
        self._has_answer.set()
        self._wake()

    def feed(self, message: str | bytes) -> bool:
        """Take one message of the page: samples, or the word `finish`."""
        if self._is_ended:
            return True
        if isinstance(message, str):
            if message == "finish":
                self._is_ended = True
                self._link.feed(encode_client(Finish(self._next_frame)))
            return True
        frames, half = divmod(len(message), self._frame_bytes)
        if len(message) > self._max_message_bytes:
            return self._refuse("too-large", f"a message of {len(message)} bytes")
        if half:
            return self._refuse("bad-message", f"{len(message)} bytes are not whole frames")
        if not frames:
            return True
        data, clipped, nonfinite = convert(message, self._source, self._target)
        if len(data) <= self._part_bytes:
            return self._feed_part(data, clipped, nonfinite)
        # Stored samples may take more bytes than the page's, and have a header before them.
        may_go_on = True
        for start in range(0, len(data), self._part_bytes):
            part = data[start : start + self._part_bytes]
            may_go_on = self._feed_part(part, clipped, nonfinite)
            clipped = nonfinite = 0
        return may_go_on

    def _feed_part(self, data: bytes, clipped: int, nonfinite: int) -> bool:
        header = AUDIO_HEADER.pack(self._next_frame)
        self._next_frame += len(data) // self._stored_bytes
        return self._link.feed(header + data, clipped=clipped, nonfinite=nonfinite)

    def _refuse(self, code: str, message: str) -> bool:
        self._is_ended = True
        self._link.refuse(code, message)
        return True

    async def has_room(self) -> None:
        """Wait until the recording is open and the disk keeps up."""
        await self._has_answer.wait()
        await self._link.has_room()

    def outgoing(self) -> list[str]:
        """Return what the page asked to hear."""
        texts = self._link.outgoing()
        self._is_finished |= any(text.startswith('{"type":"finished"') for text in texts)
        return texts if self._query.has_events else []

    @property
    def closing(self) -> tuple[int, str] | None:
        """How to close: as the recorder says, and at once after `finished`."""
        return (1000, "") if self._is_finished else self._link.closing

    def lost(self) -> None:
        """The page is gone: the recording is finished with what came."""
        self._link.lost()
