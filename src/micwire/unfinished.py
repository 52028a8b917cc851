"""The recordings that are not over, and the log that all that happens to them goes into.

Each has its one live state here, at the leading edge of the log; nobody else moves it.
For the event loop: nothing blocks, and only `commit` waits.
"""

import asyncio
from weakref import WeakValueDictionary

from micwire.core.errors import StorageFailedError
from micwire.core.interfaces import Journal
from micwire.core.recording import Ending, finish_record
from micwire.core.records import Record
from micwire.link import Live


class Unfinished:
    """All recordings that are not over.

    Args:
        journal: The durable log.
    """

    def __init__(self, journal: Journal) -> None:
        self.lives: dict[bytes, Live] = {}
        self.paths: set[str] = set()
        """Paths that are in use or reserved, below the data directory and without suffix."""
        self.deleted: set[bytes] = set()
        """Recordings that were deleted since this process began."""
        self._journal = journal
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiters: dict[int, asyncio.Future[None]] = {}

    def lock(self, recording: str) -> asyncio.Lock:
        """Return the lock of whoever opens, edits or deletes a recording, over or not."""
        return self._locks.setdefault(recording, asyncio.Lock())

    def add(self, live: Live) -> None:
        """Take a recording; the caller has reserved its path."""
        self.lives[live.key] = live
        self.paths.add(live.state.about.path)

    def remove(self, key: bytes) -> Live | None:
        """Let go of a recording that is over, and tell whoever waits for that."""
        live = self.lives.pop(key, None)
        if live is not None:
            self.paths.discard(live.state.about.path)
            live.over.set()
        return live

    def append(self, live: Live, record: Record) -> None:
        """Move a recording on by one record, and log it."""
        live.state.apply(record)
        self._journal.append(record)

    def end(self, live: Live, ending: Ending) -> None:
        """End a recording, unless it has ended already or is going away."""
        state = live.state
        if state.ending is None and not state.is_deleted:
            self.append(live, finish_record(live.key, state.epoch, state.frames, ending))

    async def commit(self, record: Record) -> None:
        """Log a record and wait until it is durable, with all before it.

        Raises:
            StorageFailedError: The journal failed.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[id(record)] = waiter
        try:
            self._journal.append(record)
            await waiter
        finally:
            self._waiters.pop(id(record), None)

    def committed(self, record: Record) -> None:
        """A record is durable."""
        waiter = self._waiters.get(id(record))
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def fail(self, error: StorageFailedError) -> None:
        """Nothing more will be durable."""
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_exception(error)
