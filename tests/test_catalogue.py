"""The catalogue of the joined application: recordings are in it, and never wait for it."""

import asyncio
from pathlib import Path

import httpx

from micwire.app import create_app
from micwire.config import Config
from micwire.core.catalogue import Entry, Query
from micwire.core.people import LOCAL
from micwire.library.catalogue.keeper import FILE
from tests.faults.harness import Microphone, check_recording
from tests.test_app import under_uvicorn


def record(data: Path, seed: int) -> Microphone:
    """Record for a quarter of a second under a server of its own; it stays healthy."""
    with under_uvicorn(create_app(Config(data=data))) as port:
        microphone = Microphone(port, 12_000, speed=48_000, seed=seed)
        asyncio.run(microphone.record())
        health = httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
        assert health.json() == {"status": "ok"}
    return microphone


def listed(data: Path) -> tuple[Entry, ...]:
    async def run() -> tuple[Entry, ...]:
        async with create_app(Config(data=data)) as app:
            async with asyncio.timeout(20):
                while True:
                    page = await app.catalogue.page(Query(), LOCAL)
                    if page.entries:
                        return page.entries
                    await asyncio.sleep(0.05)

    return asyncio.run(run())


def test_what_was_recorded_is_in_the_catalogue(tmp_path: Path) -> None:
    microphone = record(tmp_path, seed=1)
    [entry] = listed(tmp_path)
    assert (entry.recording, entry.status) == (microphone.recording, "finished")
    assert entry.frames == 12_000
    assert (tmp_path / f"{entry.path}.wav").exists()


def test_a_recording_needs_no_catalogue(tmp_path: Path) -> None:
    in_the_way = tmp_path / FILE
    in_the_way.mkdir(parents=True)
    microphone = record(tmp_path, seed=2)
    check_recording(tmp_path, microphone, has_ffprobe=False)
    in_the_way.rmdir()
    assert [entry.recording for entry in listed(tmp_path)] == [microphone.recording]
