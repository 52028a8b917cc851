"""A recording as the routes of its sound need it, whether it grows or is over."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from micwire.core.interfaces import Readable
from micwire.core.people import Person


@dataclass(frozen=True, slots=True)
class Found:
    """One recording that somebody may hear.

    Args:
        recording: Its id.
        readable: Its WAV as it can be read now.
        fields: What its sidecar says, or would say now.
        digest: The digest of its sound; None while it grows.
        is_there: Whether it may still be read; asked before each piece that is sent.
    """

    recording: str
    readable: Readable
    fields: Mapping[str, object]
    digest: str | None
    is_there: Callable[[], bool]


Find = Callable[[Person, str], Awaitable[Found]]
"""Returns a recording by its id; raises the problem 404 for one that the person does not see."""
