"""One-use tickets for sockets, in memory: they live for half a minute.

A page that can't send a cookie along, because it is of another origin, gets a ticket from
its own server, which asked for it with an API token.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from micwire.access.secrets import hash_secret, new_secret
from micwire.core.people import Person

LIFE_S = 30
MOST = 10_000


class Tickets:
    """Tickets that wait to be used.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: OrderedDict[str, tuple[float, Person]] = OrderedDict()

    def issue(self, person: Person) -> str:
        """Return a ticket with which whoever brings it first, within 30 s, is this person."""
        now = self._clock()
        while self._waiting:
            end, _ = next(iter(self._waiting.values()))
            if end > now and len(self._waiting) < MOST:
                break
            self._waiting.popitem(last=False)
        ticket = new_secret()
        self._waiting[hash_secret(ticket)] = (now + LIFE_S, person)
        return ticket

    def redeem(self, ticket: str) -> Person | None:
        """Return whose ticket it is, once: taking it and looking at it are one step."""
        end, person = self._waiting.pop(hash_secret(ticket), (0.0, None))
        return person if end > self._clock() else None

    def forget(self, user: str) -> None:
        """Make what was issued to a user worthless."""
        for ticket in [key for key, (_, person) in self._waiting.items() if person.id == user]:
            del self._waiting[ticket]
