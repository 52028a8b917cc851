"""`GET /api/v1/recordings/{id}/audio`: the sound, as a WAV in ranges or encoded.

The header of a WAV is made for the frames that are there when the request comes, so that
what is downloaded from a growing recording is a whole WAV of what was durable then.
"""

import hashlib
import os
import re
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from anyio import CancelScope, to_thread
from starlette.requests import Request
from starlette.responses import Response

from micwire.api.found import Found
from micwire.api.names import disposition, file_stem
from micwire.api.problems import ProblemError
from micwire.api.streams import Streams
from micwire.core import wav
from micwire.core.errors import WavError
from micwire.core.tags import sent_tags
from micwire.formats import (
    Compressed,
    FormatsMissingError,
    UnfitFormatError,
    check_fit,
    encode,
    sample_encoding,
)

_CHUNK_BYTES = 256 << 10
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
END = b"end"
"""What `next` gives behind the last piece."""

SoundName = Literal["wav", "plain", "flac", "opus", "mp3"]


@dataclass(frozen=True, slots=True)
class _Slice:
    first: int
    end: int


async def audio_response(
    request: Request,
    found: Found,
    name: SoundName,
    streams: Streams,
    *,
    is_download: bool = False,
) -> Response:
    """Return the sound in the format, and of a WAV the range, that is asked for.

    Raises:
        ProblemError: The format can't hold this sound, or not now.
    """
    suffix = "wav" if name == "plain" else name
    headers = _headers(found, suffix, is_download=is_download)
    if suffix == "wav":
        return await _wav_response(request, found, headers, streams, is_plain=name == "plain")
    return _encoded_response(request, found, headers, Compressed(name), streams)


def _headers(found: Found, suffix: str, *, is_download: bool) -> dict[str, str]:
    readable = found.readable
    kind, stem = "inline", os.path.splitext(os.path.basename(readable.path))[0]
    if is_download:
        kind, stem = "attachment", file_stem(readable.path, found.fields)
    return {
        "content-disposition": disposition(kind, f"{stem}.{suffix}"),
        "x-micwire-duration": f"{readable.format.seconds(readable.frames):.6f}",
        "cache-control": "no-store" if found.digest is None else "private, no-cache",
    }


# ---- WAV -------------------------------------------------------------------------


async def _wav_response(
    request: Request,
    found: Found,
    headers: dict[str, str],
    streams: Streams,
    *,
    is_plain: bool,
) -> Response:
    readable = found.readable
    # On a thread: of 100,000 gaps it is much to write. On few, as they keep the loop waiting.
    head, etag = await to_thread.run_sync(_head, found, is_plain, limiter=streams.threads)
    padding = bytes(wav.padding(readable.format, readable.frames))
    total = len(head) + readable.frames * readable.format.frame_bytes + len(padding)
    headers |= {"accept-ranges": "bytes"}
    if etag is not None:
        headers["etag"] = etag
    asked = _asked(request, total, etag)
    if asked is not None and asked.first >= asked.end:
        return Response(status_code=416, headers=headers | {"content-range": f"bytes */{total}"})
    part = asked or _Slice(0, total)
    headers["content-length"] = str(part.end - part.first)
    if asked is not None:
        headers["content-range"] = f"bytes {part.first}-{part.end - 1}/{total}"
    status = 200 if asked is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="audio/wav")
    return streams.respond(
        request,
        _stream(found, head, padding, part),
        status_code=status,
        headers=headers,
        media_type="audio/wav",
    )


def _head(found: Found, is_plain: bool) -> tuple[bytes, str | None]:
    """Return the header, and what names these very bytes; nothing does while they grow."""
    readable = found.readable
    if is_plain:
        try:
            head = wav.plain_header(readable.format, readable.frames)
        except WavError as error:
            raise _unfit(str(error)) from None
    else:
        head = wav.header(readable.format, readable.frames, sent_tags(found.fields))
    if found.digest is None:
        return head, None
    # The header is in it: titles and marks may be edited, the sound not.
    return head, f'"{found.digest}-{hashlib.sha256(head).hexdigest()[:16]}"'


def _asked(request: Request, total: int, etag: str | None) -> _Slice | None:
    """Return the one range that is asked for; None for the whole (RFC 9110, section 14)."""
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    condition = request.headers.get("if-range")
    if (
        match is None
        or match[0] == "bytes=-"
        or (condition and (etag is None or condition != etag))
    ):
        return None
    first, last = match[1], match[2]
    if not first:
        return _Slice(max(0, total - int(last)), total)
    end = min(int(last) + 1, total) if last else total
    if last and int(last) < int(first):
        return None
    return _Slice(int(first), end)


async def _stream(found: Found, head: bytes, padding: bytes, part: _Slice) -> AsyncGenerator[bytes]:
    readable = found.readable
    audio_end = len(head) + readable.frames * readable.format.frame_bytes
    position = part.first
    if position < len(head):
        yield head[position : part.end]
        position = min(len(head), part.end)
    # A recording without frames may have no file yet.
    if position < min(part.end, audio_end):
        descriptor = await to_thread.run_sync(open_to_read, readable.path)
        try:
            shift = readable.data_offset - len(head)
            while position < min(part.end, audio_end) and found.is_there():
                count = min(_CHUNK_BYTES, min(part.end, audio_end) - position)
                yield await to_thread.run_sync(read_sound, descriptor, count, position + shift)
                position += count
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(os.close, descriptor)
    if audio_end <= position < part.end:
        yield padding[position - audio_end : part.end - audio_end]


def open_to_read(path: str) -> int:
    """Open a WAV; return a descriptor. Blocks."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def read_sound(descriptor: int, count: int, offset: int) -> bytes:
    """Return so many bytes of sound. Blocks."""
    data = os.pread(descriptor, count, offset)
    # A gap at the growing end is in the count before it is in the file.
    return data + bytes(count - len(data))


# ---- encoded ---------------------------------------------------------------------


def _encoded_response(
    request: Request,
    found: Found,
    headers: dict[str, str],
    kind: Compressed,
    streams: Streams,
) -> Response:
    readable = found.readable
    try:
        check_fit(kind, readable.format)
    except UnfitFormatError as error:
        raise _unfit(str(error)) from None
    except FormatsMissingError as error:
        raise ProblemError(HTTPStatus.NOT_IMPLEMENTED, error.code, f"{error}.") from None
    headers |= {"accept-ranges": "none"}
    exactness = sample_encoding(kind, readable.format)
    if exactness is not None:
        headers["x-micwire-encoding"] = str(exactness)
    if request.method == "HEAD":
        return Response(headers=headers, media_type=kind.media_type)
    body = _encoded(found, kind, streams)
    return streams.respond(request, body, is_made=True, headers=headers, media_type=kind.media_type)


async def _encoded(found: Found, kind: Compressed, streams: Streams) -> AsyncGenerator[bytes]:
    """Encode as fast as the client takes it, and no further than that."""
    pieces = _pieces(found, kind)
    try:
        while True:
            piece = await to_thread.run_sync(next, pieces, END, limiter=streams.threads)
            if piece is END or not found.is_there():
                return
            if piece:
                yield piece
    finally:
        with CancelScope(shield=True):  # the client may be gone: free the encoder all the same
            await to_thread.run_sync(pieces.close)


def _pieces(found: Found, kind: Compressed) -> Generator[bytes]:
    readable = found.readable
    frame_bytes = readable.format.frame_bytes
    title = found.fields.get("title")
    tags = {"title": str(title)} if title else {}
    # A recording without frames may have no file yet.
    descriptor = open_to_read(readable.path) if readable.frames else -1

    def read(first: int, frames: int) -> bytes:
        offset = readable.data_offset + first * frame_bytes
        return read_sound(descriptor, frames * frame_bytes, offset)

    try:
        yield from encode(kind, readable.format, readable.frames, read, tags)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _unfit(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, UnfitFormatError.code, f"{detail}.")
