"""Mending broken WAVs, ours and other programs', and writing plain copies.

The sound itself is never altered: a repair writes sizes into the header, cuts a last
partial frame or adds the pad byte, and keeps the header that was there. Whatever is
written is synced, the header last.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from micwire.core import wav
from micwire.core.audio import Format
from micwire.core.errors import WavError
from micwire.core.tags import sent_tags, stored_tags
from micwire.core.wav import CHUNK, DS64, RIFF, UNKNOWN, Layout
from micwire.library.inspect import Progress, Sidecar, read_head, read_sidecar

COPY_BYTES = 1 << 20
NOTHING_TO_MEND = "There is nothing to mend."
STILL_GROWING = (
    "It is still being recorded and its header claims what is safe: the server finishes it"
    " from its journal."
)


def repair(path: Path, assume: Format | None = None, progress: Progress | None = None) -> list[str]:
    """Mend a WAV whose header and length don't agree, in place; return what was done.

    Mended are sizes that were never filled in or are wrong, a cut-off end, a partial
    last frame, a missing pad byte. The header before the repair is kept in
    `FILE.header.bak`. A file with nothing to mend is not touched. A file past 4 GiB
    whose header has no room for 64-bit sizes is left as it is, and a mended copy is
    written beside it as `NAME.repaired.wav`.

    Args:
        path: The WAV. If it is ours, its sidecar tells how long the sound is.
        assume: The format of a file whose header is nothing but zeros; not looked at
            where the header tells the format. A sidecar knows it as well.
        progress: Told of the copying, where a copy is needed.

    Raises:
        WavError: It can't be mended; the text says why, and the file was not touched.
        OSError: A read, write or sync failed.
    """
    try:
        sidecar = read_sidecar(path)
    except ValueError:
        sidecar = None  # it belongs to something else; the WAV is mended by itself
    with path.open("rb") as file:
        head, file_bytes = read_head(file)
        if not any(head[: RIFF.size]):
            return _restore_header(
                path, head, file_bytes, sidecar=sidecar, assume=assume, progress=progress
            )
        try:
            found = wav.layout(head, file_bytes)
        except WavError as error:
            raise WavError(f"it can't be mended: {error}") from None
        if sidecar is not None and sidecar.format.frame_bytes != found.frame_bytes:
            raise WavError("header and sidecar disagree about the format: which is right?")
        if (
            sidecar is not None
            and not sidecar.is_final
            and _claims_what_is_there(found, file_bytes)
        ):
            return [STILL_GROWING, NOTHING_TO_MEND]
        sound_bytes, file_end = _extent(file, found, file_bytes, sidecar)
    done = _sentences(found, file_bytes, sound_bytes, file_end)
    if not done:
        return [NOTHING_TO_MEND]
    mended = _with_sizes(head[: found.data_offset], found, sound_bytes, file_end)
    if mended is None:
        audio_format = wav.format_of(found)
        return [_write_copy(path, audio_format, found.data_offset, sound_bytes, progress)]
    return [*done, _mend_in_place(path, head, mended, sound_bytes, file_end)]


def export(
    source: Path,
    target: Path,
    *,
    is_tagged: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Copy a WAV with another header.

    That is the shortest there is, 44 bytes for 1 or 2 integer channels; or, with
    `is_tagged`, one that says what the sidecar says: title, start, device, marks and gaps.
    The target appears under its name only once it is complete and synced. Of a growing
    recording, what its header claims is copied.

    Raises:
        FileExistsError: There is a file at `target` and `overwrite` is false.
        WavError: The source is no WAV of ours, holds less than it claims (mend it first),
            its sound does not fit below 4 GiB, or it has no sidecar to take tags from.
        OSError: A read, write or sync failed.
    """
    refuse_to_overwrite(target, overwrite=overwrite)
    with source.open("rb") as file:
        info, sidecar = read_complete(source, file)
        if not is_tagged:
            header = wav.plain_header(info.format, info.frames)
        elif sidecar is None:
            raise WavError("it has no sidecar to take tags from")
        else:
            header = wav.header(info.format, info.frames, sent_tags(sidecar.fields))
        file.seek(info.data_offset)
        _write_wav(target, header, file, info.data_bytes, progress)


def refuse_to_overwrite(target: Path, *, overwrite: bool) -> None:
    """Raise FileExistsError if there is a file that must stay."""
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists")


def read_complete(path: Path, file: BinaryIO) -> tuple[wav.WavInfo, Sidecar | None]:
    """Return what a WAV's header says, and its sidecar if that belongs to it.

    Raises:
        WavError: The file is no WAV of ours, or holds less than it claims.
    """
    head, file_bytes = read_head(file)
    info = wav.parse(head, file_bytes)
    if info.truncated:
        raise WavError("the header claims more sound than the file holds: repair it first")
    try:
        sidecar = read_sidecar(path)
    except ValueError:
        sidecar = None
    return info, sidecar if sidecar is not None and sidecar.format == info.format else None


# ---- finding out -----------------------------------------------------------------


def _claims_what_is_there(found: Layout, file_bytes: int) -> bool:
    return found.claimed_bytes is not None and found.claimed_bytes <= file_bytes - found.data_offset


def _extent(
    file: BinaryIO, found: Layout, file_bytes: int, sidecar: Sidecar | None
) -> tuple[int, int]:
    """Return how many bytes of sound a file has, and where it should end."""
    sound_bytes = max(0, file_bytes - found.data_offset)
    claimed = found.claimed_bytes
    if claimed is not None and claimed <= sound_bytes:
        sound_end = found.data_offset + claimed
        for start in (sound_end + claimed % 2, sound_end):
            if start < file_bytes and _chunks_fill(file, start, file_bytes):
                return claimed, file_bytes
        if file_bytes == sound_end + claimed % 2:
            sound_bytes = claimed
    sound_bytes = _whole_frames(sound_bytes, found.frame_bytes, sidecar)
    return sound_bytes, found.data_offset + sound_bytes + sound_bytes % 2


def _whole_frames(room: int, frame_bytes: int, sidecar: Sidecar | None) -> int:
    """Return how many of the bytes behind the header are whole frames of the recording."""
    if sidecar is not None and sidecar.is_final:
        expected = sidecar.frames * frame_bytes
        if room - expected >= frame_bytes + expected % 2:
            raise WavError(
                f"{room - expected} bytes lie behind the last frame that its sidecar counts:"
                " nothing is known of them"
            )
        room = min(room, expected)
    return room - room % frame_bytes


def _chunks_fill(file: BinaryIO, start: int, end: int) -> bool:
    """Tell whether the file has nothing but well-formed chunks from `start` to `end`."""
    while start < end:
        file.seek(start)
        chunk = file.read(CHUNK.size)
        if len(chunk) < CHUNK.size or not (
            chunk[:4].isascii() and chunk[:4].decode().isprintable()
        ):
            return False
        size = CHUNK.unpack(chunk)[1]
        start += CHUNK.size + size + size % 2
    return start <= end + 1  # the last pad byte is often forgotten


def _sentences(found: Layout, file_bytes: int, sound_bytes: int, file_end: int) -> list[str]:
    """Say what is wrong; nothing if nothing is."""
    frames = sound_bytes // found.frame_bytes
    now = f"it says {frames} frames now ({frames / found.sample_rate:.3f} s)."
    done = []
    if found.claimed_bytes is None:
        done.append(f"The header did not know how much sound there is; {now}")
    elif found.claimed_bytes != sound_bytes:
        there = f"{sound_bytes} bytes of whole frames are there"
        done.append(f"The header claimed {found.claimed_bytes} bytes of sound; {there}; {now}")
    if file_bytes > file_end:
        done.append(f"Cut the last {file_bytes - file_end} bytes: part of a frame only.")
    elif file_bytes < file_end:
        done.append("Added the pad byte that an odd number of bytes needs.")
    if not done and found.riff_bytes != file_end - 8:
        done.append(f"The header gave the whole file a wrong size; it is {file_end} bytes.")
    return done


# ---- mending ---------------------------------------------------------------------


def _with_sizes(head: bytes, found: Layout, sound_bytes: int, file_end: int) -> bytes | None:
    """Return a header with right sizes, of the same length; None if it has no room for them."""
    mended, frames = bytearray(head), sound_bytes // found.frame_bytes
    is_small = file_end - 8 <= wav.MAX_RIFF_BYTES
    if found.ds64_offset is None and not is_small:
        return None
    if found.ds64_offset is None or (found.form == b"RIFF" and is_small):
        form, sizes = b"RIFF", (file_end - 8, frames, sound_bytes)
    else:
        # A JUNK chunk of at least the same size becomes the ds64, with an empty table.
        form, sizes = (b"RF64" if found.form == b"RIFF" else found.form), (UNKNOWN,) * 3
        name, at = found.ds64_offset, found.ds64_offset + CHUNK.size
        table = DS64.unpack_from(head, at)[3] if head[name : name + 4] == b"ds64" else 0
        mended[name : name + 4] = b"ds64"
        DS64.pack_into(mended, at, file_end - 8, sound_bytes, frames, table)
    RIFF.pack_into(mended, 0, form, sizes[0], b"WAVE")
    if found.fact_offset is not None:
        mended[found.fact_offset : found.fact_offset + 4] = sizes[1].to_bytes(4, "little")
    CHUNK.pack_into(mended, found.data_offset - CHUNK.size, b"data", sizes[2])
    return bytes(mended)


def _restore_header(
    path: Path,
    head: bytes,
    file_bytes: int,
    *,
    sidecar: Sidecar | None,
    assume: Format | None,
    progress: Progress | None,
) -> list[str]:
    """Write a header over zeros: ours if there is a sidecar, else the plain one."""
    audio_format = assume if sidecar is None else sidecar.format
    if audio_format is None:
        raise WavError("its header is nothing but zeros: its format must be given")
    header = wav.plain_header if sidecar is None else _header_of(sidecar)
    start = len(header(audio_format, 0))
    if any(head[:start]) or file_bytes < start:
        raise WavError(f"it can't be mended: no header of zeros fills its first {start} bytes")
    sound_bytes = _whole_frames(file_bytes - start, audio_format.frame_bytes, sidecar)
    frames = sound_bytes // audio_format.frame_bytes
    try:
        mended = header(audio_format, frames)
    except WavError:  # past 4 GiB
        return [_write_copy(path, audio_format, start, sound_bytes, progress)]
    file_end = start + sound_bytes + sound_bytes % 2
    kept = _mend_in_place(path, head, mended, sound_bytes, file_end)
    return [f"Wrote the header that was lost: {frames} frames from byte {start} on.", kept]


def _header_of(sidecar: Sidecar) -> Callable[[Format, int], bytes]:
    """Return what makes the header that the server had written."""
    offset = sidecar.fields.get("data_offset")
    if not isinstance(offset, int) or offset < wav.header_bytes(sidecar.format) + wav.CHUNK.size:
        return wav.header
    tags = stored_tags(sidecar.fields)
    return lambda audio_format, frames: wav.header(audio_format, frames, tags)


def _mend_in_place(path: Path, head: bytes, mended: bytes, sound_bytes: int, file_end: int) -> str:
    kept = _keep(path, head[: len(mended)])
    with path.open("r+b", buffering=0) as file:
        sound_end = len(mended) + sound_bytes
        if file_end - sound_end < CHUNK.size:  # no chunks behind the sound
            file.truncate(sound_end)  # else a byte of a partial frame could become the pad
        file.truncate(file_end)
        os.fsync(file.fileno())
        # The header last: it never claims what isn't there, and in one write.
        file.write(mended)
        os.fsync(file.fileno())
    return f"The header as it was is in {kept.name}."


def _keep(path: Path, head: bytes) -> Path:
    """Write the old header beside the file, durably, over no older one."""
    number = 1
    while True:
        suffix = ".header.bak" if number == 1 else f".header.{number}.bak"
        kept = path.with_name(path.name + suffix)
        try:
            with kept.open("xb") as file:
                file.write(head)
                _sync(file)
        except FileExistsError:
            number += 1
            continue
        _sync_directory(path.parent)
        return kept


def _write_copy(
    path: Path, audio_format: Format, start: int, sound_bytes: int, progress: Progress | None
) -> str:
    target = path.with_name(f"{path.stem}.repaired.wav")
    if target.exists():
        raise FileExistsError(f"{target} exists")
    frames = sound_bytes // audio_format.frame_bytes
    with path.open("rb") as file:
        file.seek(start)
        _write_wav(target, wav.header(audio_format, frames), file, sound_bytes, progress)
    return (
        f"Its header has no room for sizes past 4 GiB: {target.name} holds all {frames} frames"
        " with one that has. The file itself was not touched."
    )


# ---- writing ---------------------------------------------------------------------


def _write_wav(
    target: Path, header: bytes, sound: BinaryIO, sound_bytes: int, progress: Progress | None
) -> None:
    """Write header, sound and pad byte."""

    def parts() -> Iterator[bytes]:
        yield header
        done = 0
        while done < sound_bytes:
            piece = sound.read(min(COPY_BYTES, sound_bytes - done))
            if not piece:
                raise WavError("the file became shorter while it was read")
            yield piece
            done += len(piece)
            if progress is not None:
                progress(done, sound_bytes)
        yield bytes(sound_bytes % 2)

    write_whole(target, parts())


def write_whole(target: Path, parts: Iterable[bytes]) -> None:
    """Write a file under another name, sync, then give it the right name, or leave nothing."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with unfinished.open("xb") as file:
            file.writelines(parts)
            _sync(file)
        os.replace(unfinished, target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
