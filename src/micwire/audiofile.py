"""Audio files as blocks of bytes, as a microphone would bring them.

WAVs in our encodings are read here, bit for bit and never as a whole; every other file
through soundfile, if it is installed. All calls block.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from micwire.core.audio import Encoding, Format
from micwire.core.errors import MicwireError, UnsupportedFormatError, WavError
from micwire.core.wav import CHUNK, RIFF, parse

MAX_HEAD_BYTES = 16 << 20
ENDLESS_BYTES = 1 << 62
STANDARD_INPUT = "-"

_PIPED_CLAIM_BYTES = range(0x7FFF_0000, 0x8000_0100)
"""What programs claim that write a WAV into a pipe and don't know its length."""

_SUBTYPES = {
    "PCM_S8": Encoding.S16,
    "PCM_U8": Encoding.S16,
    "PCM_16": Encoding.S16,
    "ALAW": Encoding.S16,
    "ULAW": Encoding.S16,
    "PCM_24": Encoding.S24,
}
"""Subtypes of libsndfile that an integer encoding holds exactly; all others become float."""
_ROUNDED_SUBTYPES = frozenset({"PCM_32", "DOUBLE"})


class AudioFileError(MicwireError):
    """A file can't be read as audio; the text says why and what would help."""

    code = "bad-audio-file"


@dataclass(slots=True)
class AudioSource:
    """An open audio file.

    Args:
        format: What `read` returns.
        frames: How many there are; None for a stream whose length nobody knows.
        read: Returns up to so many frames as bytes, fewer only at the end.
        notes: What is worth knowing about the file, a sentence each.
    """

    format: Format
    frames: int | None
    read: Callable[[int], bytes]
    notes: tuple[str, ...] = ()


def open_audio(name: str) -> AudioSource:
    """Open an audio file; `-` is a WAV on standard input.

    Raises:
        AudioFileError: It is no audio file that can be read here.
        OSError: It can't be opened.
    """
    if name == STANDARD_INPUT:
        try:
            # Unbuffered: a live stream is read as it comes, and no lock is held meanwhile.
            return _open_wav(open(0, "rb", buffering=0, closefd=False), "standard input")
        except WavError as error:
            raise AudioFileError(f"standard input is no WAV that can be sent: {error}") from None
    file = Path(name).open("rb", buffering=0)  # noqa: SIM115 -- read until the program ends
    try:
        return _open_wav(file, name)
    except WavError as error:
        file.close()
        return _open_decoded(name, error)


# ---- WAV, bit for bit --------------------------------------------------------------


def _open_wav(file: BinaryIO, name: str) -> AudioSource:
    status = os.fstat(file.fileno())
    is_file = stat.S_ISREG(status.st_mode)
    info = parse(_read_head(file), status.st_size if is_file else ENDLESS_BYTES)
    left, claimed = info.data_bytes, info.claimed_bytes
    is_endless = left > ENDLESS_BYTES // 2 or claimed in _PIPED_CLAIM_BYTES
    if not is_file and is_endless:
        return AudioSource(info.format, None, _Reader(file, info.format, ENDLESS_BYTES))
    notes: tuple[str, ...] = ()
    if info.truncated:
        notes = (f"{name} claims {claimed} bytes of sound and holds {left}: these are sent",)
    return AudioSource(info.format, info.frames, _Reader(file, info.format, left), notes)


def _read_head(file: BinaryIO) -> bytes:
    """Read exactly the header, so that the next byte is sound; of a stream there is no other."""
    head = _read_all(file, RIFF.size)
    if head[8:] != b"WAVE":
        return head
    while len(head) < MAX_HEAD_BYTES:
        chunk = _read_all(file, CHUNK.size)
        head += chunk
        if len(chunk) < CHUNK.size or chunk.startswith(b"data"):
            break
        size = CHUNK.unpack(chunk)[1]
        head += _read_all(file, min(size + size % 2, MAX_HEAD_BYTES))
    return head


class _Reader:
    """Whole frames from an open file."""

    def __init__(self, file: BinaryIO, audio_format: Format, left: int) -> None:
        self._file = file
        self._frame_bytes = audio_format.frame_bytes
        self._left = left

    def __call__(self, frames: int) -> bytes:
        data = _read_all(self._file, min(frames * self._frame_bytes, self._left))
        self._left -= len(data)
        return data[: len(data) - len(data) % self._frame_bytes]


def _read_all(file: BinaryIO, count: int) -> bytes:
    """Read as often as it takes: a pipe gives what it has."""
    parts = []
    while count and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


# ---- everything else -----------------------------------------------------------------


def _open_decoded(name: str, reason: WavError) -> AudioSource:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package without its library
        raise AudioFileError(
            f"{name} is no WAV that can be sent as it is ({reason});"
            " other audio files need soundfile: pip install 'micwire[files]'"
        ) from None
    try:
        file = soundfile.SoundFile(name)
        encoding = _SUBTYPES.get(file.subtype, Encoding.F32)
        audio_format = Format(encoding, int(file.samplerate), int(file.channels))
    except (soundfile.LibsndfileError, UnsupportedFormatError) as error:
        raise AudioFileError(f"{name} can't be sent: {error}") from None
    notes: tuple[str, ...] = ()
    if file.subtype in _ROUNDED_SUBTYPES:
        notes = (f"{name} is {file.subtype}: its samples are rounded to 32-bit floats",)

    def read(frames: int) -> bytes:
        if encoding is Encoding.S16:
            return bytes(file.read(frames, dtype="int16").astype("<i2").tobytes())
        if encoding is Encoding.F32:
            return bytes(file.read(frames, dtype="float32").astype("<f4").tobytes())
        # libsndfile gives 24 bits as the upper ones of 32.
        whole = file.read(frames, dtype="int32").astype("<i4").reshape(-1, 1).view("u1")
        return bytes(whole[:, 1:].tobytes())

    return AudioSource(audio_format, int(file.frames), read, notes)
