"""The catalogue of the joined application: recordings are in it, and never wait for it."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from micwire.app import MicwireApp, create_app
from micwire.config import Config
from micwire.core.catalogue import Entry, Query
from micwire.core.people import LOCAL
from micwire.files import LocalFiles
from micwire.library.adopt import Adoption
from micwire.library.catalogue.keeper import FILE
from micwire.library.folders import Problem
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


async def read(app: MicwireApp) -> tuple[Entry, ...]:
    """Return what is listed, once there is something."""
    async with asyncio.timeout(20):
        while True:
            page = await app.catalogue.page(Query(), LOCAL)
            if page.entries:
                return page.entries
            await asyncio.sleep(0.05)


def listed(data: Path) -> tuple[Entry, ...]:
    async def run() -> tuple[Entry, ...]:
        async with create_app(Config(data=data)) as app:
            return await read(app)

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


def test_a_deletion_leaves_the_list_at_once_and_a_line_in_the_log(tmp_path: Path) -> None:
    microphone = record(tmp_path, seed=3)

    async def run() -> None:
        async with create_app(Config(data=tmp_path)) as app:
            await read(app)
            await app.recorder.delete(microphone.recording, why="asked", by="ana")
            assert (await app.catalogue.page(Query(), LOCAL)).entries == ()

    asyncio.run(run())
    [line] = (tmp_path / ".micwire" / "deletions.jsonl").read_text().splitlines()
    facts = json.loads(line)
    assert (facts["recording"], facts["why"], facts["by"]) == (microphone.recording, "asked", "ana")
    assert not list(tmp_path.glob("2*/*"))


def test_what_is_too_old_is_deleted_and_what_is_on_hold_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_ROUND_S", "ROUND_S", "PAUSE_S"):
        monkeypatch.setattr(f"micwire.retention.{name}", 0.0)
    monkeypatch.setattr("micwire.retention.TICK_S", 0.02)
    due, held = record(tmp_path, seed=4), record(tmp_path, seed=5)

    async def run() -> None:
        async with create_app(Config(data=tmp_path)) as app:
            await app.recorder.edit(held.recording, lambda now: replace(now, hold=True))
        note = {"witnessed": datetime.now(UTC).isoformat(), "begun": {}}  # of an earlier round
        (tmp_path / ".micwire" / "retention.json").write_text(json.dumps(note))
        async with create_app(Config(data=tmp_path, keep_days=1e-6)) as app:
            gone = asyncio.Event()
            app.events.subscribe(
                lambda event: gone.set() if event.recording == due.recording else None
            )
            async with asyncio.timeout(20):
                await gone.wait()
            assert [entry.recording for entry in await read(app)] == [held.recording]

    asyncio.run(run())
    [line] = (tmp_path / ".micwire" / "deletions.jsonl").read_text().splitlines()
    facts = json.loads(line)
    assert (facts["recording"], facts["why"]) == (due.recording, "expired")
    [kept] = tmp_path.glob("2*/*.wav")
    assert held.recording[:8] in kept.name


def test_a_wav_that_was_copied_in_is_served_like_any_other(tmp_path: Path) -> None:
    sound = np.arange(1_000, dtype="<i2")
    (tmp_path / "tapes").mkdir()
    (tmp_path / ".micwire").mkdir()
    soundfile.write(tmp_path / "tapes" / "first tape.wav", sound, 8_000, subtype="PCM_16")
    problems: list[Problem] = []
    Adoption(tmp_path, LocalFiles(), problems.append, lambda done, total: None).run()
    assert problems == []
    with (
        under_uvicorn(create_app(Config(data=tmp_path))) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        [found] = http.get("/api/v1/recordings", params={"q": "tape"}).json()["recordings"]
        assert (found["title"], found["frames"]) == ("first tape", 1_000)
        assert http.get(found["url"]).content[-sound.nbytes :] == sound.tobytes()
        edited = http.patch(f"/api/v1/recordings/{found['recording']}", json={"tags": ["old"]})
        assert edited.json()["tags"] == ["old"]
