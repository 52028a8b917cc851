"""One link to a client, as the recorder and the carriers see it, and the recording it feeds.

A link turns messages into events of its session and hands them to the recorder; what the
session has to say waits here for the carrier.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from micwire.core.errors import SERVICE_RESTART
from micwire.core.interfaces import Identify, ResultReader
from micwire.core.people import LOCAL, Person
from micwire.core.recording import RecordingState
from micwire.core.session import Event, FramesArrived, Limits, Session


class Owner(Protocol):
    """What a link needs of the recorder."""

    def limits(self) -> Limits:
        """Return what a link may do now."""
        ...

    def take_frames(
        self, connection: "Connection", event: FramesArrived, clipped: int, nonfinite: int
    ) -> None:
        """Store the next frames."""
        ...

    def handle(self, connection: "Connection", event: Event) -> None:
        """Do what a session says has to happen, frames aside."""
        ...

    def refuse(self, connection: "Connection", code: str, message: str) -> None:
        """Close with an error of the wire."""
        ...

    def disconnected(self, connection: "Connection") -> None:
        """Forget a link that is gone."""
        ...


async def everybody(ticket: str | None) -> Person | None:
    """Identify whoever opens a recording where nobody signs in."""
    return LOCAL


@dataclass(slots=True, eq=False)
class Live:
    """One unfinished recording: its state at the leading edge, and who owns it."""

    key: bytes
    state: RecordingState
    durable: int
    owner: "Connection | None" = None
    idle_since: float = 0.0
    is_float: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the recording is in the library for good, or gone for good."""

    def __post_init__(self) -> None:
        self.is_float = self.state.about.format.encoding.is_float


class Connection:
    """One link to a client. The carrier feeds it and sends what is outgoing.

    Args:
        recorder: Whose connection it is.
        wake: Called on the loop when there is something to send or the link is to close.
        is_plain: The link is the recording: when it ends, the recording is finished.
        identify: Tells who opens a recording.
        prefix: The path below which this server is found, where it is not alone.
    """

    def __init__(
        self,
        recorder: Owner,
        wake: Callable[[], None],
        *,
        is_plain: bool = False,
        identify: Identify = everybody,
        prefix: str = "",
    ) -> None:
        self.session = Session(recorder.limits())
        self.is_plain = is_plain
        self.identify = identify
        self.prefix = prefix
        self.proof = ""
        """What let in whoever opened a recording, once that is known; see `Person`."""
        self.live: Live | None = None
        self.last_ack = inf  # no heartbeat before `opened`
        self.results: ResultReader | None = None
        self._recorder = recorder
        self._wake = wake
        self._room = asyncio.Event()
        self._is_lost = False

    def feed(self, message: str | bytes, *, clipped: int = 0, nonfinite: int = 0) -> bool:
        """Take one message: text or audio; see `Link.feed`."""
        for event in self.session.receive(message):
            if isinstance(event, FramesArrived):
                self._recorder.take_frames(self, event, clipped, nonfinite)
            else:
                self._recorder.handle(self, event)
        return not self.is_congested

    def refuse(self, code: str, message: str) -> None:
        """Close with an error, for a rule of the carrier that the peer broke."""
        self._recorder.refuse(self, code, message)

    def revoke(self) -> None:
        """Close, as whoever sends is let in no more. What was acknowledged stays."""
        self.refuse("unauthenticated", "you were signed out; what was acknowledged is safe")

    @property
    def is_congested(self) -> bool:
        """Tell whether so much is not durable that the carrier should stop reading."""
        return self.session.is_congested and self.session.close_code is None

    async def has_room(self) -> None:
        """Wait until the disk has caught up with this connection, or it is closed."""
        while self.is_congested:
            self._room.clear()
            await self._room.wait()

    def outgoing(self) -> list[str]:
        """Return the texts to send, oldest first, and forget them."""
        texts = self.session.outgoing()
        if self.results is not None and self.session.close_code is None:
            # Fetched when the carrier can send: nothing piles up for a peer that doesn't read.
            texts += self.results.take()
        return texts

    @property
    def closing(self) -> tuple[int, str] | None:
        """The code and reason to close with once everything outgoing is sent."""
        code = self.session.close_code
        return None if code is None else (code, self.session.close_reason)

    def wake(self) -> None:
        """Tell the carrier that there is something to send, and whoever waits for room."""
        self._room.set()
        if not self._is_lost:
            self._wake()

    def end_results(self) -> None:
        """Send no more of what analyzers say."""
        results, self.results = self.results, None
        if results is not None:
            results.close()

    def lost(self) -> None:
        """The link is gone. What was fed stays; nothing more can be sent."""
        if not self._is_lost:
            self._is_lost = True
            self.end_results()
            self._recorder.disconnected(self)
            self.session.leave(SERVICE_RESTART)
            self._room.set()
