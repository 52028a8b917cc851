"""How much somebody may record: what an invitation allows, and the quotas of an owner.

Asked once for each recording, before any of it is stored; what follows is a number of frames
that is kept with it and that the session holds its client to, so nothing is counted while
sound comes in, and nobody who comes back is told otherwise. Two recordings at once may each
take what was left as they began.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

import structlog
from anyio import to_thread

from micwire.access.store import Store
from micwire.core.catalogue import Usage
from micwire.core.errors import MicwireError
from micwire.core.people import Person
from micwire.core.recording import RecordingState
from micwire.core.wire import Open

GRACE_S = 5.0
"""A page stops by itself at the end of what is allowed; so much later the server does."""
USAGE_TIMEOUT_S = 2.0
"""So long the catalogue may take to count; a recording waits meanwhile."""
_NOTHING = Usage(0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class Quota:
    """What each owner may have; 0 is no limit."""

    hours: float = 0.0
    gigabytes: float = 0.0
    streams: int = 0


class Unfinished(Protocol):
    """What is asked of the recorder."""

    def states(self) -> list[RecordingState]:
        """Return the states of all recordings that are not over."""
        ...

    def streaming(self) -> list[RecordingState]:
        """Return the states of those that have a client now."""
        ...


class Quotas:
    """Admits recordings; see `Admit`.

    Args:
        quota: What each owner may have.
        store: Counts how often an invitation was used; None where others invite.
        usage: How much of an owner's is stored and over.
        recorder: Has the recordings that are not over, which `usage` doesn't count.
        length: How many seconds a recording of any kind has; 0 for one that is not there.
    """

    def __init__(
        self,
        quota: Quota,
        store: Store | None,
        usage: Callable[[str], Awaitable[Usage]],
        recorder: Callable[[], Unfinished],
        length: Callable[[str], Awaitable[float]],
    ) -> None:
        self._quota = quota
        self._store = store
        self._usage = usage
        self._recorder = recorder
        self._length = length

    async def __call__(self, person: Person, message: Open) -> float | str:
        """Return how many seconds the recording may have, or why it may not be."""
        allowed_s = inf if person.max_seconds is None else person.max_seconds + GRACE_S
        if person.id:
            left_s = await self._left_s(person.id, message)
            if isinstance(left_s, str):
                return left_s
            allowed_s = min(allowed_s, left_s)
        if person.invitation is not None and self._store is not None:
            take = message.take or message.recording
            # A take is one recording to its guest, and as long as one, however many parts it has.
            for part in await to_thread.run_sync(self._store.parts, person.invitation, take):
                allowed_s -= await self._length(part) if person.max_seconds is not None else 0
            if allowed_s <= 0:
                return "this take is as long as the invitation allows"
            if not await to_thread.run_sync(
                self._store.use_invitation, person.invitation, take, message.recording
            ):
                return "this invitation allows no further recording"
        return allowed_s

    async def _left_s(self, owner: str, message: Open) -> float | str:
        """Return how many seconds an owner's recording may have by the quotas."""
        quota = self._quota
        streams = sum(
            state.about.owner == owner and state.ending is None
            for state in self._recorder().streaming()
        )
        if quota.streams and streams >= quota.streams:
            return f"at most {quota.streams} recordings at once are allowed"
        if not quota.hours and not quota.gigabytes:
            return inf
        used = await self._used(owner)
        seconds, size = used.seconds, used.bytes
        for state in self._recorder().states():
            if state.about.owner == owner:
                seconds += state.about.format.seconds(state.frames)
                size += state.frames * state.about.format.frame_bytes
        audio_format = message.format
        left_s = inf
        if quota.hours:
            left_s = quota.hours * 3_600 - seconds
        if quota.gigabytes:
            byte_rate = audio_format.frame_bytes * audio_format.sample_rate
            left_s = min(left_s, (quota.gigabytes * 1e9 - size) / byte_rate)
        return left_s if left_s > 0 else "the room for recordings is used up"

    async def _used(self, owner: str) -> Usage:
        """Return how much of an owner's is over, or nothing if that can't be told.

        What is said now can't be said again, and a catalogue can be mended: recording goes on
        with what is known without it.
        """
        try:
            async with asyncio.timeout(USAGE_TIMEOUT_S):
                return await self._usage(owner)
        except (MicwireError, OSError) as error:  # a timeout is an OSError
            structlog.get_logger("micwire").warning(
                "quotas count only what is not over: the catalogue does not answer",
                error=type(error).__name__,
            )
            return _NOTHING
