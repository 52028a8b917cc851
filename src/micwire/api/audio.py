"""`GET /api/v1/recordings/{id}/audio`: the WAV, in ranges, also while it grows.

The header is made for the frames that are there when the request comes, so that what is
downloaded from a growing recording is a whole WAV of what was durable then.
"""

import os
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from anyio import CancelScope, to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from micwire.api.found import Found
from micwire.core import wav
from micwire.core.interfaces import Readable

_CHUNK_BYTES = 256 << 10
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


@dataclass(frozen=True, slots=True)
class _Slice:
    first: int
    end: int


def audio_response(request: Request, found: Found) -> Response:
    """Return the WAV or the range of it that a GET or HEAD request asks for."""
    readable, etag = found.readable, found.digest
    head = wav.header(readable.format, readable.frames)
    padding = bytes(wav.padding(readable.format, readable.frames))
    total = len(head) + readable.frames * readable.format.frame_bytes + len(padding)
    headers = {"accept-ranges": "bytes", "content-disposition": _disposition(readable.path)}
    if etag is None:
        headers["cache-control"] = "no-store"
    else:
        headers |= {"etag": f'"{etag}"', "cache-control": "private, no-cache"}
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
    return StreamingResponse(
        _stream(readable, head, padding, part, found.is_there),
        status_code=status,
        headers=headers,
        media_type="audio/wav",
    )


def _disposition(path: str) -> str:
    return f'inline; filename="{os.path.basename(path)}"'  # names are made by the server


def _asked(request: Request, total: int, etag: str | None) -> _Slice | None:
    """Return the one range that is asked for; None for the whole (RFC 9110, section 14)."""
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    condition = request.headers.get("if-range")
    if (
        match is None
        or match[0] == "bytes=-"
        or (condition and (etag is None or condition != f'"{etag}"'))
    ):
        return None
    first, last = match[1], match[2]
    if not first:
        return _Slice(max(0, total - int(last)), total)
    end = min(int(last) + 1, total) if last else total
    if last and int(last) < int(first):
        return None
    return _Slice(int(first), end)


async def _stream(
    readable: Readable, head: bytes, padding: bytes, part: _Slice, is_there: Callable[[], bool]
) -> AsyncIterator[bytes]:
    audio_end = len(head) + readable.frames * readable.format.frame_bytes
    position = part.first
    if position < len(head):
        yield head[position : part.end]
        position = min(len(head), part.end)
    # A recording without frames may have no file yet.
    if position < min(part.end, audio_end):
        descriptor = await to_thread.run_sync(os.open, readable.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            shift = readable.data_offset - len(head)
            while position < min(part.end, audio_end) and is_there():
                count = min(_CHUNK_BYTES, min(part.end, audio_end) - position)
                data = await to_thread.run_sync(os.pread, descriptor, count, position + shift)
                # A gap at the growing end is in the count before it is in the file.
                data += bytes(count - len(data))
                yield data
                position += count
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(os.close, descriptor)
    if audio_end <= position < part.end:
        yield padding[position - audio_end : part.end - audio_end]
