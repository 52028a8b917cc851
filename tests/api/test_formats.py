"""Downloads in other formats, of one that is over and of one that grows."""

import asyncio
import contextlib
import io
import subprocess
import wave
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from wavinfo import WavInfoReader

from micwire import formats
from micwire.api import streams as streams_module
from micwire.api.audio import SoundName, audio_response
from micwire.api.found import Found
from micwire.api.problems import ProblemError
from micwire.api.streams import MAX_MADE, MAX_MADE_BY_PERSON, Stream, Streams
from micwire.core import wav
from micwire.core.audio import Encoding, Format
from micwire.core.interfaces import Readable
from micwire.core.people import LOCAL, Person
from micwire.core.tags import sent_tags
from micwire.core.wire import format_fields
from tests.faults.harness import Microphone, Server, Signal, audio, dial, wait_ack, wav_path

SOUND = Signal()
FRAMES = 100_000
STEREO = Format(Encoding.S16, 48_000, 2)


@dataclass
class Served:
    """A server with one finished recording."""

    server: Server
    recording: str
    http: httpx.Client

    def get(self, query: str, **headers: str) -> httpx.Response:
        url = f"/api/v1/recordings/{self.recording}/audio?{query}"
        return self.http.get(url, headers=headers)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Record something, finished, to be read by all tests here."""
    with Server(tmp_path_factory.mktemp("formats") / "data") as server:
        microphone = Microphone(server.port, FRAMES)
        asyncio.run(microphone.record())
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as http:
            yield Served(server, microphone.recording, http)


def test_plain_is_44_bytes_and_the_sound_in_ranges_too(served: Served) -> None:
    whole = served.get("format=plain")
    assert whole.content[44:] == SOUND.data(0, FRAMES)
    with wave.open(io.BytesIO(whole.content)) as opened:
        assert opened.getnframes() == FRAMES
    etag = whole.headers["etag"]
    assert etag != served.get("").headers["etag"], "other bytes have another name"
    part = served.get("format=plain", range="bytes=40-99", **{"if-range": etag})
    assert (part.status_code, part.content) == (206, whole.content[40:100])
    other = served.get("format=wav", range="bytes=40-99", **{"if-range": etag})
    assert other.status_code == 200


def test_flac_is_the_very_sound(served: Served) -> None:
    reply = served.get("format=flac&download=1")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "audio/flac"
    assert reply.headers["x-micwire-encoding"] == "pcm_s16le"
    assert reply.headers["x-micwire-duration"] == f"{FRAMES / 48_000:.6f}"
    assert reply.headers["accept-ranges"] == "none"
    assert reply.headers["content-disposition"].startswith('attachment; filename="20')
    assert reply.headers["content-disposition"].endswith('.flac"')
    with soundfile.SoundFile(io.BytesIO(reply.content)) as file:
        assert file.read(dtype="int16").astype("<i2").tobytes() == SOUND.data(0, FRAMES)


@pytest.mark.parametrize(
    ("name", "media_type", "codec"),
    [("opus", "audio/ogg", "opus"), ("mp3", "audio/mpeg", "mp3")],
)
def test_lossy_formats_are_what_they_say(
    served: Served, name: str, media_type: str, codec: str, tmp_path: Path
) -> None:
    reply = served.get(f"format={name}", range="bytes=0-9")
    assert reply.status_code == 200, "ranges of what is encoded anew have no meaning"
    assert reply.headers["content-type"] == media_type
    (path := tmp_path / f"a.{name}").write_bytes(reply.content)
    command = ["ffprobe", "-v", "error", "-of", "csv=p=0", "-show_entries"]
    command += ["stream=codec_name,channels", str(path)]
    assert subprocess.check_output(command, text=True).strip() == f"{codec},2"
    head = served.http.head(f"/api/v1/recordings/{served.recording}/audio?format={name}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == media_type


def test_a_format_that_nobody_knows_is_a_problem(served: Served) -> None:
    reply = served.get("format=wma")
    assert (reply.status_code, reply.json()["code"]) == (400, "bad-request")
    assert "'wav', 'plain', 'flac', 'opus' or 'mp3'" in reply.json()["detail"]


def test_a_growing_recording_is_encoded_as_far_as_it_is_durable(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        microphone = Microphone(server.port, 96_000)
        url = f"http://127.0.0.1:{server.port}/api/v1/recordings/{microphone.recording}/audio"
        socket = await dial(server.port)
        await microphone.open(socket)
        async with httpx.AsyncClient(trust_env=False) as http:
            for name in ("flac", "opus", "mp3", "plain"):
                assert (await http.get(f"{url}?format={name}")).status_code == 200
            await socket.send(audio(0, SOUND.data(0, 20_000)))
            await wait_ack(socket, 20_000)
            frames = 0
            async with asyncio.timeout(20):  # the file is about a second behind the ack
                while frames == 0:
                    reply = await http.get(f"{url}?format=flac")
                    assert reply.headers["cache-control"] == "no-store"
                    if float(reply.headers["x-micwire-duration"]) > 0:
                        with soundfile.SoundFile(io.BytesIO(reply.content)) as file:
                            frames = file.frames
                            heard = file.read(dtype="int16").astype("<i2").tobytes()
            assert frames <= 20_000
            assert heard == SOUND.data(0, frames)
        await socket.close()

    with Server(tmp_path / "data") as server:
        asyncio.run(run(server))


def test_the_tags_of_a_download_are_those_of_the_sidecar(served: Served, tmp_path: Path) -> None:
    fields = served.http.get(f"/api/v1/recordings/{served.recording}").json()
    reply = served.get("")
    stored = wav_path(served.server.data, served.recording).read_bytes()
    assert reply.content == stored, "as long as nothing was edited"
    info = wav.parse(reply.content, len(reply.content))
    header = wav.header(info.format, info.frames, sent_tags(fields))
    assert reply.content.startswith(header)
    (path := tmp_path / "a.wav").write_bytes(reply.content)
    read = WavInfoReader(path, info_encoding="utf-8")
    assert read.bext.originator_ref == served.recording.replace("-", "")
    assert read.bext.originator_date == fields["started_at"][:10]


# ---- without a server --------------------------------------------------------------


def made_up(path: Path, audio_format: Format, frames: int) -> Found:
    """Return a finished recording of silence that takes no room."""
    header = wav.header(audio_format, frames)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + frames * audio_format.frame_bytes)
    readable = Readable(str(path), audio_format, len(header), frames)
    fields = {"format": format_fields(audio_format), "title": "Größe"}
    return Found("7f3a9c2e", readable, "ab" * 32, lambda: True, fields)


async def answer(
    found: Found,
    name: SoundName,
    streams: Streams | None = None,
    *,
    is_download: bool = False,
    person: Person = LOCAL,
) -> Response:
    scope = {"type": "http", "method": "GET", "query_string": b"", "headers": []}
    request = Request({**scope, "state": {"person": person}})
    streams = streams or Streams()
    return await audio_response(request, found, name, streams, is_download=is_download)


def ask(
    found: Found, name: SoundName, streams: Streams | None = None, *, is_download: bool = False
) -> Response:
    return asyncio.run(answer(found, name, streams, is_download=is_download))


def problem_of(found: Found, name: SoundName, streams: Streams | None = None) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        ask(found, name, streams)
    return caught.value


def test_without_the_extra_the_problem_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    problem = problem_of(made_up(tmp_path / "a.wav", STEREO, 10), "flac")
    assert (problem.status, problem.code) == (501, "formats-missing")
    assert "pip install 'micwire[formats]'" in problem.detail


def test_what_a_format_can_not_hold_is_a_problem(tmp_path: Path) -> None:
    high = Format(Encoding.S24, 96_000, 2)
    problem = problem_of(made_up(tmp_path / "a.wav", high, 10), "mp3")
    assert (problem.status, problem.code) == (422, "unfit-format")
    assert "96000 Hz" in problem.detail
    problem = problem_of(made_up(tmp_path / "b.wav", high, 800_000_000), "plain")
    assert (problem.status, problem.code) == (422, "unfit-format")
    assert "4 GiB" in problem.detail


def open_descriptors() -> int:
    return sum("a.wav" in str(link.resolve()) for link in Path("/proc/self/fd").iterdir())


def test_a_client_that_leaves_frees_its_encoder(tmp_path: Path) -> None:
    async def run() -> None:
        found, streams = made_up(tmp_path / "a.wav", STEREO, 100_000_000), Streams()
        for _ in range(3):
            response = await answer(found, "flac", streams)
            assert isinstance(response, Stream)
            piece = await anext(aiter(response.body_iterator))
            assert isinstance(piece, bytes)
            assert piece.startswith(b"fLaC")
            assert streams.made == 1
            await response.close()
            assert streams.made == 0

    before = open_descriptors()
    asyncio.run(run())
    assert open_descriptors() == before


def test_too_many_downloads_are_refused_for_a_while_from_the_step_that_counts_them(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        found, streams = made_up(tmp_path / "a.wav", STEREO, 10), Streams()
        answers = [await answer(found, "opus", streams) for _ in range(MAX_MADE)]
        with pytest.raises(ProblemError) as caught:
            await answer(found, "opus", streams)
        assert (caught.value.status, caught.value.code) == (503, "busy")
        assert caught.value.headers == {"retry-after": "10"}
        assert (await answer(found, "wav", streams)).status_code == 200
        assert isinstance(answers[0], Stream)
        await answers[0].close()
        assert (await answer(found, "opus", streams)).status_code == 200

    asyncio.run(run())


def test_one_person_leaves_places_to_others(tmp_path: Path) -> None:
    async def run() -> None:
        found, streams = made_up(tmp_path / "a.wav", STEREO, 10), Streams()
        for _ in range(MAX_MADE_BY_PERSON):
            await answer(found, "opus", streams, person=Person("anna"))
        with pytest.raises(ProblemError, match="yours"):
            await answer(found, "opus", streams, person=Person("anna"))
        assert (await answer(found, "opus", streams, person=Person("berta"))).status_code == 200

    asyncio.run(run())


@pytest.mark.parametrize("way", ["leaves", "takes nothing", "is let in no more"])
def test_a_stream_that_ends_early_frees_its_place(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "SEND_TIMEOUT_S", 0.05)

    async def run() -> None:
        found, streams = made_up(tmp_path / "a.wav", STEREO, 100_000_000), Streams()
        response, sent = await answer(found, "flac", streams), 0

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal sent
            sent += 1
            if sent == 3 and way == "leaves":
                raise OSError
            if sent == 3 and way == "takes nothing":
                await asyncio.Event().wait()
            if sent == 3:
                [stream] = streams.open
                stream.revoke()

        async def receive() -> MutableMapping[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
        with contextlib.suppress(ClientDisconnect):
            async with asyncio.timeout(5):
                await response(scope, receive, send)
        assert sent == 3
        assert streams.made == 0

    before = open_descriptors()
    asyncio.run(run())
    assert open_descriptors() == before


def test_a_recording_that_is_deleted_meanwhile_is_sent_no_further(tmp_path: Path) -> None:
    async def run() -> int:
        is_there = True
        found = replace(made_up(tmp_path / "a.wav", STEREO, 100_000_000), is_there=lambda: is_there)
        size = 0
        response = await answer(found, "mp3")
        assert isinstance(response, StreamingResponse)
        async for piece in response.body_iterator:
            size += len(piece)
            is_there = size < 20_000
        return size

    assert asyncio.run(run()) < 100_000


def test_a_download_has_a_name_that_is_safe_everywhere(tmp_path: Path) -> None:
    (folder := tmp_path / "2026-11-22").mkdir()
    found = made_up(folder / "18-13-05_7f3a9c2e.wav", STEREO, 10)
    assert ask(found, "wav").headers["content-disposition"] == (
        'inline; filename="18-13-05_7f3a9c2e.wav"'
    )
    for title, plain, whole in [
        ("Größe", "_Gr__e", "_Gr%C3%B6%C3%9Fe"),
        ('../../etc/"passwd\r\nX: y', "_etc-passwd-X-y", None),
        ("..", "", None),
        ("x" * 200, "_" + "x" * 60, None),
        (None, "", None),
    ]:
        titled = replace(found, fields={**found.fields, "title": title})
        stem = "2026-11-22_18-13-05_7f3a9c2e"
        wanted = f'attachment; filename="{stem}{plain}.flac"'
        wanted += f"; filename*=UTF-8''{stem}{whole}.flac" if whole else ""
        got = ask(titled, "flac", is_download=True).headers["content-disposition"]
        assert got == wanted
