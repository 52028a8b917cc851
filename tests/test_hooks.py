"""What is told of recordings that are over: to webhooks, and to a function of the host's."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import standardwebhooks
from starlette.applications import Starlette
from starlette.routing import Mount

from micwire.app import create_app
from micwire.client import connect
from micwire.config import Config
from micwire.core.audio import Encoding, Format
from micwire.hooks import FinishedRecording
from micwire.webhooks.message import encode_secret
from tests.faults.harness import Server, ServerEndedError, Signal
from tests.test_app import under_uvicorn
from tests.webhooks.test_sender import SECRET, Receiver, eventually

STEREO = Format(Encoding.S16, 48_000, 2)
SOUND = Signal()
SECRET_TEXT = encode_secret(SECRET)


async def record(port: int, path: str = "") -> str:
    async with connect(f"http://127.0.0.1:{port}{path}", STEREO, title="Hello") as microphone:
        await microphone.write(SOUND.data(0, 24_000))
    return microphone.id


async def discard(port: int) -> str:
    async with connect(f"http://127.0.0.1:{port}", STEREO) as microphone:
        await microphone.write(SOUND.data(0, 4_800))
        await microphone.discard()
    return microphone.id


def test_a_webhook_is_told_of_the_start_the_end_results_and_a_deletion(tmp_path: Path) -> None:
    receiver = Receiver()
    with Server(
        tmp_path / "data",
        webhook=receiver.url,
        webhook_events="started finished deleted result",
        webhook_allow_private=True,
        public_url="https://mic.example",
        access="open",
        analyzers="level",
        webhook_secret=SECRET_TEXT,
    ) as server:
        finished, deleted = asyncio.run(record(server.port)), asyncio.run(discard(server.port))

        def told() -> dict[tuple[object, object], dict[str, object]]:
            found = {}
            for number in range(len(receiver.heard)):
                said = receiver.checked(number)
                data = said["data"]
                assert isinstance(data, dict)
                found[said["type"], data["recording"]] = data
            return found

        wanted = {
            ("recording.started", finished),
            ("recording.finished", finished),
            ("recording.result", finished),
            ("recording.deleted", deleted),
        }
        eventually(lambda: wanted <= told().keys())
        facts = told()["recording.finished", finished]
        assert (facts["title"], facts["frames"], facts["status"]) == ("Hello", 24_000, "finished")
        assert facts["url"] == f"https://mic.example/api/v1/recordings/{finished}/audio"
        results = told()["recording.result", finished]["results"]
        assert isinstance(results, list)
        assert results[0]["analyzer"] == "level"
        assert server.stop() == 0
    receiver.close()


def test_what_a_killed_server_did_not_deliver_the_next_one_does(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.answers = [500]
    waiting = tmp_path / "data" / ".micwire" / "webhooks"

    def tries() -> list[int]:
        return [json.loads(path.read_text())["tries"] for path in waiting.glob("*.json")]

    server = Server(
        tmp_path / "data",
        webhook=receiver.url,
        webhook_events="finished",
        webhook_allow_private=True,
        webhook_secret=SECRET_TEXT,
    )
    with server:
        recording = asyncio.run(record(server.port))
        eventually(lambda: tries() == [1])
        server.kill()
        [file] = waiting.glob("*.json")
        file.write_text(json.dumps(json.loads(file.read_text()) | {"due": 0}))
        server.start()
        eventually(lambda: len(receiver.heard) == 2 and not tries())
        assert receiver.checked(1)["data"]["recording"] == recording  # type: ignore[index]
        assert receiver.heard[0][0]["webhook-id"] == receiver.heard[1][0]["webhook-id"]
    receiver.close()


def test_a_secret_is_made_and_kept_for_its_user_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / ".micwire" / "webhooks" / "secret"
    with Server(tmp_path / "data", webhook="https://hooks.example/x") as server:
        text = path.read_text()
        assert text.startswith("whsec_")
        assert path.stat().st_mode & 0o777 == 0o600
        standardwebhooks.Webhook(text.strip())
        server.stop()
        server.start()
        assert path.read_text() == text


@pytest.mark.parametrize(
    ("url", "secret", "events", "words"),
    [
        ("http://hooks.example/", "", "finished", "is not https"),
        ("https://hooks.example/", "short", "finished", "24 to 64 bytes"),
        ("https://hooks.example/", "", "everything", "webhook_events"),
    ],
)
def test_a_webhook_that_cannot_be_used_is_a_sentence(
    tmp_path: Path, url: str, secret: str, events: str, words: str
) -> None:
    settings = {"webhook": url, "webhook_secret": secret, "webhook_events": events}
    server = Server(tmp_path / "data", **settings)  # type: ignore[arg-type]  # names of settings
    with pytest.raises(ServerEndedError, match=words):
        server.start()


def mounted(data: Path, on_finished: Callable[[FinishedRecording], object]) -> Starlette:
    app = create_app(Config(data=data), on_finished=on_finished)
    return Starlette(routes=[Mount("/mic", app)])


@pytest.mark.parametrize("is_async", [True, False])
def test_the_host_is_handed_each_recording_once_its_wav_is_final(
    tmp_path: Path, *, is_async: bool
) -> None:
    found: list[tuple[FinishedRecording, bytes]] = []

    def on_finished(recording: FinishedRecording) -> None:
        samples, _ = soundfile.read(recording.path, dtype="int16")
        found.append((recording, samples.astype("<i2").tobytes()))

    async def on_finished_async(recording: FinishedRecording) -> None:
        on_finished(recording)

    function = on_finished_async if is_async else on_finished
    with under_uvicorn(mounted(tmp_path / "data", function)) as port:
        recording = asyncio.run(record(port, "/mic"))
        eventually(lambda: bool(found))
    [(told, sound)] = found
    assert (told.id, told.facts["title"], told.facts["status"]) == (recording, "Hello", "finished")
    assert sound == SOUND.data(0, 24_000)


def test_a_function_of_the_host_that_blocks_or_fails_holds_up_no_recording(tmp_path: Path) -> None:
    called, release = threading.Semaphore(0), threading.Event()

    def on_finished(recording: FinishedRecording) -> None:
        called.release()
        release.wait(20)
        raise RuntimeError("a mistake of the host")

    async def run(port: int) -> None:
        await asyncio.gather(*(record(port, "/mic") for _ in range(8)))

    with under_uvicorn(mounted(tmp_path / "data", on_finished)) as port:
        asyncio.run(run(port))
        assert called.acquire(timeout=20)
        asyncio.run(run(port))  # while every thread that it may have is taken
        release.set()
    assert len(list((tmp_path / "data").glob("*/*.wav"))) == 16
