"""The audit log: who signed in, and who was let do what. One JSON object a line.

It holds ids and codes, never sound, titles, names, addresses or secrets. Lines are written
by a thread of their own, in order; a log that can't be written stops no recording, but is
said on standard error.
"""

import contextlib
import json
import os
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

FILE = "audit.jsonl"
MAX_BYTES = 8 << 20
KEPT_FILES = 5
_WAITING = 10_000


class Audit:
    """The log of one data directory.

    Args:
        path: Where it is.
        on_failed: Called from the thread, once for each trouble.
    """

    def __init__(self, path: Path, on_failed: Callable[[OSError], None]) -> None:
        self._path = path
        self._on_failed = on_failed
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._is_started = False

    def note(self, event: str, **facts: str | int | float | bool | None) -> None:
        """Write that something happened. Never blocks; a flood beyond 10,000 lines is cut."""
        if not self._is_started:
            self._is_started = True
            self._thread.start()
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(json.dumps({"at": at, "event": event} | facts))

    def close(self) -> None:
        """Write what waits, then end. Blocks."""
        if self._is_started:
            self._lines.put(None)
            self._thread.join()

    def _run(self) -> None:
        is_over = is_failing = False
        while not is_over:
            batch = [self._lines.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < 1_000:
                    batch.append(self._lines.get_nowait())
            is_over = None in batch
            try:
                self._write("".join(f"{line}\n" for line in batch if line is not None).encode())
                is_failing = False
            except OSError as error:
                if not is_failing:
                    self._on_failed(error)
                is_failing = True

    def _write(self, data: bytes) -> None:
        if not data:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self._path).st_size + len(data) > MAX_BYTES:
                self._rotate()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _rotate(self) -> None:
        """Number the files anew; the oldest falls away."""
        names = [self._path, *(self._path.with_suffix(f".{n}.jsonl") for n in range(1, KEPT_FILES))]
        for newer, older in reversed(list(pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                os.replace(newer, older)
