"""Checking WAVs on disk against themselves and against their sidecars.

Reads only. What is wrong with a file is a sentence in its report, never an exception; how
to mend it is in `repair`.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from micwire.core.audio import Format
from micwire.core.digest import PIECE_BYTES, PieceDigest
from micwire.core.errors import UnsupportedFormatError, WavError
from micwire.core.wav import HEAD_BYTES, Layout, format_of, is_unfinished, layout

Progress = Callable[[int, int], None]
"""Told how many bytes of how many are done."""

LARGE_HEAD_BYTES = 16 << 20
"""For headers with pictures and transcripts in them."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found out about one WAV.

    Args:
        path: The WAV.
        frames: How many frames its header counts, as far as the file holds them.
        seconds: How long these last.
        digest: The digest of its sound; None where only the header was checked.
        problems: What is wrong with it, a sentence each.
        notes: What is worth knowing and not wrong.
    """

    path: Path
    frames: int = 0
    seconds: float = 0.0
    digest: str | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What the sidecar says of the sound; `gaps` are ranges `(first_frame, end)` in order."""

    status: str
    format: Format
    frames: int
    gaps: tuple[tuple[int, int], ...]
    digest: str | None
    fields: Mapping[str, Any]
    """All of it, as JSON has it."""

    @property
    def is_final(self) -> bool:
        """Tell a recording that nothing alters any more from one that still grows."""
        return self.status != "recording"


def verify_all(paths: Iterable[Path], progress: Progress | None = None) -> Iterator[Report]:
    """Verify files, and all recordings below directories, one after the other.

    A recording whose sidecar is there and whose WAV is missing is reported too. Hidden
    directories are passed over.
    """
    for path in paths:
        for wav in _recordings_below(path) if path.is_dir() else (path,):
            yield verify(wav, progress)


def verify(path: Path, progress: Progress | None = None) -> Report:
    """Check one WAV: its header, and all that its sidecar says of it.

    For a recording that is still under way only what its header claims is checked; for a
    WAV without a sidecar only the header. Never raises for what is in the file.
    """
    problems: list[str] = []
    notes: list[str] = []
    sidecar = None
    try:
        sidecar = read_sidecar(path)
    except (OSError, ValueError) as error:
        problems.append(f"its sidecar can't be read: {error}")
    else:
        if sidecar is None:
            notes.append("it has no sidecar: only the header was checked")
        elif sidecar.frames == 0 and not path.exists():
            return Report(path, notes=("it has no frames, and so no WAV",))
    try:
        with path.open("rb") as file:
            return _verify(
                path, file, sidecar=sidecar, problems=problems, notes=notes, progress=progress
            )
    except FileNotFoundError:
        problems.append("there is no such file")
    except (OSError, WavError) as error:
        problems.append(str(error))
    return Report(path, problems=tuple(problems), notes=tuple(notes))


def read_sidecar(path: Path) -> Sidecar | None:
    """Return what the sidecar beside the WAV at `path` says; None if there is none.

    Raises:
        ValueError: It is not a sidecar of ours; the text says why.
        OSError: It can't be read.
    """
    try:
        fields = json.loads(path.with_suffix(".json").read_bytes())
    except FileNotFoundError:
        return None
    try:
        gaps = [(gap["first_frame"], gap["first_frame"] + gap["frames"]) for gap in fields["gaps"]]
        sidecar = Sidecar(
            status=fields["status"],
            format=Format.parse(**fields["format"]),
            frames=fields["frames"],
            gaps=tuple(sorted(gaps)),
            digest=fields["digest"],
            fields=fields,
        )
    except (KeyError, TypeError, UnsupportedFormatError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    counts = [sidecar.frames, *(edge for gap in gaps for edge in gap)]
    if any(type(count) is not int or count < 0 for count in counts):
        raise ValueError("a count of frames is not a whole number from 0")
    if sidecar.status not in ("recording", "finished", "interrupted"):
        raise ValueError(f"unknown status {sidecar.status!r}")
    return sidecar


def read_head(file: BinaryIO) -> tuple[bytes, int]:
    """Return the beginning of a WAV, with all of its header in it, and the file's size."""
    head = file.read(HEAD_BYTES)
    try:
        layout(head, len(head) + 1)
    except WavError:
        head += file.read(LARGE_HEAD_BYTES)
    # The size after the head: a growing header claims nothing that was not written before.
    return head, os.fstat(file.fileno()).st_size


def _recordings_below(directory: Path) -> Iterator[Path]:
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        wavs = {name for name in names if name.lower().endswith(".wav")}
        stems = {Path(name).stem for name in wavs}
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix == ".json" and stem not in stems and _is_sidecar(Path(parent, name)):
                wavs.add(f"{stem}.wav")
        yield from (Path(parent, name) for name in sorted(wavs))


def _is_sidecar(path: Path) -> bool:
    try:
        return read_sidecar(path) is not None
    except (OSError, ValueError):
        return False


def _verify(
    path: Path,
    file: BinaryIO,
    *,
    sidecar: Sidecar | None,
    problems: list[str],
    notes: list[str],
    progress: Progress | None,
) -> Report:
    head, file_bytes = read_head(file)
    found = layout(head, file_bytes)
    audio_format = format_of(found)
    room = max(0, file_bytes - found.data_offset)
    frames = min(found.claimed_bytes or 0, room) // found.frame_bytes
    digest = None
    if sidecar is None or sidecar.is_final:
        problems += _header_problems(found, file_bytes)
    elif (found.claimed_bytes or 0) > room:
        problems.append(_claims_too_much(found, room))
    if sidecar is not None:
        problems += _disagreements(sidecar, audio_format, frames)
        file.seek(found.data_offset)
        digest, spoiled = _read_sound(file, frames, found.frame_bytes, sidecar.gaps, progress)
        problems += [f"the gap at frame {first} does not hold zeros" for first in spoiled]
        if not sidecar.is_final:
            notes.append("it is still being recorded: what its header claims was checked")
        elif sidecar.digest is None:
            notes.append("its sidecar gives no digest: the samples can't be proven")
        elif sidecar.digest != digest:
            problems.append(f"the digest of its sound is {digest}, not {sidecar.digest}")
    return Report(
        path,
        frames=frames,
        seconds=audio_format.seconds(frames),
        digest=digest,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _header_problems(found: Layout, file_bytes: int) -> list[str]:
    """Return where the header of a file that should be complete is wrong about it."""
    room = max(0, file_bytes - found.data_offset)
    claimed = found.claimed_bytes or 0
    if room and is_unfinished(found, file_bytes):
        return [f"the header doesn't say how much sound there is; {room} bytes follow it"]
    if claimed > room:
        return [_claims_too_much(found, room)]
    problems = []
    if claimed % found.frame_bytes:
        problems.append(f"its sound ends within a frame: {claimed} bytes of sound")
    if found.riff_bytes is None or found.riff_bytes + 8 != file_bytes:
        told = "an unknown number of" if found.riff_bytes is None else found.riff_bytes + 8
        problems.append(f"the header speaks of {told} bytes in all; the file has {file_bytes}")
    return problems


def _claims_too_much(found: Layout, room: int) -> str:
    return f"the header claims {found.claimed_bytes} bytes of sound; the file holds {room}"


def _disagreements(sidecar: Sidecar, audio_format: Format, frames: int) -> list[str]:
    """Return where sidecar and header contradict each other, or the gap list itself."""
    problems = []
    if sidecar.format != audio_format:
        problems.append(f"it is {_words(audio_format)}, its sidecar says {_words(sidecar.format)}")
    if sidecar.is_final and sidecar.frames != frames:
        problems.append(f"it has {frames} frames, its sidecar says {sidecar.frames}")
    before = 0
    for first, end in sidecar.gaps:
        if first < before:
            problems.append(f"two gaps overlap at frame {first}")
        if end > sidecar.frames:
            problems.append(f"the gap at frame {first} ends beyond frame {sidecar.frames}")
        before = max(before, end)
    return problems


def _words(audio_format: Format) -> str:
    return f"{audio_format.encoding} {audio_format.sample_rate} Hz {audio_format.channels} ch"


def _read_sound(
    file: BinaryIO,
    frames: int,
    frame_bytes: int,
    gaps: tuple[tuple[int, int], ...],
    progress: Progress | None,
) -> tuple[str, list[int]]:
    """Return the digest of the sound, and the first frames of gaps that hold more than zeros."""
    digest, total = PieceDigest(), frames * frame_bytes
    spoiled: dict[int, None] = {}  # a set in order
    while digest.bytes < total:
        start = digest.bytes
        piece = file.read(min(PIECE_BYTES, total - start))
        if not piece:
            raise WavError("the file became shorter while it was read")
        for first, end in gaps:
            silence = piece[max(0, first * frame_bytes - start) : max(0, end * frame_bytes - start)]
            if silence.count(0) != len(silence):
                spoiled[first] = None
        digest.update(piece)
        if progress is not None:
            progress(digest.bytes, total)
    return digest.hexdigest(), list(spoiled)
