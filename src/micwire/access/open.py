"""Access for a server that nobody signs in to: everybody may do everything."""

from collections.abc import Mapping
from typing import Any

from micwire.core.people import LOCAL, Person


class OpenAccess:
    """The default on a loopback address; see `Access`."""

    is_open = True

    async def person(self, request: Mapping[str, Any]) -> Person | None:
        """Everybody is the same person."""
        return LOCAL

    def redeem(self, ticket: str) -> Person | None:
        """Nobody needs a ticket, and so none was given out."""
        return None
