"""Who asks: looked up once for each request, and found by routes in `request.state.person`."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from micwire.core.interfaces import Access

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Caller:
    """ASGI middleware that says who asks.

    Args:
        app: What is called behind it.
        access: Knows people by what a request brings.
    """

    def __init__(self, app: App, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look the person up, and go on."""
        person = await self._access.person(scope)
        # A copy: in an application around us the state is not ours.
        state = {**scope.get("state", {}), "person": person}
        await self._app({**scope, "state": state}, receive, send)
