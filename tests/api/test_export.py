"""Many recordings as one zip: whole, named by the server, and true about what is missing."""

import asyncio
import hashlib
import io
import json
import resource
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import pytest
from starlette.requests import Request

from micwire.api import export
from micwire.api.export import export_response
from micwire.api.found import Found
from micwire.api.problems import ProblemError, no_such_recording
from micwire.api.streams import MAX_MADE, Stream, Streams
from micwire.core import wav
from micwire.core.audio import Encoding, Format
from micwire.core.interfaces import Readable
from micwire.core.people import LOCAL, Person
from micwire.core.tags import sent_tags
from micwire.core.wire import format_fields
from tests.faults.harness import Microphone, Server

STEREO = Format(Encoding.S16, 48_000, 2)


class Shelf:
    """Recordings of silence that take no room; some may be deleted at any moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deleted: set[str] = set()
        self._found: dict[str, Found] = {}

    def put(self, recording: str, frames: int, title: str, name: str | None = None) -> Found:
        path = self.folder / "2026-11-22" / f"{name or recording}.wav"
        path.parent.mkdir(exist_ok=True)
        header = wav.header(STEREO, frames)
        with path.open("wb") as file:
            file.write(header)
            file.truncate(len(header) + frames * 4)
        fields = {
            "recording": recording,
            "status": "finished",
            "title": title,
            "started_at": "2026-11-22T18:13:05+00:00",
            "format": format_fields(STEREO),
        }
        readable = Readable(str(path), STEREO, len(header), frames)
        found = Found(recording, readable, "ab" * 32, lambda: recording not in self.deleted, fields)
        self._found[recording] = found
        return found

    async def find(self, person: Person, recording: str) -> Found:
        if recording in self.deleted or recording not in self._found:
            raise no_such_recording()
        return self._found[recording]

    async def respond(self, wanted: Sequence[str], streams: Streams) -> Stream:
        scope = {"type": "http", "method": "GET", "query_string": b"", "headers": []}
        request = Request({**scope, "state": {"person": LOCAL}})
        response = await export_response(request, wanted, self.find, streams)
        assert isinstance(response, Stream)
        return response

    async def stream(self, wanted: Sequence[str], streams: Streams) -> AsyncIterator[bytes]:
        stream = (await self.respond(wanted, streams)).body_iterator
        assert isinstance(stream, AsyncGenerator)
        return stream

    def zipped(self, *wanted: str) -> bytes:
        async def run() -> bytes:
            streams = Streams()
            stream = await self.stream(wanted, streams)
            data = b"".join([bytes(piece) async for piece in stream])
            return data

        return asyncio.run(run())


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Return an empty shelf."""
    return Shelf(tmp_path)


def manifest_of(archive: ZipFile) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(archive.read("manifest.json"))
    return facts


def test_a_zip_over_http_holds_what_its_manifest_says(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        microphones = [Microphone(server.port, 5_000 + n, seed=n) for n in range(3)]

        async def run() -> None:
            await asyncio.gather(*(microphone.record() for microphone in microphones))

        asyncio.run(run())
        base = f"http://127.0.0.1:{server.port}/api/v1"
        nobody = "00000000-0000-4000-8000-000000000000"
        wanted = [microphone.recording for microphone in microphones]
        asked = [wanted[0], nobody, *wanted, wanted[0]]
        reply = httpx.get(f"{base}/export", params={"recording": asked}, trust_env=False)
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "application/zip"
        assert reply.headers["content-disposition"].startswith('attachment; filename="micwire_20')
        with ZipFile(io.BytesIO(reply.content)) as archive:
            assert archive.testzip() is None
            manifest = manifest_of(archive)
            assert [entry["recording"] for entry in manifest["recordings"]] == wanted
            assert manifest["left_out"] == [{"recording": nobody, "why": "not-found"}]
            for entry in manifest["recordings"]:
                for part in (entry["wav"], entry["sidecar"]):
                    data = archive.read(part["name"])
                    assert len(data) == part["bytes"]
                    assert hashlib.sha256(data).hexdigest() == part["sha256"]
                url = f"{base}/recordings/{entry['recording']}"
                assert archive.read(entry["wav"]["name"]) == httpx.get(f"{url}/audio").content
                fields = json.loads(archive.read(entry["sidecar"]["name"]))
                assert fields["digest"] == entry["digest"]
            assert len(archive.namelist()) == 7
        many = {"recording": [wanted[0]] + [nobody[:-4] + f"{n:04}" for n in range(999)]}
        reply = httpx.get(f"{base}/export", params=many, trust_env=False)
        assert reply.status_code == 200, "a thousand in one address"
        for params, status in (
            ({"recording": nobody}, 404),
            ({"recording": "x"}, 404),
            ({}, 400),
            ({"recording": [nobody] * 1_001}, 400),
        ):
            reply = httpx.get(f"{base}/export", params=params, trust_env=False)
            assert reply.status_code == status
            assert reply.json()["status"] == status


def test_names_are_safe_and_none_is_there_twice(shelf: Shelf) -> None:
    shelf.put("a", 10, "../../etc/passwd", "one")
    shelf.put("b", 10, "日本 語", "two")
    shelf.put("c", 10, "A", "same")
    shelf.put("d", 10, "a", "same")
    with ZipFile(io.BytesIO(shelf.zipped("a", "b", "c", "d"))) as archive:
        names = [name for name in archive.namelist() if name.endswith(".wav")]
        moment = archive.infolist()[0].date_time
    assert names == [
        "2026-11-22_one_etc-passwd.wav",
        "2026-11-22_two_日本-語.wav",
        "2026-11-22_same_A.wav",
        "2026-11-22_same_a_2.wav",
    ]
    assert moment == (2026, 11, 22, 18, 13, 4), "zips count in steps of two seconds"


def test_the_wav_in_a_zip_carries_its_tags(shelf: Shelf) -> None:
    found = shelf.put("a", 100, "Titel")
    with ZipFile(io.BytesIO(shelf.zipped("a"))) as archive:
        data = archive.read(archive.namelist()[0])
    assert data == wav.header(STEREO, 100, sent_tags(found.fields)) + bytes(400)


def test_what_is_deleted_meanwhile_is_left_out_and_said(shelf: Shelf) -> None:
    for recording in ("first", "cut", "later"):
        shelf.put(recording, 3_000_000, recording)

    async def run() -> bytes:
        data = b""
        async for piece in await shelf.stream(["first", "cut", "later"], Streams()):
            data += piece
            if len(data) > 16_000_000:  # in the middle of the second
                shelf.deleted |= {"cut", "later"}
        return data

    with ZipFile(io.BytesIO(asyncio.run(run()))) as archive:
        assert archive.testzip() is None
        manifest = manifest_of(archive)
        names = archive.namelist()
    assert [entry["recording"] for entry in manifest["recordings"]] == ["first"]
    cut, later = manifest["left_out"]
    assert (cut["recording"], cut["why"]) == ("cut", "deleted")
    assert 0 < cut["part"]["bytes"] < 12_000_000
    assert later == {"recording": "later", "why": "not-found"}
    assert len(names) == 4
    assert "2026-11-22_cut_cut.json" not in names


def test_a_large_zip_takes_no_memory_to_speak_of(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_ZIP64_BYTES", 100 << 20)  # as from 2 GiB on
    shelf.put("large", 64 << 20, "large")
    tail = b""

    async def run() -> int:
        nonlocal tail
        size = 0
        async for piece in await shelf.stream(["large"], Streams()):
            size += len(piece)
            tail = (tail + piece)[-10_000:]
        return size

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert asyncio.run(run()) > 256 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    manifest = json.loads(tail[tail.index(b'{\n  "recordings"') : tail.rindex(b"}\n") + 1])
    assert manifest["recordings"][0]["wav"]["bytes"] == (256 << 20) + 4_096
    assert b"PK\x05\x06" in tail


def test_a_member_that_is_large_has_sizes_of_64_bits(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_ZIP64_BYTES", 1_000)
    shelf.put("a", 1_000, "a")
    data = shelf.zipped("a")
    assert data[4:6] == b"\x2d\x00", "version 4.5 of the format is needed"
    with ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert len(archive.read("2026-11-22_a_a.wav")) == 4_096 + 4_000


def test_a_client_that_leaves_lets_the_file_go(shelf: Shelf) -> None:
    shelf.put("a", 3_000_000, "a")

    async def run() -> None:
        streams = Streams()
        response = await shelf.respond(["a"], streams)
        await anext(aiter(response.body_iterator))
        assert streams.made == 1
        await response.close()
        assert streams.made == 0

    asyncio.run(run())
    links = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
    assert not [link for link in links if link.endswith("a.wav")]


def test_too_many_at_once_are_refused(shelf: Shelf) -> None:
    shelf.put("a", 10, "a")

    async def run() -> None:
        streams = Streams()
        for _ in range(MAX_MADE):
            await shelf.respond(["a"], streams)
        with pytest.raises(ProblemError, match="busy"):
            await shelf.respond(["a"], streams)

    asyncio.run(run())
