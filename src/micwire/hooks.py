"""What is told outside of recordings that are over: to webhooks, and to a function of the host's.

Neither can hold up or break a recording: what is asked of the disk is asked on threads, and
what a host's function raises is logged.
"""

import asyncio
import inspect
import json
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from anyio import CapacityLimiter, to_thread

from micwire.core.recording import Closed
from micwire.events import Event, Happening

THREADS = 4
"""So many calls of a host's function that blocks run at once; more wait."""
CLOSE_TIMEOUT_S = 5.0
_TOLD = (
    "status",
    "title",
    "format",
    "frames",
    "gaps",
    "marks",
    "clipped",
    "digest",
    "verifiable",
    "take",
    "part",
    "started_at",
    "tags",
    "metadata",
)
"""What a webhook is told of the sidecar: neither notes nor devices."""
_FINAL = (Happening.FINISHED, Happening.INTERRUPTED)

LookUp = Callable[[str], Closed | None]
"""Returns what is known of a recording that is over; blocks."""


@dataclass(frozen=True, slots=True)
class FinishedRecording:
    """A recording whose WAV is final.

    Args:
        id: Its UUID.
        path: Where its WAV is.
        owner: The id of the person whose it is; empty where nobody signs in.
        facts: The fields of its sidecar; `status` is `finished` or `interrupted`.
    """

    id: str
    path: Path
    owner: str
    facts: Mapping[str, Any]


OnFinished = Callable[[FinishedRecording], object]
"""A function of the host's. What an awaitable returns is awaited; what blocks has a thread."""


def look(data: Path, closed: LookUp, recording: str) -> FinishedRecording | None:
    """Return a recording that is final; None if it is gone meanwhile. Blocks."""
    found = closed(recording)
    if found is None or found.status == "deleted":
        return None
    path = data / f"{found.path}.wav"
    try:
        facts = json.loads(path.with_suffix(".json").read_bytes())
    except FileNotFoundError:
        return None
    return FinishedRecording(recording, path, found.owner, facts)


def told_of(data: Path, closed: LookUp, base_url: str, event: Event) -> dict[str, object]:
    """Return what webhooks are told of an event. Blocks."""
    told: dict[str, object] = {
        "recording": event.recording,
        "owner": event.owner,
        "url": f"{base_url}/api/v1/recordings/{event.recording}/audio",
    }
    if event.happening in _FINAL:
        found = look(data, closed, event.recording)
        facts = {} if found is None else found.facts
        told |= {name: facts[name] for name in _TOLD if name in facts}
    if event.results:
        told["results"] = [json.loads(text) for text in event.results]
    return told


class FinishedHook:
    """Calls a host's function once for each recording whose WAV has become final.

    Args:
        function: The host's.
        data: The data directory.
        closed: Looks recordings up.
    """

    def __init__(self, function: OnFinished, data: Path, closed: LookUp) -> None:
        self._function = function
        self._data = data
        self._closed = closed
        self._threads: CapacityLimiter | None = None
        self._calls: set[asyncio.Task[None]] = set()

    def take(self, event: Event) -> None:
        """Call the function if the event is the end of a recording; a listener for `Events`."""
        if event.happening in _FINAL:
            call = asyncio.create_task(self._call(event.recording))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def close(self) -> None:
        """Wait a little for what is being called, then leave it."""
        if self._calls:
            _, left = await asyncio.wait(tuple(self._calls), timeout=CLOSE_TIMEOUT_S)
            for call in left:
                call.cancel()

    async def _call(self, recording: str) -> None:
        try:
            found = await to_thread.run_sync(look, self._data, self._closed, recording)
            if found is None:
                return
            if inspect.iscoroutinefunction(self._function):
                await self._function(found)
                return
            self._threads = self._threads or CapacityLimiter(THREADS)
            result = await to_thread.run_sync(
                self._function, found, limiter=self._threads, abandon_on_cancel=True
            )
            if isinstance(result, Awaitable):
                await result
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            structlog.get_logger("micwire").error(
                "on_finished failed",
                recording=recording,
                reason=repr(error),
                where=f"{frames[-1].filename}:{frames[-1].lineno}",
            )
