"""Whoever is let in no more is let go: what they have open ends within seconds.

Who may is decided as something is opened, and never asked for a message. One task looks,
for all that is open together, whether what let people in still stands, so that also what
the command line takes back, in another process, ends what is open.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

import structlog
from anyio import to_thread

from micwire.core.errors import AccessError

LOOK_S = 3.0
BATCH = 1_000
"""So many proofs are looked up in one step; others can ask the store in between."""


class Revocable(Protocol):
    """Something that is open to somebody."""

    @property
    def proof(self) -> str:
        """What let them in; empty: nothing that can be taken back, or nobody yet."""
        ...

    def revoke(self) -> None:
        """End, as they are let in no more. Called on the loop, and again until it is gone."""
        ...


class Watch:
    """The task.

    Args:
        ended: Returns which proofs let nobody in any more; blocks.
        opened: Returns what is open now.
    """

    def __init__(
        self,
        ended: Callable[[Collection[str]], set[str]],
        opened: Callable[[], Iterable[Revocable]],
    ) -> None:
        self._ended = ended
        self._opened = opened
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="watch")

    async def close(self) -> None:
        """Look no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        is_failing = False
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
                is_failing = False
            except AccessError as error:  # nobody is let go for a disk that fails
                if not is_failing:
                    structlog.get_logger("micwire").error(
                        "who is let in no more can't be looked up", reason=str(error)
                    )
                is_failing = True

    async def look(self) -> None:
        """End what is open to people who are let in no more.

        Raises:
            AccessError: The store can't be used.
        """
        proofs = {each.proof for each in self._opened()} - {""}
        ended: set[str] = set()
        for some in _batches(sorted(proofs)):
            ended |= await to_thread.run_sync(self._ended, some)
        if ended:
            for each in self._opened():
                if each.proof in ended:
                    each.revoke()


def _batches(proofs: list[str]) -> Iterable[list[str]]:
    return (proofs[first : first + BATCH] for first in range(0, len(proofs), BATCH))
