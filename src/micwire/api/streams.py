"""Answers that are made while they are sent: how many, for whom, and when they end.

A place is counted in the step in which it is given and is free again when the answer is
over, however that came. A client that takes nothing for a minute is gone for us, and so is
a person who is let in no more.
"""

from collections.abc import AsyncGenerator, MutableMapping
from http import HTTPStatus
from math import inf
from typing import Any

import anyio
from anyio import CancelScope, CapacityLimiter
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from micwire.api.endpoints import person_of
from micwire.api.problems import ProblemError
from micwire.core.people import Person

MAX_MADE = 16
"""So many downloads may be encoded or packed at once; each holds a few MiB."""
MAX_MADE_BY_PERSON = 4
THREADS = 2
RETRY_S = 10
SEND_TIMEOUT_S = 60.0
"""So long a client may take nothing; one that plays at leisure has a buffer that it fills."""


class Stream(StreamingResponse):
    """One answer; made by `Streams`.

    Args:
        streams: Where it is counted.
        person: Whose it is.
        body: What is sent.
        is_made: It takes a place: it is encoded or packed for this client alone.
        headers: Of the answer.
        media_type: Of the answer.
        status_code: Of the answer.
    """

    def __init__(
        self,
        streams: "Streams",
        person: Person,
        body: AsyncGenerator[bytes],
        *,
        is_made: bool,
        headers: dict[str, str],
        media_type: str,
        status_code: int = 200,
    ) -> None:
        super().__init__(body, status_code, headers, media_type)
        self.person = person
        self.is_made = is_made
        self.proof = person.proof
        """What let the person in."""
        self._streams = streams
        self._body = body
        self._scope = CancelScope()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, as long as the client takes it."""

        async def send_in_time(message: MutableMapping[str, Any]) -> None:
            self._scope.deadline = anyio.current_time() + SEND_TIMEOUT_S
            await send(message)
            self._scope.deadline = inf

        try:
            with self._scope:
                await super().__call__(scope, receive, send_in_time)
        finally:
            await self.close()

    def revoke(self) -> None:
        """End: the person is let in no more."""
        self._scope.cancel()

    async def close(self) -> None:
        """Free the place, and what the answer is made with."""
        self._streams.open.discard(self)
        with CancelScope(shield=True):  # the client may be gone
            await self._body.aclose()


class Streams:
    """All that are open."""

    def __init__(self) -> None:
        self.open: set[Stream] = set()
        self.threads = CapacityLimiter(THREADS)
        """On which they are made."""

    @property
    def made(self) -> int:
        """How many places are taken."""
        return sum(stream.is_made for stream in self.open)

    def respond(
        self,
        request: Request,
        body: AsyncGenerator[bytes],
        *,
        is_made: bool = False,
        headers: dict[str, str],
        media_type: str,
        status_code: int = 200,
    ) -> Stream:
        """Return the answer to a request, counted from now on; it is to be sent at once.

        Raises:
            ProblemError: There is no place for it.
        """
        person = person_of(request)
        if is_made:
            self._see_that_there_is_room(person)
        stream = Stream(
            self,
            person,
            body,
            is_made=is_made,
            headers=headers,
            media_type=media_type,
            status_code=status_code,
        )
        self.open.add(stream)
        return stream

    def _see_that_there_is_room(self, person: Person) -> None:
        theirs = sum(stream.is_made and stream.person.id == person.id for stream in self.open)
        if self.made >= MAX_MADE:
            raise _busy(f"{MAX_MADE} downloads are being made: try again in a while.")
        if person.id and theirs >= MAX_MADE_BY_PERSON:
            raise _busy(f"{MAX_MADE_BY_PERSON} downloads of yours are being made: wait for them.")


def _busy(detail: str) -> ProblemError:
    headers = {"retry-after": str(RETRY_S)}
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "busy", detail, headers)
