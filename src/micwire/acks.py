"""When clients are told what is durable: soon, but not too often, and at least each second."""

import asyncio
import time
from collections.abc import Callable, Iterable

from micwire.link import Connection

HEARTBEAT_S = 0.7
_LOOK_S = 0.1
_SHORTEST_WAIT_S = 0.01


class Acks:
    """The acknowledgements of all links. Runs on the event loop.

    Args:
        interval_s: The least time between two acks of one link.
        hit: Called with the names of failpoints.
    """

    def __init__(self, interval_s: float, hit: Callable[[str], None] | None = None) -> None:
        self._interval_s = interval_s
        self._hit = hit
        self._due: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Connection) -> None:
        """Note that more of a link's frames are durable."""
        self._due.add(connection)

    def drop(self, connection: Connection) -> None:
        """Forget a link that is gone."""
        self._due.discard(connection)

    def send(self) -> None:
        """Send what is due; what is too early for its link goes by itself a little later."""
        if self._timer is None:
            self._send()

    def _send(self) -> None:
        self._timer = None
        now = time.monotonic()
        early: set[Connection] = set()
        for connection in self._due:
            if now - connection.last_ack < self._interval_s:
                early.add(connection)
            else:
                self._send_one(connection, now)
        self._due = early
        if early:
            wait_s = min(connection.last_ack for connection in early) + self._interval_s - now
            self._timer = asyncio.get_running_loop().call_later(
                max(wait_s, _SHORTEST_WAIT_S), self._send
            )

    def _send_one(self, connection: Connection, now: float) -> None:
        if self._hit is not None:
            self._hit("ack.send.before")
        connection.last_ack = now
        connection.session.acknowledge()
        connection.wake()

    async def heartbeat(self, connections: Iterable[Connection]) -> None:
        """Repeat the ack of each link that has not had one for a while, for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            now = time.monotonic()
            for connection in tuple(connections):
                if now - connection.last_ack >= HEARTBEAT_S:
                    self._send_one(connection, now)
