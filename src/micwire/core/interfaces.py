"""What the recorder needs from the parts that touch the world.

Signatures only. A journal is fit if it passes `micwire.testing.JournalContract`.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from micwire.core.audio import Format
from micwire.core.catalogue import Page, Query, Usage
from micwire.core.edits import Change
from micwire.core.errors import MicwireError
from micwire.core.people import Person
from micwire.core.recording import Closed, RecordingState
from micwire.core.records import Record
from micwire.core.wire import Open


class Files(Protocol):
    """The file system calls of the audio path, one method each, so that tests can break them.

    Longer than other protocols because it mirrors `os`: each method is one call, raises
    `OSError` as the call does, and blocks. Never call one on the event loop.
    """

    def open(self, path: str, *, create: bool = False) -> int:
        """Open for reading and writing; return a descriptor."""
        ...

    def close(self, descriptor: int) -> None:
        """Close; says nothing about what is on disk."""
        ...

    def read(self, descriptor: int, count: int, offset: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer only at the end of the file."""
        ...

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        """Write buffers one behind the other; return how many bytes were taken."""
        ...

    def sync(self, descriptor: int) -> None:
        """Return once the file's bytes and length are on stable storage."""
        ...

    def sync_directory(self, path: str) -> None:
        """Return once the names in a directory are on stable storage."""
        ...

    def truncate(self, descriptor: int, length: int) -> None:
        """Make the file exactly `length` bytes long."""
        ...

    def size(self, descriptor: int) -> int:
        """Return the file's length in bytes."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, replacing what had it."""
        ...

    def unlink(self, path: str) -> None:
        """Remove a name; one that does not exist is no error."""
        ...

    def make_directory(self, path: str) -> bool:
        """Create a directory; True if it was not there before."""
        ...

    def names(self, path: str) -> list[str]:
        """Return the names in a directory, in no order."""
        ...

    def free_bytes(self, path: str) -> int:
        """Return the room left for this user on the file system of `path`."""
        ...


@dataclass(slots=True)
class Recovery:
    """What a journal found when it was opened.

    `states` are the recordings it still speaks of; `records()` yields, in order, the
    FRAMES and GAP records it still holds of them. What it no longer holds is in the WAVs.
    """

    states: dict[bytes, RecordingState] = field(default_factory=dict)
    records: Callable[[], Iterator[Record]] = lambda: iter(())
    altered: list[bytes] = field(default_factory=list)
    """Filled by the library: recordings whose states it had to change, for a lost file."""


class JournalEvents(Protocol):
    """What a journal tells its owner. Every call comes from the journal's own thread."""

    def committed(self, records: Sequence[Record]) -> None:
        """These records are durable, in this order. May block to slow the journal down."""
        ...

    def full(self, *, is_full: bool) -> None:
        """There is no room for more; later: there is again. Nothing durable is touched."""
        ...

    def failed(self, error: MicwireError) -> None:
        """A write or sync failed. Nothing more is committed by this process, ever."""
        ...


class Journal(Protocol):
    """A durable log of records, shared by all recordings.

    Records become durable in the order of `append`, all of them or a first part of them.
    """

    def recover(self) -> Recovery:
        """Read what earlier processes left and make the log ready. Blocks; called once."""
        ...

    def start(self, events: JournalEvents) -> None:
        """Begin to commit. Called once, after what `recover` found is in the library."""
        ...

    def append(self, record: Record) -> None:
        """Take a record; it is durable once `events.committed` names it. Never blocks."""
        ...

    def release(self, recording: bytes, end: int | None) -> None:
        """Forget the frames before `end` (None: all): they are durable elsewhere."""
        ...

    def close(self) -> None:
        """Commit what was appended, then end. Blocks."""
        ...


class LibraryEvents(Protocol):
    """What a library tells its owner. Every call comes from the library's own thread."""

    def filed(self, recording: bytes, end: int | None) -> None:
        """The frames before `end` (None: the whole recording) are durable in the library."""
        ...

    def closed(self, recording: bytes, closed: Closed) -> None:
        """A recording that was to end or to vanish has done so, durably."""
        ...

    def room(self, free_bytes: int) -> None:
        """So much room is left; told about once a second."""
        ...

    def full(self, *, is_full: bool) -> None:
        """There is no room to file more; later: there is again. Nothing durable is touched."""
        ...

    def failed(self, error: MicwireError) -> None:
        """A write or sync failed. Nothing more is filed by this process, ever."""
        ...


@dataclass(frozen=True, slots=True)
class Readable:
    """A WAV as it can be read now: `frames` frames from `data_offset` of `path` on."""

    path: str
    format: Format
    data_offset: int
    frames: int


class Library(Protocol):
    """Where recordings end up. It reads the log behind the acknowledgements."""

    def recover(self, recovery: Recovery) -> list[bytes]:
        """File what the log still holds; return the recordings that are closed already."""
        ...

    def start(self, events: LibraryEvents) -> None:
        """Begin to file. Called once, after `recover`."""
        ...

    def file(self, records: Sequence[Record]) -> None:
        """Take durable records, in the order of the log. Blocks while too many wait."""
        ...

    def closed(self, recording: str) -> Closed | None:
        """Return what is known of a recording that is over. Blocks."""
        ...

    def reopen(self, closed: Closed) -> Closed:
        """Grant a further epoch on a recording that is over, durably. Blocks.

        Returns what is known of it now: of one that was deleted meanwhile only that.
        """
        ...

    def edit(self, closed: Closed, change: Change) -> None:
        """Change what is said of a recording that is over, durably. Blocks.

        One edit or deletion of a recording at a time. What `change` raises is raised, and
        nothing is changed.

        Raises:
            GoneError: Its sidecar is gone.
            LockedError: The server may not read or replace it.
        """
        ...

    def delete(self, closed: Closed) -> None:
        """Delete a recording that is over, durably; what it was is not kept. Blocks."""
        ...

    def readable(self, recording: str) -> Readable | None:
        """Return what can be read of an unfinished recording. Never blocks."""
        ...

    def close(self) -> None:
        """File and sync what was taken, then end. Blocks."""
        ...


class ResultReader(Protocol):
    """What analyzers say of one recording, as one connection reads it. For the event loop."""

    def take(self) -> list[str]:
        """Return the next texts to send, some tens of KiB at most. Never blocks."""
        ...

    async def all_taken(self) -> None:
        """Wait until nothing more will come and all has been taken."""
        ...

    def close(self) -> None:
        """Read no more."""
        ...


class Analysis(Protocol):
    """What listens to recordings beside the recorder. Nothing here blocks or raises."""

    def feed(self, records: Sequence[Record]) -> None:
        """Take durable records, in the order of the log. Called from the journal's thread."""
        ...

    def attach(
        self, state: RecordingState, message: Open, wake: Callable[[], None]
    ) -> ResultReader | None:
        """Analyse an unfinished recording as a client asks for; None if there is nothing to do.

        Called on the loop before any further frame of it is durable. All frames of `state`
        are; its gaps are looked up in it later. `wake` is called when there is something
        to take.
        """
        ...

    def attach_closed(
        self, closed: Closed, message: Open, wake: Callable[[], None]
    ) -> ResultReader | None:
        """Return what was said of a recording that is over."""
        ...

    def forget(self, recording: bytes) -> None:
        """The recording is to be deleted: keep nothing more of it. Called on the loop."""
        ...


class Access(Protocol):
    """Who asks. Asked at each request and each handshake, never for a message."""

    @property
    def is_open(self) -> bool:
        """Tell whether nobody has to sign in."""
        ...

    async def person(self, request: Mapping[str, Any]) -> Person | None:
        """Return who asks, by a cookie or a bearer token; None if nothing says so.

        `request` is what an ASGI application gets as `scope`; of a socket at least `type`,
        `path`, `query_string` and `headers`.
        """
        ...


Admit = Callable[[Person, Open], Awaitable[float | str]]
"""Decides how many seconds a recording may have, before any of it is stored, or why it may not be.

Asked once, as it is to begin: what was admitted can always be gone on with and finished.
"""

Identify = Callable[[str | None], Awaitable[Person | None]]
"""Returns who opens a recording, asked once with the ticket in `open`, if there is one."""


class Link(Protocol):
    """One connection as a carrier sees it. A carrier needs no framework and no more than this."""

    def feed(self, message: str | bytes) -> bool:
        """Take one message; False if `has_room` is to be awaited before the next.

        Never blocks, never raises for a peer's mistake.
        """
        ...

    async def has_room(self) -> None:
        """Wait until the disk has caught up with this connection, or it is closed."""
        ...

    def outgoing(self) -> list[str]:
        """Return the texts to send, oldest first, and forget them."""
        ...

    @property
    def closing(self) -> tuple[int, str] | None:
        """The code and reason to close with once everything outgoing is sent."""
        ...

    def lost(self) -> None:
        """The socket is gone. What was fed stays; nothing more can be sent."""
        ...


class RecorderLink(Link, Protocol):
    """A link to the recorder, for a carrier that translates."""

    def feed(self, message: str | bytes, *, clipped: int = 0, nonfinite: int = 0) -> bool:
        """As `Link.feed`; the counts are of samples that the carrier had to alter."""
        ...

    def refuse(self, code: str, message: str) -> None:
        """Close with an error, for a rule of the carrier that the peer broke."""
        ...


class Catalogue(Protocol):
    """An index of all recordings. Every method raises `CatalogueUnavailableError`."""

    async def page(self, query: Query, person: Person) -> Page:
        """Return a page of what the person sees.

        Raises:
            BadCursorError: The cursor is not from a list in this order.
        """
        ...

    async def tags(self, person: Person) -> list[tuple[str, int]]:
        """Return the tags that the person sees with how many recordings have each, by name."""
        ...

    async def usage(self, owner: str) -> Usage:
        """Return how much those of a person's recordings take that are over."""
        ...
