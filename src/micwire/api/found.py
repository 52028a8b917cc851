"""A recording as the routes of its sound need it, whether it grows or is over."""

import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micwire.core.errors import WavError
from micwire.core.interfaces import Readable
from micwire.core.people import Person
from micwire.core.recording import Closed
from micwire.core.wav import layout
from micwire.core.wire import format_fields
from micwire.library.inspect import read_head


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound of one recording that somebody may hear.

    Args:
        recording: Its id.
        readable: Its WAV as it can be read now.
        digest: The digest of its sound; None while it grows.
        is_there: Whether it may still be read; asked before each piece that is sent.
    """

    recording: str
    readable: Readable
    digest: str | None
    is_there: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Found(Sound):
    """One recording that somebody may hear, with what is known of it.

    Args:
        fields: What its sidecar says, or would say now.
    """

    fields: Mapping[str, Any]


Find = Callable[[Person, str], Awaitable[Found]]
"""Returns a recording by its id; raises the problem 404 for one that the person does not see."""
Hear = Callable[[Person, str], Awaitable[Sound]]
"""Returns no more than its sound, which takes no longer for a recording with many gaps."""


def hear_closed(data: Path, closed: Closed, is_there: Callable[[], bool]) -> Sound | None:
    """Return the sound of a recording that is over; None if its WAV is gone. Blocks.

    The file says where its sound begins: it may have been made by another version, or by
    another program.
    """
    path = data / f"{closed.path}.wav"
    offset = closed.audio_offset
    try:
        with path.open("rb") as file:
            head, file_bytes = read_head(file)
    except FileNotFoundError:
        return None
    with contextlib.suppress(WavError):  # the sound may well be where it was written
        offset = layout(head, file_bytes).data_offset
    readable = Readable(str(path), closed.format, offset, closed.frames)
    return Sound(closed.recording, readable, closed.digest, is_there)


def read_closed(data: Path, closed: Closed, is_there: Callable[[], bool]) -> Found | None:
    """Return a recording that is over; None if its WAV is gone. Blocks.

    Without a sidecar it can be heard all the same.
    """
    sound = hear_closed(data, closed, is_there)
    if sound is None:
        return None
    fields = {
        "recording": closed.recording,
        "status": closed.status,
        "format": format_fields(closed.format),
        "frames": closed.frames,
    }
    with contextlib.suppress(OSError, ValueError, TypeError):
        fields |= json.loads((data / f"{closed.path}.json").read_bytes())
    return Found(sound.recording, sound.readable, sound.digest, is_there, fields)
