"""Inside another application: its people are ours, and its life is long enough for us.

An application that is mounted gets no word of the start and the end of the one around it.
So it begins with the first request, and ends with the event loop, unless somebody told it.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from anyio import to_thread
from starlette.requests import HTTPConnection

from micwire.core.people import Person, Scope

Who = Person | str | int | None
"""Somebody, or the id that they have in the application around us; None is nobody."""
Authenticate = Callable[[HTTPConnection], Who | Awaitable[Who]]
"""Tells who asks, for a request or the handshake of a socket alike."""


class HostAccess:
    """People as the application around us knows them; see `Access`.

    Args:
        authenticate: Asked once at each request. One that is no coroutine function may
            block: it is called on a thread.
    """

    is_open = False

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def person(self, request: Mapping[str, Any]) -> Person | None:
        """Return who asks; with no more than an id they may record, and see what is theirs.

        Raises:
            TypeError: `authenticate` returned something else.
        """
        connection = HTTPConnection(dict(request))
        if inspect.iscoroutinefunction(self._authenticate):
            who = await self._authenticate(connection)
        else:
            who = await to_thread.run_sync(self._authenticate, connection)
            if inspect.isawaitable(who):
                who = await who
        if who is None or isinstance(who, Person):
            return who
        # A bool is an int: `return user.is_authenticated` would make everybody one person.
        if isinstance(who, bool) or not isinstance(who, str | int) or who == "":
            raise TypeError(f"authenticate returns a Person, an id or None, not {who!r}")
        return Person(str(who), scopes=frozenset(Scope))


class LateStart:
    """Starts something at its first use, and ends it with the event loop.

    A loop's runner cancels what still runs at the end and waits for it: that is the sign.

    Args:
        start: Called at the first `begin`; if it raises, at the next one too.
        end: Called when the loop is about to end.
    """

    def __init__(
        self, start: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]
    ) -> None:
        self._start = start
        self._end = end
        self._starting: asyncio.Task[None] | None = None
        self._life: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Return once it has started."""
        if self._starting is None:
            # In a task of its own: whoever asks first may go away, and others wait for it.
            self._starting = asyncio.create_task(self._begin(), name="micwire start")
            self._starting.add_done_callback(_take_error)
        await asyncio.shield(self._starting)

    async def _begin(self) -> None:
        try:
            await self._start()
        except BaseException:
            self._starting = None
            raise
        self._life = asyncio.create_task(self._live(), name="micwire")

    async def _live(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await self._end()


def _take_error(task: asyncio.Task[None]) -> None:
    """Whoever waits is told of it; with nobody there, the next one who asks."""
    if not task.cancelled():
        task.exception()
