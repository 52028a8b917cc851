"""How much somebody may record: what an invitation allows, and the quotas of an owner.

Asked once for each `open`, before anything is stored; what follows is a number of frames
that the session holds its client to, so nothing is counted while sound comes in. Two
recordings at once may each take what was left as they began.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

from anyio import to_thread

from micwire.access.store import Store
from micwire.core.catalogue import Usage
from micwire.core.errors import MicwireError
from micwire.core.people import Person
from micwire.core.recording import RecordingState
from micwire.core.wire import Open

GRACE_S = 5.0
"""A page stops by itself at the end of what is allowed; so much later the server does."""


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
    """

    def __init__(
        self,
        quota: Quota,
        store: Store | None,
        usage: Callable[[str], Awaitable[Usage]],
        recorder: Callable[[], Unfinished],
    ) -> None:
        self._quota = quota
        self._store = store
        self._usage = usage
        self._recorder = recorder

    async def __call__(
        self, person: Person, message: Open, state: RecordingState | None
    ) -> float | str:
        """Return how many seconds the recording may have, or why it may not be."""
        allowed_s = inf if person.max_seconds is None else person.max_seconds + GRACE_S
        if person.id:
            left_s = await self._left_s(person.id, message, state)
            if isinstance(left_s, str):
                return left_s
            allowed_s = min(allowed_s, left_s)
        if state is None and person.invitation is not None and self._store is not None:
            take = message.take or message.recording
            if not await to_thread.run_sync(
                self._store.use_invitation, person.invitation, take, message.recording
            ):
                return "this invitation allows no further recording"
        return allowed_s

    async def _left_s(self, owner: str, message: Open, state: RecordingState | None) -> float | str:
        """Return how many seconds an owner's recording may have by the quotas."""
        quota = self._quota
        others = sum(
            other.about.owner == owner and other.about.recording != message.recording
            for other in self._recorder().streaming()
        )
        if quota.streams and others >= quota.streams:
            return f"at most {quota.streams} recordings at once are allowed"
        if not quota.hours and not quota.gigabytes:
            return inf
        try:
            used = await self._usage(owner)
        except MicwireError:
            return "what is stored can't be counted now; try later"
        seconds, size = used.seconds, used.bytes
        for other in self._recorder().states():
            if other.about.owner == owner and other.about.recording != message.recording:
                seconds += other.about.format.seconds(other.frames)
                size += other.frames * other.about.format.frame_bytes
        audio_format = message.format
        left_s = inf
        if quota.hours:
            left_s = quota.hours * 3_600 - seconds
        if quota.gigabytes:
            byte_rate = audio_format.frame_bytes * audio_format.sample_rate
            left_s = min(left_s, (quota.gigabytes * 1e9 - size) / byte_rate)
        if state is None and left_s <= 0:
            return "the room for recordings is used up"
        return max(0.0, left_s)
