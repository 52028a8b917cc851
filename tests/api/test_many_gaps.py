"""A recording with very many gaps and marks is described beside the event loop, never on it.

What is held up there holds up the acks of everybody.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from micwire.api import recordings, shelf
from micwire.app import MicwireApp
from micwire.core.recording import GapEntry, MarkEntry
from micwire.core.wire import Audio, Gap, Mark, encode_client
from tests.access.office import Browser, Line, Office, number, office

LIST = "/api/v1/recordings"
RECORDING = f"{LIST}/{number(1)}"
RANGE = {"range": "bytes=0-99"}


def local(here: Office) -> Browser:
    """Return a browser on the server's own machine: nobody signs in."""
    return here.browser("http://127.0.0.1:8000", client="127.0.0.1")


class Watch:
    """Knows on which threads something was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *watched: tuple[Any, str]) -> None:
        self.threads: list[int] = []
        for owner, name in watched:
            monkeypatch.setattr(owner, name, self._noting(getattr(owner, name)))

    def _noting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*arguments: Any) -> Any:
            self.threads.append(threading.get_ident())
            return call(*arguments)

        return noting


async def grown(app: MicwireApp, line: Line) -> None:
    """Begin a recording with gaps and a mark."""
    await line.open(1)
    for frame in range(0, 40, 4):
        line.connection.feed(encode_client(Gap(frame, 3, "overflow", exact=True)))
        line.connection.feed(encode_client(Audio(frame + 3, bytes(2))))
    line.connection.feed(encode_client(Mark(1, "here")))
    async with asyncio.timeout(5):
        while app._library.readable(number(1)) is None:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("query", ["/audio", "/audio?format=flac", "", "?limit=1"])
def test_what_is_known_of_a_growing_recording_is_written_on_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    path = f"{LIST}{query}" if query.startswith("?") else f"{RECORDING}{query}"

    async def run() -> None:
        async with office(tmp_path) as here:
            await grown(here.app, Line(here, local(here)))
            watch = Watch(
                monkeypatch, (GapEntry, "facts"), (MarkEntry, "facts"), (recordings, "_detail")
            )
            async with asyncio.timeout(10):
                while not watch.threads:
                    answer = await local(here).call("GET", path, headers=RANGE)
                    assert answer.status_code in (200, 206)
            assert threading.get_ident() not in watch.threads

    asyncio.run(run())


def test_whoever_listens_asks_for_no_more_than_the_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Watch(monkeypatch, (shelf.Shelf, "hear"))

    async def run() -> None:
        async with office(tmp_path) as here:
            line = Line(here, local(here))
            await grown(here.app, line)
            watch = Watch(monkeypatch, (shelf, "sidecar_fields"))
            listening = asyncio.create_task(local(here).call("GET", f"{RECORDING}/live?from=0"))
            async with asyncio.timeout(10):
                while len(looks.threads) < 3:  # noqa: ASYNC110 (nobody tells)
                    await asyncio.sleep(0.01)
            peaks = await local(here).call("GET", f"{RECORDING}/peaks")
            await line.finish(40 / 8_000)
            heard = await asyncio.wait_for(listening, 10)
            assert (peaks.status_code, heard.status_code) == (200, 200)
            assert len(heard.content) > 80
            assert watch.threads == []

    asyncio.run(run())
