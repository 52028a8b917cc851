"""The command line as a person meets it: words on the two streams, and exit codes."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from wavinfo import WavInfoReader

from micwire.core.wav import CHUNK
from tests.library.shelf import Shelf

SIDE_EFFECT_S = 20


def micwire(*words: object, data: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run `micwire` to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "micwire", *map(str, words)],
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def begin(*words: object) -> "subprocess.Popen[str]":
    """Start `micwire` and let it run."""
    return subprocess.Popen(
        [sys.executable, "-m", "micwire", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Server:
    """A `micwire serve` process."""

    def __init__(self, data: Path, port: int = 0) -> None:
        self.data = data
        self.process = begin("serve", "--port", port, "--data", data)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line.startswith("micwire is at http://127.0.0.1:")
        self.url = line.removeprefix("micwire is at ")
        self.port = int(self.url.rpartition(":")[2])

    def stop(self) -> int:
        self.process.terminate()
        self.process.communicate(timeout=SIDE_EFFECT_S)
        return self.process.returncode

    def wav_at(self, url: str) -> bytes:
        with urllib.request.urlopen(url) as answer:
            body: bytes = answer.read()
        return body

    def sidecars(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.data.glob("*/*.json"))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("data"))
    yield server
    assert server.stop() == 0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server for a test that stops it."""
    server = Server(tmp_path / "recordings")
    yield server
    server.stop()


def noise(frames: int, channels: int = 2, seed: int = 1) -> NDArray[np.int32]:
    """Return samples that fill all 32 bits."""
    return np.random.default_rng(seed).integers(-(1 << 31), 1 << 31, (frames, channels), np.int32)


def sound_of(wav: bytes, dtype: str = "int32") -> NDArray[Any]:
    samples: NDArray[Any] = soundfile.read(io.BytesIO(wav), dtype=dtype, always_2d=True)[0]
    return samples


def write(path: Path, samples: NDArray[Any], subtype: str, file_format: str | None = None) -> Path:
    soundfile.write(path, samples, 44_100, subtype, format=file_format)
    return path


# ---- send --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "subtype", "file_format", "kept"),
    [
        ("a.wav", "PCM_16", None, "pcm_s16le"),
        ("a.wav", "PCM_24", None, "pcm_s24le"),
        ("a.wav", "FLOAT", None, "pcm_f32le"),
        ("a.wav", "PCM_24", "RF64", "pcm_s24le"),
        ("a.wav", "PCM_U8", None, "pcm_s16le"),
        ("a.flac", "PCM_16", None, "pcm_s16le"),
        ("a.flac", "PCM_24", None, "pcm_s24le"),
        ("a.aiff", "PCM_24", None, "pcm_s24le"),
    ],
)
def test_a_file_arrives_bit_for_bit(
    server: Server, tmp_path: Path, name: str, subtype: str, file_format: str | None, kept: str
) -> None:
    path = write(tmp_path / name, noise(30_001), subtype, file_format)
    done = micwire("send", path, "--url", server.url, "--fast", "--title", subtype)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "30001 frames" in done.stderr
    assert "digest agrees" in done.stderr
    dtype = "float32" if subtype == "FLOAT" else "int32"
    stored = sound_of(server.wav_at(done.stdout.strip()), dtype)
    assert stored.tobytes() == sound_of(path.read_bytes(), dtype).tobytes()
    [facts] = [facts for facts in server.sidecars() if facts["recording"] in done.stdout]
    assert (facts["format"]["encoding"], facts["title"]) == (kept, subtype)


def test_a_lossy_file_is_sent_as_floats(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    sine = np.sin(np.arange(20_000) / 20).astype(np.float32) / 2
    soundfile.write(path, sine, 48_000, "VORBIS")
    done = micwire("send", path, "--url", server.url, "--fast")
    assert done.returncode == 0
    stored = sound_of(server.wav_at(done.stdout.strip()), "float32")
    assert stored.tobytes() == soundfile.read(path, dtype="float32")[0].tobytes()


def test_rounding_is_said(server: Server, tmp_path: Path) -> None:
    done = micwire(
        "send", write(tmp_path / "a.wav", noise(100), "PCM_32"), "--url", server.url, "--fast"
    )
    assert done.returncode == 0
    assert "rounded" in done.stderr


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_EFFC])
def test_a_stream_on_standard_input_has_no_length_and_arrives_whole(
    server: Server, tmp_path: Path, size: int
) -> None:
    path = write(tmp_path / "a.wav", noise(10_000), "PCM_16")
    wav = bytearray(path.read_bytes())
    at = wav.index(b"data")
    CHUNK.pack_into(wav, at, b"data", size)
    CHUNK.pack_into(wav, 0, b"RIFF", 0 if size == 0 else min(size + at, 0xFFFF_FFFF))
    done = micwire("send", "-", "--url", server.url, "--fast", data=bytes(wav))
    assert done.returncode == 0, done.stderr
    assert np.array_equal(sound_of(server.wav_at(done.stdout.strip())), sound_of(path.read_bytes()))


def test_what_follows_the_sound_on_standard_input_is_no_sound(
    server: Server, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.wav", noise(1_000), "PCM_16")
    done = micwire(
        "send", "-", "--url", server.url, "--fast", data=path.read_bytes() + b"LIST" + bytes(8)
    )
    assert "(1000 frames)" in done.stderr


def test_a_cut_off_file_is_sent_as_far_as_it_goes_and_said_so(
    server: Server, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.wav", noise(1_000), "PCM_16")
    path.write_bytes(path.read_bytes()[:-401])
    done = micwire("send", path, "--url", server.url, "--fast")
    assert done.returncode == 0
    assert "claims 4000 bytes" in done.stderr
    assert "(899 frames)" in done.stderr


def test_without_fast_it_takes_as_long_as_it_sounds(server: Server, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(66_150), "PCM_16")
    start = time.monotonic()
    assert micwire("send", path, "--url", server.url).returncode == 0
    assert 1.5 < time.monotonic() - start < 6


def test_the_first_interrupt_finishes_with_what_was_read(server: Server, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(44_100 * 20), "PCM_16")
    process = begin("send", path, "--url", server.url)
    wait_for_growth(server)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SIDE_EFFECT_S)
    assert process.returncode == 0, err
    stored = sound_of(server.wav_at(out.strip()))
    assert 0 < len(stored) < 44_100 * 15
    assert np.array_equal(stored, sound_of(path.read_bytes())[: len(stored)])
    [facts] = [facts for facts in server.sidecars() if facts["recording"] in out]
    assert facts["status"] == "finished"


def wait_for_growth(server: Server) -> None:
    deadline = time.monotonic() + SIDE_EFFECT_S
    while time.monotonic() < deadline:
        if any(facts["status"] == "recording" for facts in server.sidecars()):
            return
        time.sleep(0.05)
    raise AssertionError("nothing is being recorded")


def test_the_second_interrupt_gives_up(own_server: Server, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(44_100 * 20), "PCM_16")
    process = begin("send", path, "--url", own_server.url)
    wait_for_growth(own_server)
    own_server.process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None  # it waits for the server
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SIDE_EFFECT_S)
    own_server.process.send_signal(signal.SIGCONT)
    assert process.returncode == 130
    assert "given up" in err


def test_a_server_that_is_killed_on_the_way_is_waited_for(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    path = write(tmp_path / "a.wav", noise(44_100 * 3), "PCM_16")
    process = begin("send", path, "--url", server.url)
    wait_for_growth(server)
    server.process.kill()
    server.process.communicate()
    again = Server(tmp_path / "data", server.port)
    out, err = process.communicate(timeout=SIDE_EFFECT_S)
    assert process.returncode == 0, err
    assert np.array_equal(sound_of(again.wav_at(out.strip())), sound_of(path.read_bytes()))
    assert again.stop() == 0


def test_a_server_that_is_not_there_is_an_exit_code_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(100), "PCM_16")
    url = f"http://127.0.0.1:{free_port()}"
    done = micwire("send", path, "--url", url, "--connect-timeout", 0.5)
    assert done.returncode == 69
    assert url in done.stderr


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
    return port


def test_a_file_that_can_not_be_sent_is_named_with_the_reason(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no sound at all")
    for file, words in (
        (text, "not a WAV"),
        (tmp_path / "missing.wav", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        done = micwire("send", file)
        assert done.returncode == 2
        assert str(file) in done.stderr
        assert words in done.stderr or "not recognised" in done.stderr
    assert micwire("send", "-", data=b"RIFF").returncode == 2


def test_an_address_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(100), "PCM_16")
    done = micwire("send", path, "--url", "localhost:8000")
    assert (done.returncode, "http://127.0.0.1:8000" in done.stderr) == (2, True)


# ---- verify, repair, export, list -----------------------------------------------------------


@pytest.fixture(scope="module")
def finished(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the WAV of a finished recording whose title would like to steer terminals."""
    path = write(tmp_path_factory.mktemp("source") / "a.wav", noise(5_000), "PCM_16")
    title = "\x1b[31m[red]take 1"
    done = micwire("send", path, "--url", server.url, "--fast", "--title", title)
    assert done.returncode == 0
    [sidecar] = [
        path
        for path in server.data.glob("*/*.json")
        if json.loads(path.read_text())["title"] == title
    ]
    return sidecar.with_suffix(".wav")


@pytest.fixture
def recorded(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of that recording, alone in its data directory."""
    wav = tmp_path / "recordings" / finished.parent.name / finished.name
    wav.parent.mkdir(parents=True)
    shutil.copy(finished, wav)
    shutil.copy(finished.with_suffix(".json"), wav.with_suffix(".json"))
    return wav


def test_verify_tells_right_from_wrong_by_its_exit_code(recorded: Path) -> None:
    done = micwire("verify", recorded.parents[1])
    assert (done.returncode, done.stdout[:3]) == (0, "ok ")
    sound = bytearray(recorded.read_bytes())
    sound[-1] ^= 1
    recorded.write_bytes(sound)
    done = micwire("verify", recorded)
    assert done.returncode == 1
    assert done.stdout.startswith("WRONG")
    assert "digest" in done.stdout
    recorded.unlink()
    assert micwire("verify", recorded).returncode == 1  # its sidecar says that it was there
    assert micwire("verify", "nowhere").returncode == 2


def test_repair_mends_and_says_what_it_did(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(1_000), "PCM_16")
    path.write_bytes(path.read_bytes()[:-401])
    done = micwire("repair", path)
    assert done.returncode == 0
    assert "899 frames" in done.stdout
    with wave.open(str(path)) as mended:
        assert mended.getnframes() == 899


def test_repair_takes_the_format_of_a_file_without_header(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(44) + bytes(range(200)))
    assert micwire("repair", path).returncode == 1
    assert micwire("repair", path, "--assume", "pcm:1").returncode == 2
    assert micwire("repair", path, "--assume", "pcm_s16le:48000:2").returncode == 0
    with wave.open(str(path)) as mended:
        assert mended.readframes(1_000) == bytes(range(200))


def test_export_writes_the_plain_header_and_replaces_nothing_unasked(
    finished: Path, tmp_path: Path
) -> None:
    target, recorded = tmp_path / "plain.wav", finished
    assert micwire("export", recorded, target).returncode == 0
    assert target.stat().st_size == 44 + 5_000 * 4
    done = micwire("export", recorded, target)
    assert (done.returncode, "plain.wav" in done.stderr) == (73, True)
    assert micwire("export", recorded, target, "--overwrite").returncode == 0
    assert micwire("export", "nowhere.wav", tmp_path / "new.wav").returncode == 2


def test_export_encodes_as_the_suffix_says(recorded: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.wav"
    assert micwire("export", recorded, plain).returncode == 0
    heard = soundfile.read(str(plain), dtype="int16")[0].tolist()
    for name in ("a.flac", "b.OPUS", "c.mp3"):
        done = micwire("export", recorded, tmp_path / name)
        assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / name))
        again = micwire("export", recorded, tmp_path / name)
        assert (again.returncode, "exists" in again.stderr) == (73, True)
    assert soundfile.read(str(tmp_path / "a.flac"), dtype="int16")[0].tolist() == heard
    assert soundfile.info(str(tmp_path / "b.OPUS")).format == "OGG"
    done = micwire("export", recorded, tmp_path / "d.wma")
    assert (done.returncode, ".flac, .opus or .mp3" in done.stderr) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".part") == []


def test_export_with_tags_says_what_the_sidecar_says(recorded: Path, tmp_path: Path) -> None:
    target = tmp_path / "tagged.wav"
    assert micwire("export", recorded, target, "--tags").returncode == 0
    fields = json.loads(recorded.with_suffix(".json").read_text())
    read = WavInfoReader(target, info_encoding="utf-8")
    assert read.bext.originator_ref == fields["recording"].replace("-", "")
    assert read.data.frame_count == fields["frames"]


def test_list_shows_recordings_and_obeys_no_title(recorded: Path) -> None:
    data = recorded.parents[1]
    done = micwire("list", "--data", data)
    assert done.returncode == 0
    _, line = done.stdout.splitlines()
    assert str(recorded) in line
    assert "finished  0:00:00.1  pcm_s16le 44100 Hz 2 ch" in line
    assert "?[31m[red]take 1" in line
    assert "\x1b" not in done.stdout
    [facts] = json.loads(micwire("list", "--data", data, "--json").stdout)
    assert (facts["frames"], facts["path"], facts["seconds"]) == (5_000, str(recorded), 0.113379)


def test_list_finds_words_and_tags(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(1, title="Interview 1", tags=("pilot",))
    shelf.put(2, title="取材の録音", notes="Interview", tags=("pilot", "x"))
    shelf.put(3, title="Other", path="copied in")
    for words, found in {
        ("--search", "inter"): [2, 1],
        ("--search", "録音"): [2],
        ("--search", "?"): [],
        ("--tag", "pilot", "--tag", "x"): [2],
        ("--search", "other"): [3],
    }.items():
        done = micwire("list", "--data", tmp_path, "--json", *words)
        assert [facts["frames"] for facts in json.loads(done.stdout)] == found


def test_list_has_the_newest_first(tmp_path: Path) -> None:
    sidecar = {
        "format": {"encoding": "pcm_s16le", "sample_rate": 8_000, "channels": 1},
        "frames": 8_000,
    }
    names = ["2026-11-22/09-00-00_a", "2026-11-21/10-00-00_b", "2026-11-22/10-00-00_c"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.json").write_text(json.dumps(sidecar))
    (tmp_path / "2026-11-21" / "other.json").write_text("{}")
    done = micwire("list", "--data", tmp_path, "--json")
    assert [facts["path"][-5] for facts in json.loads(done.stdout)] == ["c", "a", "b"]
    assert "other.json" in done.stderr
    assert micwire("list", "--data", tmp_path / "nowhere").returncode == 2


# ---- serve ------------------------------------------------------------------------------------


def test_a_second_server_on_the_same_data_is_refused(server: Server) -> None:
    done = micwire("serve", "--port", 0, "--data", server.data)
    assert done.returncode == 73
    assert str(server.process.pid) in done.stderr


def test_a_port_that_is_taken_is_said(server: Server, tmp_path: Path) -> None:
    done = micwire("serve", "--port", server.port, "--data", tmp_path / "other")
    assert done.returncode == 69
    assert f"127.0.0.1:{server.port}" in done.stderr
    assert "--port" in done.stderr


def test_an_address_of_another_machine_is_said(tmp_path: Path) -> None:
    done = micwire("serve", "--host", "192.0.2.1", "--data", tmp_path)
    assert (done.returncode, "192.0.2.1" in done.stderr) == (69, True)


def test_a_data_directory_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = micwire("serve", "--port", 0, "--data", file)
    assert (done.returncode, str(file) in done.stderr) == (73, True)


@pytest.mark.parametrize(
    ("flags", "word"),
    [(("--port", 70_000), "port"), (("--allow-origin", "app.example"), "allow_origin")],
)
def test_a_setting_that_can_not_be_is_named(flags: tuple[object, ...], word: str) -> None:
    done = micwire("serve", *flags)
    assert (done.returncode, word in done.stderr) == (2, True)


def test_serve_ends_with_zero_when_it_is_asked_to(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        server = Server(tmp_path)
        os.kill(server.process.pid, number)
        _, err = server.process.communicate(timeout=SIDE_EFFECT_S)
        assert (server.process.returncode, "Traceback" in err) == (0, False)


# ---- all of it ---------------------------------------------------------------------------------


def test_help_names_every_command_and_shows_an_example_of_each() -> None:
    done = micwire("--help")
    assert done.returncode == 0
    for command in ("serve", "send", "verify", "repair", "export", "list"):
        assert f"  {command}" in done.stdout
        assert f"micwire {command}" in micwire(command, "--help").stdout
    assert micwire().returncode == 2
    assert micwire("sing").returncode == 2
    assert micwire("--version").stdout.startswith("micwire ")


def test_help_does_not_import_what_is_slow() -> None:
    slow = "numpy", "uvicorn", "starlette", "websockets", "pydantic", "asyncio"
    code = f"import sys, micwire.cli; print(sorted(sys.modules.keys() & {set(slow)}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_offers_its_names_and_no_others() -> None:
    import micwire as package

    assert {name for name in package.__all__ if getattr(package, name) is None} == set()
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = package.nonsense
