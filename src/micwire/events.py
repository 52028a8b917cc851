"""What happens to recordings, told to whoever asked to hear it.

The recorder tells, on the event loop. Listeners come and go without it knowing them, and
none of them can hold it up: what takes time is handed to a task or a thread of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import structlog


class Happening(StrEnum):
    """What has happened to a recording."""

    STARTED = "started"
    """It exists, durably."""
    CHANGED = "changed"
    """Its title, tags, notes, hold or marks were edited, durably."""
    FINISHED = "finished"
    """Its client has ended it, and its WAV is final."""
    INTERRUPTED = "interrupted"
    """Its client never came back, and its WAV is final."""
    DELETED = "deleted"
    """It is gone for good."""
    RESULT = "result"
    """Analyzers have said something of it."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened to a recording."""

    happening: Happening
    recording: str
    owner: str
    """The id of the person whose recording it is or was; empty for nobody's."""
    at: str
    """By the server's UTC clock, RFC 3339."""
    results: tuple[str, ...] = ()
    """What analyzers have said, each as the wire's `result` has it, in JSON."""


Listener = Callable[[Event], None]


class Events:
    """Tells each event to every listener, in the order in which they came.

    Args:
        utc_now: The wall clock.
    """

    def __init__(self, utc_now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._utc_now = utc_now
        self._listeners: dict[object, Listener] = {}

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Let a listener hear what happens from now on; return what makes it end.

        Args:
            listener: Called on the event loop; must not block. What it raises is logged,
                and is no other listener's trouble.
        """
        token = object()
        self._listeners[token] = listener

        def unsubscribe() -> None:
            self._listeners.pop(token, None)

        return unsubscribe

    def tell(
        self, happening: Happening, recording: str, owner: str, results: Sequence[str] = ()
    ) -> None:
        """Tell everybody what has just happened."""
        now = self._utc_now().isoformat(timespec="milliseconds")
        self.publish(Event(happening, recording, owner, now, tuple(results)))

    def publish(self, event: Event) -> None:
        """Tell everybody, now."""
        for listener in tuple(self._listeners.values()):
            try:
                listener(event)
            except Exception as error:  # a listener's mistake costs nobody else the news
                structlog.get_logger("micwire").error(
                    "an event's listener failed", happening=str(event.happening), reason=repr(error)
                )
