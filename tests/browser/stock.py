"""A data directory full of recordings, as a server leaves it behind, made in a moment."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from micwire.core.audio import Encoding, Format
from micwire.core.digest import digest_of
from micwire.core.recording import (
    About,
    Closed,
    GapEntry,
    MarkEntry,
    RecordingState,
    sidecar_fields,
)
from micwire.core.wav import header

RATE = 8_000
MINUTE = 60
HOUR = 60 * MINUTE


def id_of(number: int) -> str:
    """Return the id of the recording with this number."""
    return str(UUID(int=(number << 96) | (4 << 76) | (2 << 62)))


@dataclass(frozen=True)
class Item:
    """A recording that is over; times in seconds.

    `number` names it: of two, the one with the larger number was begun later.
    """

    number: int
    title: str | None = None
    seconds: float = 1.0
    tags: tuple[str, ...] = ()
    notes: str = ""
    status: str = "finished"
    gaps: tuple[tuple[float, float], ...] = ()
    """Where each begins, and how long it is."""
    marks: tuple[tuple[float, str], ...] = ()
    channels: int = 1
    hold: bool = False
    device: str = "USB microphone"

    @property
    def id(self) -> str:
        """Its id."""
        return id_of(self.number)


def stock(data: Path, *items: Item) -> None:
    """Put recordings into a data directory that no server has."""
    for item in items:
        _put(data, item)


def _put(data: Path, item: Item) -> None:
    form = Format(Encoding.S16, RATE, item.channels)
    frames = round(item.seconds * RATE)
    day, second = divmod(item.number, 86_400)
    hour, minute = second // 3_600, second // 60 % 60
    folder = f"2026-{day // 28 + 1:02d}-{day % 28 + 1:02d}"
    path = f"{folder}/{hour:02d}-{minute:02d}-{second % 60:02d}_{item.id[:8]}"
    about = About(
        recording=item.id,
        key_hash="",
        format=form,
        path=path,
        created_at=f"{folder}T{hour:02d}:{minute:02d}:{second % 60:02d}Z",
        title=item.title,
        device={"label": item.device},
        settings={
            "echoCancellation": False,
            "noiseSuppression": False,
            "autoGainControl": False,
            "verifiable": True,
        },
        tags=item.tags,
        notes=item.notes,
        hold=item.hold,
    )
    state = RecordingState(
        about,
        frames=frames,
        gaps=[GapEntry(round(a * RATE), round(b * RATE), "device", True) for a, b in item.gaps],
        marks={MarkEntry(round(at * RATE), label): None for at, label in item.marks},
    )
    sound = _sound(min(frames, MINUTE * RATE), item.channels, item.gaps)
    digest = digest_of(sound)
    (data / folder).mkdir(parents=True, exist_ok=True)
    with (data / f"{path}.wav").open("wb") as file:
        file.write(header(form, frames))
        start = file.tell()
        file.write(sound)
        file.truncate(start + frames * form.frame_bytes)  # what follows the first minute is silent
    (data / f"{path}.json").write_text(json.dumps(sidecar_fields(state, item.status, digest)))
    closed = Closed(item.id, item.status, "", form, path, 1, frames, digest)
    register = data / ".micwire" / "closed" / item.id[:2]
    register.mkdir(parents=True, exist_ok=True)
    (register / f"{item.id}.json").write_text(closed.to_json())


@cache
def _sound(frames: int, channels: int, gaps: tuple[tuple[float, float], ...]) -> bytes:
    """Return words of a hum, with silence between them and in the gaps."""
    time = np.arange(frames) / RATE
    loud = np.maximum(0, np.sin(time * 2.3)) * (0.5 + 0.5 * np.sin(time * 0.37))
    wave: NDArray[np.float64] = 0.6 * loud * np.sin(2 * np.pi * 180 * time)
    for at, length in gaps:
        wave[round(at * RATE) : round((at + length) * RATE)] = 0
    samples = np.repeat((wave * 32_767).astype("<i2")[:, None], channels, axis=1)
    return samples.tobytes()
