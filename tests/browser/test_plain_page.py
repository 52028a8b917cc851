"""The plain socket, by real pages in a real browser: what they sent is what the WAV holds."""

import base64
import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from tests.browser.conftest import MIC_S, OpenPage
from tests.browser.harness import (
    FAKE_MIC_RATE,
    ROOT,
    Server,
    Wire,
    as_stored,
    eventually,
    place_signal,
    read_wav,
)

TALK_MS = 1_200


def record(page: Page, milliseconds: int = TALK_MS) -> None:
    """Record for a while, and stop."""
    begin(page)
    page.wait_for_timeout(milliseconds)
    page.click("#button")
    expect(page.locator("#button")).to_have_text("Record")


def begin(page: Page) -> None:
    """Press the button and wait until the page records."""
    page.click("#button")
    expect(page.locator("#button")).to_have_text("Stop")


def memo(host: str, server: Server, channels: int) -> str:
    """Return the address of the smallest page that records."""
    return f"{host}/examples/memo.html?channels={channels}&server={server.address}"


def download(page: Page, path: Path) -> tuple[int, NDArray[np.int16]]:
    """Follow the page's link to the WAV; return its rate and samples."""
    address = page.locator("#wav").evaluate("link => link.href")
    path.write_bytes(page.request.get(address).body())
    return read_wav(path)


def places(samples: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return the place in the microphone's file that each stereo frame names; -1 for none."""
    file = place_signal(MIC_S * FAKE_MIC_RATE).astype(np.float64)
    heard = np.where(file > 0, file / 32_767, file / 32_768)  # as Chromium reads a file
    names = _name(as_stored(heard.astype(np.float32)))
    order = np.argsort(names)
    asked = _name(samples)
    found = order[np.searchsorted(names[order], asked).clip(0, len(order) - 1)]
    return np.where(names[found] == asked, found, -1)


def _name(samples: NDArray[np.int16]) -> NDArray[np.int64]:
    halves = samples.astype(np.int64) & 0xFFFF
    return (halves[:, 0] << 16) | halves[:, 1]


@pytest.mark.parametrize("channels", [1, 2], ids=["mono", "stereo"])
def test_the_wav_holds_exactly_what_the_page_sent(
    channels: int, open_page: OpenPage, server: Server, host: str, tmp_path: Path
) -> None:
    page = open_page("about:blank")
    wire = Wire(page)
    page.goto(memo(host, server, channels))
    record(page)
    rate, samples = download(page, tmp_path / "down.wav")
    sent = wire.samples(channels)
    assert wire.sent[-1] == "finish"
    assert len(sent) > FAKE_MIC_RATE / 2
    assert rate == FAKE_MIC_RATE
    assert np.array_equal(samples, as_stored(sent))
    if channels == 2:
        named = places(samples)
        # Browsers lose sound at the start of this kind of capture; not most of it, though.
        assert np.mean(np.diff(named) == 1) > 0.9


def test_the_memo_works_inside_another_application(open_page: OpenPage, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "embed.py")]
    with Server(tmp_path / "recordings", command) as server:
        page = open_page("about:blank")
        wire = Wire(page)
        page.goto(f"{server.address}/memo")
        record(page)
        _, samples = download(page, tmp_path / "down.wav")
        assert np.array_equal(samples, as_stored(wire.samples(1)))
        assert len(server.wavs()) == 1


def test_two_pages_at_once_make_two_files(
    open_page: OpenPage, server: Server, host: str, tmp_path: Path
) -> None:
    pages = [open_page("about:blank") for _ in range(2)]
    wires = [Wire(page) for page in pages]
    for page, channels in zip(pages, (1, 2), strict=True):
        page.goto(memo(host, server, channels))
        begin(page)
    pages[0].wait_for_timeout(TALK_MS)
    for page in pages:
        page.click("#button")
    for page, wire, channels in zip(pages, wires, (1, 2), strict=True):
        expect(page.locator("#button")).to_have_text("Record")
        _, samples = download(page, tmp_path / f"{channels}.wav")
        assert np.array_equal(samples, as_stored(wire.samples(channels)))
    assert wires[0].recording != wires[1].recording


# ---- messages of every kind ------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What a page is told to send, and what must come of it."""

    messages: Sequence[str | bytes | NDArray[np.float32]]
    channels: int = 1
    is_closing: bool = False
    """The page closes the socket itself, without `finish`."""
    code: int = 1000
    clipped: int = 0
    nonfinite: int = 0

    def samples(self) -> NDArray[np.float32]:
        """Return the samples of all good messages, in shape (frames, channels)."""
        good = [message.ravel() for message in self.messages if isinstance(message, np.ndarray)]
        return np.concatenate([np.zeros(0, np.float32), *good]).reshape(-1, self.channels)


def noise(frames: int, channels: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """Return noise that does not clip, shape (frames, channels)."""
    generator = np.random.default_rng(seed)
    return generator.uniform(-0.9, 0.9, (frames, channels)).astype(np.float32)


LOUD = np.array([[1.25], [-1.25], [1.0], [-1.0], [0.5], [1e30]], dtype=np.float32)
STRANGE = np.array([[np.nan], [0.25], [np.inf], [-np.inf], [-0.25]], dtype=np.float32)
HALVES = (np.arange(-6.5, 7, dtype=np.float32) / 32_768).astype(np.float32).reshape(-1, 1)

JOBS = {
    "large": Job([noise(16_384, seed=n) for n in range(4)] + ["finish"]),
    "large-stereo": Job([noise(16_384, 2, seed=n) for n in range(4)] + ["finish"], channels=2),
    "ragged": Job([noise(n, seed=n) for n in (1, 255, 7, 4_096, 1_023, 2)] + ["finish"]),
    "ragged-stereo": Job([noise(n, 2, seed=n) for n in (3, 1, 999)] + ["finish"], channels=2),
    "clipping": Job([noise(10), LOUD, "finish"], clipped=4),
    "not-numbers": Job([STRANGE, noise(10), "finish"], clipped=2, nonfinite=3),
    "halfway": Job([HALVES, "finish"]),
    "empty": Job([b"", noise(100), b"", b"", noise(28, seed=1), b"", "finish"]),
    "text": Job([noise(100), "hello", "{}", "", noise(100, seed=1), "finish"]),
    "closed-without-finish": Job([noise(2_048), noise(5, seed=1)], is_closing=True, code=1005),
    "odd-bytes": Job([noise(512), b"\0\0\0\0\0", "finish"], code=4400),
    "half-a-frame": Job([noise(512, 2), bytes(4), "finish"], channels=2, code=4400),
}


@pytest.fixture(scope="module")
def job_page(server: Server, host: str) -> str:
    """The address of the page that sends what it is told to."""
    return f"{host}/tests/browser/job.html"


@pytest.mark.parametrize("name", JOBS)
def test_whatever_a_page_sends_is_in_the_wav(
    name: str, open_page: OpenPage, server: Server, job_page: str, tmp_path: Path
) -> None:
    job = JOBS[name]
    page = open_page(job_page)
    before = set(server.wavs())
    address = server.address.replace("http", "ws")
    answer = page.evaluate(
        "([address, messages, isClosing]) => send(address, messages, isClosing)",
        [
            f"{address}/websocket?sample_rate=48000&channels={job.channels}&events=1",
            [_for_page(message) for message in job.messages],
            job.is_closing,
        ],
    )
    assert answer["code"] == job.code
    eventually(lambda: len(set(server.wavs()) - before) == 1)
    [path] = set(server.wavs()) - before
    recording = _sidecar_when_finished(server, path)
    rate, samples = read_wav(path)
    assert rate == 48_000
    assert np.array_equal(samples, as_stored(job.samples()))
    assert recording["clipped"] == job.clipped
    assert recording["nonfinite"] == job.nonfinite
    if job.code == 1000:
        assert answer["answers"][-1]["type"] == "finished"
        assert answer["answers"][-1]["frames"] == len(samples)
    elif job.code == 4400:
        assert answer["answers"][-1]["type"] == "error"
        assert answer["answers"][-1]["code"] == answer["reason"] == "bad-message"


def _for_page(message: str | bytes | NDArray[np.float32]) -> dict[str, str]:
    if isinstance(message, str):
        return {"text": message}
    data = message if isinstance(message, bytes) else message.astype("<f4").tobytes()
    return {"base64": base64.b64encode(data).decode()}


def _sidecar_when_finished(server: Server, wav: Path) -> dict[str, object]:
    sidecar = wav.with_suffix(".json")

    def is_finished() -> bool:
        return sidecar.exists() and '"status": "finished"' in sidecar.read_text()

    eventually(is_finished)
    facts: dict[str, object] = json.loads(sidecar.read_text())
    return facts


# ---- when the server is not there ------------------------------------------------------


def test_a_killed_server_leaves_a_wav_up_to_its_last_ack(
    open_page: OpenPage, host: str, tmp_path: Path
) -> None:
    data = tmp_path / "recordings"
    with Server.micwire(data, "--allow-origin", host) as server:
        page = open_page("about:blank", complaint="WebSocket is already in CLOSING")
        wire = Wire(page)
        page.goto(memo(host, server, 2))
        begin(page)
        expect(page.locator("#status")).to_have_text(re.compile(r"^safe on the server: 1\.\d s$"))
        while wire.acked < FAKE_MIC_RATE:  # what the page was told comes here later
            page.wait_for_timeout(20)
        server.kill()
    expect(page.locator("#status")).to_contain_text("what came after may be lost")
    acked = wire.acked
    again = ("--allow-origin", host, "--port", str(server.port))
    with Server.micwire(data, *again) as server:
        eventually(lambda: server.recording(wire.recording)["status"] == "interrupted")
        _, samples = download(page, tmp_path / "down.wav")
        sent = as_stored(wire.samples(2))
        assert FAKE_MIC_RATE <= acked <= len(samples) <= len(sent)
        assert np.array_equal(samples, sent[: len(samples)])
        record(page)  # the same page goes on with the new server
        assert len(server.wavs()) == 2


def test_a_page_that_may_not_record_here_says_so(
    open_page: OpenPage, own_server: Server, host: str
) -> None:
    page = open_page(
        f"{host}/examples/memo.html?server={own_server.address}", complaint="response code: 403"
    )
    page.click("#button")
    expect(page.locator("#status")).to_contain_text("safe on the server: nothing. The connection")
    assert page.locator("#wav").is_hidden()


def test_a_server_on_loopback_answers_to_no_name_of_somebody_else(server: Server) -> None:
    request = urllib.request.Request(f"{server.address}/healthz", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request)
    assert refusal.value.code == 403
    refusal.value.close()
