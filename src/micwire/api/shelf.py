"""Finds a recording for the person who asks: one that is there and theirs.

Everything that reads or alters a recording by its id comes through here, so that what is
not there and what is somebody else's are one answer.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from anyio import CapacityLimiter, to_thread

from micwire.api.found import Found, Sound, hear_closed, read_closed
from micwire.api.problems import no_such_recording
from micwire.core.edits import Change, Editable
from micwire.core.errors import RegisterDamagedError
from micwire.core.interfaces import Library, Readable
from micwire.core.people import Person
from micwire.core.recording import Closed, RecordingState, sidecar_fields
from micwire.core.wav import header_bytes
from micwire.core.wire import is_uuid

FACTS_THREADS = 2
"""So many are described at once: each thread may keep the loop waiting for its turn."""


class Recordings(Protocol):
    """What is asked of the recorder."""

    def state(self, recording: str) -> RecordingState | None:
        """Return the state of an unfinished recording."""
        ...

    def was_deleted(self, recording: str) -> bool:
        """Tell whether a recording was deleted since this process began."""
        ...

    async def edit(self, recording: str, change: Change) -> None:
        """Change what is said of a recording; durable once this returns."""
        ...

    async def delete(self, recording: str, *, why: str, by: str) -> None:
        """Delete a recording; durable once this returns."""
        ...


Record = RecordingState | Closed
"""A recording: unfinished, or over."""


class Shelf:
    """All recordings of a server.

    Args:
        data: The data directory.
        recorder: Returns the recorder; there is one by the time of a request.
        library: Where recordings end up.
    """

    def __init__(self, data: Path, recorder: Callable[[], Recordings], library: Library) -> None:
        self._data = data
        self._recorder = recorder
        self._library = library
        self._threads = CapacityLimiter(FACTS_THREADS)

    async def record(self, person: Person, recording: str) -> Record:
        """Return a recording by its id.

        Raises:
            ProblemError: There is none, or it is not for this person.
        """
        found: Record | None = None
        if is_uuid(recording):
            found = self._recorder().state(recording)
            if found is None:
                found = await to_thread.run_sync(self._library.closed, recording)
        if found is None or (isinstance(found, Closed) and found.status == "deleted"):
            raise no_such_recording()
        owner = found.owner if isinstance(found, Closed) else found.about.owner
        if not person.sees(owner):
            raise no_such_recording()
        return found

    async def facts(self, found: Record) -> dict[str, Any]:
        """Return what is known of a recording: the fields of its sidecar.

        Raises:
            ProblemError: It has been deleted since it was found.
            RegisterDamagedError: Somebody has spoilt its sidecar.
        """
        # On a thread: of 100,000 gaps it takes a while, and acks must not wait for it.
        if isinstance(found, RecordingState):
            return await to_thread.run_sync(
                sidecar_fields, found.copy(), "recording", None, limiter=self._threads
            )
        return await to_thread.run_sync(self._read_sidecar, found, limiter=self._threads)

    def _read_sidecar(self, closed: Closed) -> dict[str, Any]:
        path = self._data / f"{closed.path}.json"
        try:
            facts: dict[str, Any] = json.loads(path.read_bytes())
            Editable.parse(facts)
        except FileNotFoundError:
            raise no_such_recording() from None
        except ValueError as error:
            raise RegisterDamagedError(f"{path.name} is no sidecar ({error})") from None
        return facts

    async def find(self, person: Person, recording: str) -> Found:
        """Return a recording whose WAV can be read.

        Raises:
            ProblemError: There is none, or it is not for this person, or its WAV is gone.
        """
        record = await self._audible(person, recording)
        if isinstance(record, RecordingState):
            sound = self._growing(record)
            fields = await self.facts(record)  # of this very moment, too
            return Found(recording, sound.readable, None, sound.is_there, fields)
        is_there = partial(self._is_there, recording)
        found = await to_thread.run_sync(
            read_closed, self._data, record, is_there, limiter=self._threads
        )
        if found is None:
            raise no_such_recording()
        return found

    async def hear(self, person: Person, recording: str) -> Sound:
        """Return the sound of a recording; cheap, so that it may be asked often.

        Raises:
            ProblemError: There is none, or it is not for this person, or its WAV is gone.
        """
        record = await self._audible(person, recording)
        if isinstance(record, RecordingState):
            return self._growing(record)
        sound = await to_thread.run_sync(
            hear_closed, self._data, record, partial(self._is_there, recording)
        )
        if sound is None:
            raise no_such_recording()
        return sound

    async def _audible(self, person: Person, recording: str) -> Record:
        record = await self.record(person, recording)
        if isinstance(record, RecordingState) and self._library.readable(recording) is None:
            # The library is behind at the beginning, and ahead at the end.
            closed = await to_thread.run_sync(self._library.closed, recording)
            record = closed or record
        return record

    def _growing(self, state: RecordingState) -> Sound:
        about = state.about
        readable = self._library.readable(about.recording)
        if readable is None:  # none of its frames is in a file
            path = str(self._data / f"{about.path}.wav")
            readable = Readable(path, about.format, header_bytes(about.format), 0)
        return Sound(about.recording, readable, None, partial(self._is_there, about.recording))

    def _is_there(self, recording: str) -> bool:
        # A recording that grew when the download began may have been finished since; only
        # a deleted one is neither known here nor readable.
        return not self._recorder().was_deleted(recording)
