"""What the other tests stand on: microphones that count, browsers that die, links that break.

With a few lines of JavaScript in an empty page, so that no fault of the recorder shows here.
"""

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Playwright

from tests.browser.chrome import Chromium, fake_microphone
from tests.browser.firefox import Firefox, PageError
from tests.browser.harness import FAKE_MIC_RATE, hosted, place_signal
from tests.browser.link import Link
from tests.browser.places import Heard, compare, signal_of
from tests.browser.pulse import RATE, Pulse

RAW = """{ audio: { channelCount: { ideal: 2 }, echoCancellation: false,
    noiseSuppression: false, autoGainControl: false } }"""
BASE64 = """(floats) => {
    let text = "";
    for (const byte of new Uint8Array(Float32Array.from(floats).buffer))
        text += String.fromCharCode(byte);
    return btoa(text);
}"""
TRACK = f"""(async (seconds) => {{
    const stream = await navigator.mediaDevices.getUserMedia({RAW});
    const [track] = stream.getAudioTracks();
    const {{ readable }} = new MediaStreamTrackProcessor({{ track, maxBufferSize: 1000 }});
    const reader = readable.getReader(), floats = [];
    const plane = new Float32Array(1 << 16);
    const end = performance.now() + 1000 * seconds;
    while (performance.now() < end) {{
        const {{ value: data }} = await reader.read();
        const frames = data.numberOfFrames, start = floats.length;
        for (const planeIndex of [0, 1]) {{
            data.copyTo(plane, {{ planeIndex, format: "f32-planar" }});
            for (let n = 0; n < frames; n++) floats[start + 2 * n + planeIndex] = plane[n];
        }}
        data.close();
    }}
    track.stop();
    return ({BASE64})(floats);
}})(2)"""
WORKLET = """registerProcessor("tap", class extends AudioWorkletProcessor {
    process([input]) {
        if (input.length) this.port.postMessage(input.map((plane) => plane.slice()));
        return true;
    }
});"""
AUDIO_THREAD = f"""(async (seconds) => {{
    const stream = await navigator.mediaDevices.getUserMedia({RAW});
    const context = new AudioContext();
    await context.audioWorklet.addModule("tap.js");
    const tap = new AudioWorkletNode(context, "tap", {{ numberOfOutputs: 0 }});
    const floats = [];
    tap.port.onmessage = ({{ data: [left, right] }}) =>
        left.forEach((value, n) => floats.push(value, right[n]));
    context.createMediaStreamSource(stream).connect(tap);
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    await context.close();
    return ({BASE64})(floats);
}})(2)"""


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """The origin of an empty page."""
    directory = tmp_path / "page"
    directory.mkdir()
    (directory / "index.html").write_text("<!doctype html><button>press</button>")
    (directory / "tap.js").write_text(WORKLET)
    with hosted(directory) as origin:
        yield origin


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[Pulse]:
    """A sound system with one microphone."""
    with Pulse(tmp_path / "pulse") as pulse:
        pulse.plug_in("mic")
        yield pulse


def listen(browser: str, floats: str, places: int) -> Heard:
    """Compare what a page sent in Base64 with the microphone."""
    samples = np.frombuffer(base64.b64decode(floats), dtype="<i4").reshape(-1, 2)
    assert len(samples) > RATE
    return compare(samples, signal_of(place_signal(places), browser, "pcm_f32le", 2))


def test_chromium_reads_the_file_frame_by_frame(
    playwright: Playwright, microphone: Path, origin: str, tmp_path: Path
) -> None:
    with Chromium(playwright, tmp_path / "profile", *fake_microphone(microphone)) as browser:
        floats = browser.open(origin).evaluate(TRACK)
    assert listen("chromium", floats, 5 * FAKE_MIC_RATE).faults == []


def test_chromium_hears_pulseaudio_frame_by_frame(
    playwright: Playwright, pulse: Pulse, origin: str, tmp_path: Path
) -> None:
    with Chromium(playwright, tmp_path / "profile", environment=pulse.environment) as browser:
        floats = browser.open(origin).evaluate(TRACK)
    assert listen("chromium", floats, 60 * RATE).faults == []


def test_firefox_hears_pulseaudio_but_for_what_its_audio_thread_loses(
    pulse: Pulse, origin: str, tmp_path: Path
) -> None:
    with Firefox(tmp_path / "profile", pulse.environment) as firefox:
        floats = firefox.open(origin).evaluate(AUDIO_THREAD)
        assert firefox.complaints == []
    faults = listen("firefox", floats, 60 * RATE).faults
    assert {fault.kind for fault in faults} <= {"gap", "zeros", "repeat"}


def test_a_killed_chromium_opens_with_what_its_profile_kept(
    playwright: Playwright, origin: str, tmp_path: Path
) -> None:
    write = """async () => {
        const root = await navigator.storage.getDirectory();
        await root.getFileHandle("kept", { create: true });
    }"""
    with Chromium(playwright, tmp_path / "profile") as browser:
        browser.open(origin).evaluate(write)
        crashed = browser.open(origin)
        browser.crash(crashed)
        browser.kill()
    with Chromium(playwright, tmp_path / "profile") as browser:
        page = browser.open(origin)
        names = page.evaluate("""async () =>
            Array.fromAsync((await navigator.storage.getDirectory()).keys())""")
    assert names == ["kept"]


def test_firefox_clicks_complains_and_opens_with_what_its_profile_kept(
    origin: str, tmp_path: Path
) -> None:
    with Firefox(tmp_path / "profile") as firefox:
        tab = firefox.open(origin)
        tab.evaluate("""(async () => {
            const root = await navigator.storage.getDirectory();
            await root.getFileHandle("kept", { create: true });
            document.querySelector("button").onclick = ({ isTrusted }) => console.error(isTrusted);
        })()""")
        tab.click("document.querySelector('button')")
        with pytest.raises(PageError, match="told so"):
            tab.evaluate("Promise.reject(new Error('told so'))")
        tab.screenshot(tmp_path / "page.png")
        assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
        assert firefox.complaints == ["true"]
        firefox.kill()
    with Firefox(tmp_path / "profile") as firefox:
        tab = firefox.open(origin.replace("127.0.0.1", "insecure.test"))
        assert tab.evaluate("isSecureContext") is False
        tab.goto(origin)
        names = "(async () => Array.fromAsync((await navigator.storage.getDirectory()).keys()))()"
        assert tab.evaluate(names) == ["kept"]


def test_a_silenced_link_holds_what_is_sent_and_a_refused_one_breaks(
    playwright: Playwright, origin: str, tmp_path: Path
) -> None:
    load = """() => fetch(`/?${Math.random()}`, { signal: AbortSignal.timeout(1000) })
        .then(({ status }) => status, ({ name }) => name)"""
    with (
        Link(int(origin.rpartition(":")[2])) as link,
        Chromium(playwright, tmp_path / "profile") as browser,
    ):
        page = browser.open(link.address)
        assert page.evaluate(load) == 200
        link.silence()
        began = time.monotonic()
        assert page.evaluate(load) == "TimeoutError"
        assert time.monotonic() - began > 0.9
        link.refuse()
        assert page.evaluate(load) == "TypeError"
        link.restore()
        assert page.evaluate(load) == 200
