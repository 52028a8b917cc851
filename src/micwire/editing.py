"""Editing and deleting recordings, unfinished ones and those that are over.

On the event loop, one at a time for each recording, and durable before it returns. What is
unfinished changes by the log alone, like everything else about it; what is over is
changed by the library, on a thread.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from anyio import CapacityLimiter, to_thread

from micwire.core.edits import Change, Editable, GoneError, unless_held
from micwire.core.errors import (
    MicwireError,
    RegisterDamagedError,
    StorageFailedError,
    StorageFullError,
)
from micwire.core.interfaces import Analysis, Library
from micwire.core.recording import Closed
from micwire.core.records import Kind, Record, recording_bytes
from micwire.core.storage import is_no_room
from micwire.events import Events, Happening
from micwire.link import Connection, Live
from micwire.unfinished import Unfinished

Result = TypeVar("Result")

AT_ONCE = 2
"""So many threads edit, and so many delete; an `open` waits for none of them."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A recording that is about to be deleted, for whoever keeps a log of that."""

    recording: str
    owner: str
    why: str
    by: str
    """The id of the person who deletes it, or the name of the rule."""


class Host(Protocol):
    """What editing needs of the recorder."""

    @property
    def is_full(self) -> bool:
        """Tell whether there is no room."""
        ...

    def detach(self, connection: Connection) -> None:
        """Let a link have no recording any more."""
        ...

    def refuse(
        self, connection: Connection, code: str, message: str, *, frames: int | None = None
    ) -> None:
        """Close a link with an error of the wire."""
        ...

    def fail(self, error: MicwireError) -> None:
        """Nothing more can be made durable."""
        ...


class Editor:
    """Edits and deletes recordings.

    Args:
        host: The recorder.
        unfinished: All recordings that are not over.
        library: Has those that are.
        analysis: Runs analyzers beside; None where there are none.
        events: Told what has changed.
        note_deletion: Called before each deletion becomes durable, or where there is no room,
            once more behind it; may block. None where nobody keeps a log.
    """

    def __init__(
        self,
        host: Host,
        unfinished: Unfinished,
        library: Library,
        *,
        analysis: Analysis | None,
        events: Events,
        note_deletion: Callable[[Deletion], None] | None,
    ) -> None:
        self._host = host
        self._unfinished = unfinished
        self._library = library
        self._analysis = analysis
        self._events = events
        self._note_deletion = note_deletion
        self._edits = CapacityLimiter(AT_ONCE)
        self._deletions = CapacityLimiter(AT_ONCE)

    async def edit(self, recording: str, change: Change) -> None:
        """Change what is said of a recording; see `Recorder.edit`."""
        async with self._unfinished.lock(recording):
            if self._host.is_full:
                raise StorageFullError("there is no room left on the server")
            live = await self._unended(recording)
            if live is not None:
                owner = live.state.about.owner
                await self._edit_live(live, change)
            else:
                closed = await self._closed(recording, self._edits)
                owner = closed.owner
                await self._on_thread(self._edits, partial(self._library.edit, closed, change))
        self._events.tell(Happening.CHANGED, recording, owner)

    async def _edit_live(self, live: Live, change: Change) -> None:
        state = live.state
        after = change(Editable.of(state))
        about = replace(
            state.about, title=after.title, tags=after.tags, notes=after.notes, hold=after.hold
        )
        state.edit(about, after.marks)
        await self._unfinished.commit(state.record())

    async def delete(self, recording: str, why: str, by: str) -> None:
        """Delete a recording; see `Recorder.delete`."""
        async with self._unfinished.lock(recording):
            live = await self._unended(recording)
            if live is not None:
                unless_held(Editable.of(live.state))
                await self._delete_live(live, why, by)
            else:
                closed = await self._closed(recording, self._deletions)
                await self._delete_closed(closed, why, by)

    async def _delete_live(self, live: Live, why: str, by: str) -> None:
        owner = live.owner
        if owner is not None:
            self._host.detach(owner)
        self.hide(live)
        await self.commit_deletion(live, why, by)
        if owner is not None:
            # Its client throws its copy away now: not before the deletion is durable.
            self._host.refuse(owner, "deleted", "the recording was deleted", frames=0)

    def hide(self, live: Live) -> None:
        """Let a recording be gone for everybody, before it is so on the disk."""
        live.state.is_deleted = True
        self._unfinished.deleted.add(live.key)
        if self._analysis is not None:
            self._analysis.forget(live.key)

    async def commit_deletion(self, live: Live, why: str, by: str) -> None:
        """Make it durable that a hidden recording is to vanish.

        Raises:
            StorageFailedError: Nothing can be made durable any more.
        """
        about = live.state.about
        await self._is_noted(Deletion(about.recording, about.owner, why, by))
        await self._unfinished.commit(Record(Kind.DELETE, live.key, epoch=live.state.epoch))

    async def _delete_closed(self, closed: Closed, why: str, by: str) -> None:
        with contextlib.suppress(GoneError, RegisterDamagedError):
            # Nobody can hold what nobody can read.
            await self._on_thread(self._deletions, partial(self._library.edit, closed, unless_held))
        note = Deletion(closed.recording, closed.owner, why, by)
        is_noted = await self._is_noted(note)
        key = recording_bytes(closed.recording)
        self._unfinished.deleted.add(key)
        if self._analysis is not None:  # analyzers may still be writing down what they heard
            self._analysis.forget(key)
        try:
            await self._on_thread(self._deletions, partial(self._library.delete, closed))
        except StorageFullError:
            self._unfinished.deleted.discard(key)
            raise
        if not is_noted:  # there may be room now
            await self._is_noted(note)
        self._events.tell(Happening.DELETED, closed.recording, closed.owner)

    async def _is_noted(self, note: Deletion) -> bool:
        """Note a deletion; False if there is no room for that: deleting is what makes room."""
        if self._note_deletion is not None:
            try:
                await self._on_thread(self._deletions, partial(self._note_deletion, note))
            except StorageFullError:
                return False
        return True

    async def _unended(self, recording: str) -> Live | None:
        """Return a recording that goes on; None for one that is over, once that is so."""
        live = self._unfinished.lives.get(recording_bytes(recording))
        if live is not None and live.state.is_deleted:
            raise GoneError("there is no such recording")
        if live is not None and live.state.ending is not None:
            # The log has its last word; what is over is changed in the library.
            await live.over.wait()
            return None
        return live

    async def _closed(self, recording: str, threads: CapacityLimiter) -> Closed:
        closed = await self._on_thread(threads, partial(self._library.closed, recording))
        if closed is None or closed.status == "deleted":
            raise GoneError("there is no such recording")
        return closed

    async def _on_thread(self, threads: CapacityLimiter, call: Callable[[], Result]) -> Result:
        try:
            return await to_thread.run_sync(call, limiter=threads)
        except OSError as error:
            if is_no_room(error):
                raise StorageFullError("there is no room left on the server") from error
            failure = StorageFailedError(f"the data directory can't be used: {error}")
            self._host.fail(failure)
            raise failure from error
        except StorageFailedError as error:
            self._host.fail(error)
            raise
