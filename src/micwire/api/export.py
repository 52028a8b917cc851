"""Many recordings as one zip, sent while it is made.

Stored, not compressed: sound hardly shrinks, and a zip that is only copied costs next to
nothing. What is deleted meanwhile is left out from then on. The last entry,
`manifest.json`, says what is in the zip, with the sizes and digests of what was sent, and
what is not. Memory stays flat, however much there is.
"""

import hashlib
import json
import os
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zipfile import ZipFile, ZipInfo

from anyio import CancelScope, to_thread
from starlette.requests import Request
from starlette.responses import Response

from micwire.api.audio import END, open_to_read, read_sound
from micwire.api.endpoints import person_of
from micwire.api.found import Find, Found
from micwire.api.names import disposition, file_stem
from micwire.api.problems import ProblemError, no_such_recording
from micwire.api.streams import Streams
from micwire.core import wav
from micwire.core.people import Person
from micwire.core.tags import sent_tags

MAX_RECORDINGS = 1_000
MANIFEST = "manifest.json"
_PIECE_BYTES = 1 << 20
_ZIP64_BYTES = 2**31 - 1 - (1 << 20)
_MIN_YEAR = 1980
_MODE = 0o644 << 16


async def export_response(
    request: Request, recordings: Sequence[str], find: Find, streams: Streams
) -> Response:
    """Return a zip of recordings, in the order in which they are asked for.

    Raises:
        ProblemError: None of them is there for this person, or the server is busy.
    """
    person = person_of(request)
    wanted = list(dict.fromkeys(recordings))
    archive = _Archive()
    first = None
    while first is None:
        if not wanted:
            raise no_such_recording()
        first = await _find(find, person, wanted.pop(0), archive)
    name = f"micwire_{file_stem(first.readable.path, {})}"
    if wanted:
        name += f"_and_{len(wanted)}_more"
    headers = {
        "content-disposition": disposition("attachment", f"{name}.zip"),
        "cache-control": "no-store",
    }
    if request.method == "HEAD":
        return Response(headers=headers, media_type="application/zip")
    body = _stream(archive, first, wanted, person, find, streams)
    return streams.respond(
        request, body, is_made=True, headers=headers, media_type="application/zip"
    )


async def _find(find: Find, person: Person, recording: str, archive: "_Archive") -> Found | None:
    try:
        return await find(person, recording)
    except ProblemError as problem:
        archive.left_out.append({"recording": recording, "why": problem.code})
        return None


async def _stream(
    archive: "_Archive",
    first: Found,
    others: Sequence[str],
    person: Person,
    find: Find,
    streams: Streams,
) -> AsyncGenerator[bytes]:
    pieces = archive.add(first)
    try:
        async for piece in _each(pieces, streams):
            yield piece
        for recording in others:
            found = await _find(find, person, recording, archive)
            if found is not None:
                pieces = archive.add(found)
                async for piece in _each(pieces, streams):
                    yield piece
        yield await to_thread.run_sync(archive.finish)
    finally:
        with CancelScope(shield=True):  # the client may be gone: close the file all the same
            await to_thread.run_sync(pieces.close)


async def _each(pieces: Generator[bytes], streams: Streams) -> AsyncGenerator[bytes]:
    while True:
        piece = await to_thread.run_sync(next, pieces, END, limiter=streams.threads)
        if piece is END:
            return
        if piece:
            yield piece


class _Pipe:
    """What a zip is written into: no file, and nothing that can be sought."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes | memoryview) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


@dataclass(slots=True)
class _Member:
    """One file in the zip, as the manifest says it."""

    name: str
    size: int = 0
    _sha256: Any = field(default_factory=hashlib.sha256)

    def count(self, data: bytes) -> None:
        self.size += len(data)
        self._sha256.update(data)

    def facts(self) -> dict[str, object]:
        return {"name": self.name, "bytes": self.size, "sha256": self._sha256.hexdigest()}


class _Archive:
    """A zip in the making. One thread at a time; every method blocks."""

    def __init__(self) -> None:
        self.left_out: list[dict[str, object]] = []
        self._pipe = _Pipe()
        self._zip = ZipFile(self._pipe, "w")  # type: ignore[call-overload]
        self._names: set[str] = {MANIFEST}
        self._entries: list[dict[str, object]] = []

    def add(self, found: Found) -> Generator[bytes]:
        """Yield a recording: its WAV and its sidecar."""
        readable, fields = found.readable, found.fields
        if not found.is_there():
            self.left_out.append({"recording": found.recording, "why": "deleted"})
            return
        stem = self._stem(found)
        moment = _moment(fields)
        header = wav.header(readable.format, readable.frames, sent_tags(fields))
        sound = _Member(f"{stem}.wav")
        with self._open(sound.name, moment, len(header) + _sound_bytes(found)) as entry:
            for data in _pieces(found, header):
                sound.count(data)
                entry.write(data)
                yield self._pipe.take()
        if not found.is_there():
            self.left_out.append(
                {"recording": found.recording, "why": "deleted", "part": sound.facts()}
            )
            return
        sidecar = _Member(f"{stem}.json")
        text = f"{json.dumps(dict(fields), ensure_ascii=False, indent=2)}\n".encode()
        sidecar.count(text)
        with self._open(sidecar.name, moment, len(text)) as entry:
            entry.write(text)
        yield self._pipe.take()
        self._entries.append(
            {
                "recording": found.recording,
                "title": fields.get("title"),
                "status": fields.get("status"),
                "frames": readable.frames,
                "digest": found.digest,
                "wav": sound.facts(),
                "sidecar": sidecar.facts(),
            }
        )

    def finish(self) -> bytes:
        """Return the manifest and the end."""
        manifest = {"recordings": self._entries, "left_out": self.left_out}
        text = f"{json.dumps(manifest, ensure_ascii=False, indent=2)}\n".encode()
        with self._open(MANIFEST, datetime.now(UTC), len(text)) as entry:
            entry.write(text)
        self._zip.close()
        return self._pipe.take()

    def _open(self, name: str, moment: datetime, size: int) -> Any:
        info = ZipInfo(name, (max(moment.year, _MIN_YEAR), *moment.timetuple()[1:6]))
        info.external_attr = _MODE
        return self._zip.open(info, "w", force_zip64=size > _ZIP64_BYTES)

    def _stem(self, found: Found) -> str:
        """Return a name that nothing else in the zip has, whatever the system's rules."""
        stem = unique = file_stem(found.readable.path, found.fields)
        number = 1
        while f"{unique}.wav".casefold() in self._names:
            number += 1
            unique = f"{stem}_{number}"
        self._names.add(f"{unique}.wav".casefold())
        return unique


def _moment(fields: Any) -> datetime:
    """Return when a recording began, UTC."""
    try:
        return datetime.fromisoformat(fields["started_at"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return datetime.now(UTC)


def _sound_bytes(found: Found) -> int:
    return found.readable.frames * found.readable.format.frame_bytes


def _pieces(found: Found, header: bytes) -> Generator[bytes]:
    """Yield a WAV; less of it if it is deleted meanwhile."""
    readable, total = found.readable, _sound_bytes(found)
    yield header
    if total:
        descriptor = open_to_read(readable.path)
        try:
            for at in range(0, total, _PIECE_BYTES):
                if not found.is_there():
                    return
                count = min(_PIECE_BYTES, total - at)
                yield read_sound(descriptor, count, readable.data_offset + at)
        finally:
            os.close(descriptor)
    yield bytes(wav.padding(readable.format, readable.frames))
