"""A data directory of made-up recordings, as servers leave it behind."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from micwire.core.audio import Encoding, Format
from micwire.core.digest import digest_of
from micwire.core.recording import About, Closed, RecordingState, sidecar_fields
from micwire.core.wav import header, padding

FORMAT = Format(Encoding.S16, 8_000, 1)


def id_of(number: int) -> str:
    """Return the id of the made-up recording of a number."""
    return str(UUID(int=(number << 96) | (4 << 76) | (2 << 62)))


def state_of(number: int, **about: Any) -> RecordingState:
    """Return a recording that began at `number` seconds and has as many frames."""
    path = f"2026-01-{number // 50 + 1:02d}/{number:08d}"
    created_at = f"2026-01-01T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"
    plain = About(id_of(number), "", FORMAT, path, created_at)
    return RecordingState(replace(plain, **about), frames=number)


class Shelf:
    """Recordings that are over, on a disk, and their register in memory.

    Args:
        data: The data directory.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        (data / ".micwire").mkdir(parents=True, exist_ok=True)
        self.register: dict[str, Closed] = {}

    def closed(self, recording: str) -> Closed | None:
        return self.register.get(recording)

    def put(self, number: int, status: str = "finished", **about: Any) -> str:
        """Finish a recording; return its id."""
        state = state_of(number, **about)
        self.write_sidecar(state, status)
        facts = state.about
        self.register[facts.recording] = Closed(
            facts.recording, status, "", FORMAT, facts.path, 1, state.frames, "0" * 16
        )
        return facts.recording

    def write_sidecar(self, state: RecordingState, status: str, **other: Any) -> Path:
        fields = sidecar_fields(state, status, None if status == "recording" else "0" * 16)
        path = self.data / f"{state.about.path}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".new")  # another file, as each replacement is
        scratch.write_text(json.dumps(fields | other))
        return scratch.rename(path)

    def edit(self, number: int, **other: Any) -> None:
        """Alter the sidecar of a recording."""
        closed = self.register[id_of(number)]
        path = self.data / f"{closed.path}.json"
        fields = json.loads(path.read_text()) | other
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(fields))
        scratch.rename(path)

    def delete(self, number: int) -> None:
        """Delete a recording that is over."""
        recording = id_of(number)
        path = self.data / f"{self.register[recording].path}.json"
        self.register[recording] = Closed(recording, "deleted", "", FORMAT, "", 1, 0, "")
        path.unlink()


def write_wav(path: Path, frames: bytes, audio_format: Format = FORMAT) -> str:
    """Write a WAV with a header of ours; return its digest."""
    count = len(frames) // audio_format.frame_bytes
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header(audio_format, count) + frames + bytes(padding(audio_format, count)))
    return digest_of(frames)
