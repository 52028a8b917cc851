"""What a WAV says beside its sound: against the vectors, and as other programs read it."""

import json
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from wavinfo import WavInfoReader

from micwire.core import wav
from micwire.core.audio import Encoding, Format
from micwire.core.tags import STORED_HEADER_BYTES, sent_tags, stored_tags

VECTORS = json.loads((Path(__file__).parents[2] / "spec/vectors/wav.json").read_text())["tags"]
FULL: dict[str, Any] = VECTORS[0]["fields"]
TEXTS = st.text(max_size=400)
FIELDS = st.fixed_dictionaries(
    {
        "recording": st.uuids().map(str),
        "format": st.fixed_dictionaries(
            {
                "encoding": st.sampled_from([str(encoding) for encoding in Encoding]),
                "sample_rate": st.integers(8_000, 384_000),
                "channels": st.integers(1, 64),
            }
        ),
        "data_offset": st.just(STORED_HEADER_BYTES),
    },
    optional={
        "title": TEXTS | st.none() | st.integers(),
        "notes": st.text(max_size=5_000),
        "tags": st.lists(TEXTS, max_size=50),
        "started_at": st.datetimes().map(lambda time: f"{time.isoformat()}Z") | TEXTS,
        "device": TEXTS | st.dictionaries(TEXTS, TEXTS, max_size=3) | st.none(),
        "settings": st.dictionaries(TEXTS, TEXTS | st.floats() | st.booleans(), max_size=30),
        "take": TEXTS,
        "part": st.integers() | st.none(),
        "marks": st.lists(
            st.fixed_dictionaries({"frame": st.integers(0, 2**53), "label": TEXTS}), max_size=60
        ),
        "gaps": st.lists(
            st.fixed_dictionaries(
                {"first_frame": st.integers(0, 2**33), "frames": st.integers(1, 2**33)}
            )
        ),
    },
)


def chunks_of(tags: bytes) -> dict[bytes, bytes]:
    """Return chunks by name, lists by name and kind; all sizes are even and fill the whole."""
    found, at = {}, 0
    while at < len(tags):
        name, size = struct.unpack_from("<4sI", tags, at)
        payload = tags[at + 8 : at + 8 + size]
        assert (size % 2, len(payload)) == (0, size)
        name = name + payload[:4] if name == b"LIST" else name
        assert name not in found, "a chunk twice"
        found[name] = payload
        at += 8 + size
    return found


def write(path: Path, fields: dict[str, Any], frames: int = 200_000) -> Path:
    audio_format = Format.parse(**fields["format"])
    sound_bytes = frames * audio_format.frame_bytes
    with path.open("wb") as file:
        file.write(wav.header(audio_format, frames, sent_tags(fields)))
        file.truncate(file.tell() + sound_bytes + sound_bytes % 2)  # silence, and no room taken
    return path


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["fields"]["status"])
def test_the_tags_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    assert sent_tags(vector["fields"]).hex() == vector["sent"]
    if vector["stored"] is not None:
        assert stored_tags(vector["fields"]).hex() == vector["stored"]


@given(FIELDS)
def test_the_sound_begins_where_it_was_agreed_whatever_there_is_to_say(
    fields: dict[str, Any],
) -> None:
    audio_format = Format.parse(**fields["format"])
    tags = stored_tags(fields)
    chunks = chunks_of(tags)
    assert b"bext" in chunks
    assert not {b"cue ", b"LISTadtl"} & chunks.keys(), "nothing that is only known later"
    for frames in (1, 1_000, 2**40):
        head = wav.header(audio_format, frames, tags)
        assert len(head) == STORED_HEADER_BYTES
        info = wav.parse(head, 2**53)
        assert (info.frames, info.data_offset) == (frames, STORED_HEADER_BYTES)


@given(FIELDS)
def test_all_that_is_known_is_sent_in_even_chunks(fields: dict[str, Any]) -> None:
    audio_format = Format.parse(**fields["format"])
    tags = sent_tags(fields)
    chunks = chunks_of(tags)
    assert {b"bext", b"iXML", b"LISTINFO"} <= chunks.keys()
    head = wav.header(audio_format, 10, tags)
    assert wav.parse(head, 2**53).data_offset == len(head) >= STORED_HEADER_BYTES


def test_tags_of_an_odd_size_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="odd"):
        wav.header(Format(Encoding.S16, 48_000, 1), 0, b"x")


# ---- other programs --------------------------------------------------------------


def test_wavinfo_reads_what_was_written(tmp_path: Path) -> None:
    read = WavInfoReader(write(tmp_path / "a.wav", FULL), info_encoding="utf-8")
    assert read.data.frame_count == 200_000
    bext = read.bext
    assert bext.description == "Gro?e & ?"
    assert bext.originator == "micwire"
    assert bext.originator_ref == "7f3a9c2e58d14c0b9a550c1be6f6a1d4"
    assert (bext.originator_date, bext.originator_time) == ("2026-11-22", "18:13:05")
    assert bext.time_reference == 65_585 * 44_100 + 22_050
    assert bext.version == 2
    assert bext.coding_history.startswith("A=PCM,F=44100,W=24,M=stereo,T=micwire; Mikrofon  links")
    assert read.info.title == "Größe & 🎙"
    assert read.info.created_date == "2026-11-22"
    assert read.info.keywords == "Straße; b"
    ixml = read.ixml
    assert ixml.take == FULL["take"]
    assert ixml.family_uid == FULL["take"]
    assert [track.channel_index for track in ixml.track_list] == ["1", "2"]
    own = ixml.parsed.find("./MICWIRE/SETTINGS")
    assert json.loads(own.text) == FULL["settings"]
    assert ixml.parsed.find("./NOTE").text == FULL["title"]
    cues = {cue.name: cue for cue in read.cues.cues}
    assert [cue.position for cue in cues.values()] == [7, 100, 150_000]
    assert [label.text for label in read.cues.labels] == ["zwölf", "gap: overflow", ""]
    assert [(region.name, region.length) for region in read.cues.ranges] == [(2, 48)]


def by_ffprobe(path: Path) -> tuple[dict[str, str], int]:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", str(path)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b""
    told = json.loads(done.stdout)
    return told["format"].get("tags", {}), told["streams"][0]["duration_ts"]


def test_ffprobe_reads_what_was_written(tmp_path: Path) -> None:
    tags, frames = by_ffprobe(write(tmp_path / "a.wav", FULL))
    assert frames == 200_000
    assert tags["title"] == "Größe & 🎙"
    assert tags["comment"] == "Gro?e & ?\n" or "Two" in tags["comment"]
    assert tags["encoded_by"] == "micwire"
    assert tags["originator_reference"] == "7f3a9c2e58d14c0b9a550c1be6f6a1d4"
    assert tags["creation_time"] == "18:13:05"
    assert tags["time_reference"] == str(65_585 * 44_100 + 22_050)


@pytest.mark.parametrize("reader", ["soundfile", "ffprobe", "sox"])
@pytest.mark.parametrize("frames", [1, 2_000_001, 800_000_000])
@pytest.mark.parametrize("encoding", Encoding)
def test_other_programs_read_the_sound_behind_the_tags_on_both_sides_of_4_gib(
    encoding: Encoding, frames: int, reader: str, tmp_path: Path
) -> None:
    fields = FULL | {"format": FULL["format"] | {"encoding": str(encoding)}}
    fields |= {"marks": [{"frame": n, "label": "ä" * 99} for n in range(100)]}
    path = write(tmp_path / "a.wav", fields, frames)
    is_rf64 = path.stat().st_size > 2**32
    counted: dict[str, Callable[[], int]] = {
        "soundfile": lambda: int(soundfile.info(str(path)).frames),
        "ffprobe": lambda: by_ffprobe(path)[1],
        "sox": lambda: int(subprocess.check_output(["soxi", "-s", str(path)])),
    }
    if reader == "sox" and is_rf64:
        return  # it reads no RF64
    assert counted[reader]() == frames


def test_a_hundred_thousand_gaps_are_written_at_once() -> None:
    gaps = [{"first_frame": 2 * n, "frames": 1, "cause": "overflow"} for n in range(100_000)]
    began = time.process_time()
    tags = sent_tags(FULL | {"gaps": gaps})
    # Copying all that is written before each entry took minutes.
    assert time.process_time() - began < 15
    assert tags.count(b"ltxt") == 100_000
