"""A journal in memory: for tests, and for embedding where losing audio does not matter.

NOTHING SURVIVES. What it calls durable is gone with the process; the WAVs of unfinished
recordings are all that is left then. It keeps no record once it has told of it.
"""

import queue
import threading

from micwire.core.interfaces import JournalEvents, Recovery
from micwire.core.records import Record


class MemoryJournal:
    """A journal that commits at once, on a thread of its own; see `Journal`.

    It keeps the order of `append` and the manners of a journal, and none of its promises
    about crashes.
    """

    def __init__(self) -> None:
        self._pending: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self._events: JournalEvents | None = None
        self._thread = threading.Thread(target=self._run, name="micwire-memory", daemon=True)

    def recover(self) -> Recovery:
        """Return nothing: nothing is ever left."""
        return Recovery()

    def start(self, events: JournalEvents) -> None:
        """Begin to commit."""
        self._events = events
        self._thread.start()

    def append(self, record: Record) -> None:
        """Take a record. Never blocks."""
        self._pending.put(record)

    def release(self, recording: bytes, end: int | None) -> None:
        """Forget frames: nothing is kept anyway."""

    def close(self) -> None:
        """Commit what was appended, then end. Blocks."""
        self._pending.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while (record := self._pending.get()) is not None:
            if self._events is not None:
                self._events.committed([record])
