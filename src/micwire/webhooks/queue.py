"""Deliveries that wait, a file each, so that a restart or a power cut loses none.

Blocks; belongs to one thread.
"""

import os
from pathlib import Path

import structlog

from micwire.core.interfaces import Files
from micwire.webhooks.message import Delivery

MOST = 10_000
"""Beyond it new ones are not taken: their receiver has been away for long."""


class DeliveryQueue:
    """The deliveries that wait in a directory.

    Args:
        directory: Where; made if it is missing.
        files: The file system.
    """

    def __init__(self, directory: Path, files: Files) -> None:
        self._directory = directory
        self._files = files
        self.waiting: dict[str, Delivery] = {}
        """By what names them, the oldest first."""

    def load(self) -> None:
        """Read what an earlier process left.

        Raises:
            OSError: The directory can't be used.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in sorted(self._files.names(str(self._directory))):
            if not name.endswith(".json"):
                continue
            try:
                delivery = Delivery.decode((self._directory / name).read_bytes())
            except ValueError as error:
                # Its rename was durable and its bytes were not: it was never complete.
                structlog.get_logger("micwire").error("webhook unreadable", reason=str(error))
                self._files.unlink(str(self._directory / name))
            else:
                self.waiting[delivery.id] = delivery

    def put(self, delivery: Delivery) -> bool:
        """Take a delivery, or its next try, durably; False if too many wait.

        Raises:
            OSError: It could not be kept.
        """
        if delivery.id not in self.waiting and len(self.waiting) >= MOST:
            return False
        path = self._path(delivery.id)
        descriptor = self._files.open(f"{path}.new", create=True)
        try:
            data = delivery.encode()
            self._files.truncate(descriptor, 0)
            while data:
                offset = self._files.size(descriptor)
                data = data[self._files.write(descriptor, [data], offset) :]
            self._files.sync(descriptor)
        finally:
            self._files.close(descriptor)
        self._files.rename(f"{path}.new", path)
        self._files.sync_directory(str(self._directory))
        self.waiting[delivery.id] = delivery
        return True

    def remove(self, delivery: Delivery) -> None:
        """Forget a delivery: it has arrived, or never will."""
        self.waiting.pop(delivery.id, None)
        self._files.unlink(self._path(delivery.id))

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, f"{name}.json")
