"""`GET /api/v1/recordings/{id}/live`: a WAV without an end, which follows a recording.

A listener hears what is in the recording's file, so all of it is durable, and about a
second old. Each reads the file at its own pace: a slow one is behind, holds one piece in
memory, and delays nobody.
"""

import os
from collections.abc import AsyncGenerator, Callable

import anyio
from anyio import CancelScope, to_thread
from starlette.requests import Request
from starlette.responses import Response

from micwire.api.audio import open_to_read, read_sound
from micwire.api.endpoints import person_of
from micwire.api.found import Hear, Sound
from micwire.api.problems import ProblemError
from micwire.api.streams import Streams
from micwire.core import wav
from micwire.core.people import Person

LOOK_S = 0.2
"""How often a listener that has heard all looks whether there is more."""
_PIECE_BYTES = 128 << 10


def live_response(
    request: Request,
    sound: Sound,
    first_frame: int | None,
    hear: Hear,
    is_stopping: Callable[[], bool],
    streams: Streams,
) -> Response:
    """Return the sound from a frame on, until the recording ends.

    Args:
        request: A GET or HEAD request.
        sound: The recording.
        first_frame: Where to begin; None for what comes from now on.
        hear: Finds it again, to see whether there is more of it.
        is_stopping: Whether the server ends: nobody may keep it.
        streams: Where it is counted.
    """
    headers = {"cache-control": "no-store", "accept-ranges": "none"}
    if request.method == "HEAD":
        return Response(headers=headers, media_type="audio/wav")
    start = sound.readable.frames if first_frame is None else first_frame
    stream = _follow(sound, start, person_of(request), hear, is_stopping)
    return streams.respond(request, stream, headers=headers, media_type="audio/wav")


async def _follow(
    sound: Sound, position: int, person: Person, hear: Hear, is_stopping: Callable[[], bool]
) -> AsyncGenerator[bytes]:
    yield wav.stream_header(sound.readable.format)
    frame_bytes = sound.readable.format.frame_bytes
    step = max(1, _PIECE_BYTES // frame_bytes)
    descriptor = None  # a recording without frames may have no file yet
    try:
        while not is_stopping():
            readable = sound.readable
            while position < readable.frames and sound.is_there():
                if descriptor is None:
                    descriptor = await to_thread.run_sync(open_to_read, readable.path)
                frames = min(step, readable.frames - position)
                offset = readable.data_offset + position * frame_bytes
                yield await to_thread.run_sync(read_sound, descriptor, frames * frame_bytes, offset)
                position += frames
            if sound.digest is not None or not sound.is_there():
                return
            await anyio.sleep(LOOK_S)
            try:
                sound = await hear(person, sound.recording)
            except ProblemError:  # deleted
                return
    finally:
        if descriptor is not None:
            with CancelScope(shield=True):
                await to_thread.run_sync(os.close, descriptor)
