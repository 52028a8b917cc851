"""The recorder in Firefox: its capture can't be verified, and all that it captured is kept."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.firefox import Firefox, Tab
from tests.browser.harness import Server, eventually
from tests.browser.link import Link
from tests.browser.places import Heard
from tests.browser.pulse import RATE, Microphone, Pulse
from tests.browser.recorder_page import digest_of, heard

ELEMENT = "document.querySelector('micwire-recorder')"
KEPT = """(async () => {
    const root = await navigator.storage.getDirectory();
    const home = await root.getDirectoryHandle("micwire", { create: true });
    return Array.fromAsync(home.keys());
})()"""
LATE_FRAMES = RATE // 4
"""How far a page's knowledge may be behind the microphone: PulseAudio's and the audio thread's
blocks, and the worker's reports."""


@pytest.fixture(scope="module")
def pulse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pulse]:
    """A sound system."""
    with Pulse(tmp_path_factory.mktemp("pulse")) as pulse:
        yield pulse


@pytest.fixture
def microphone(pulse: Pulse) -> Iterator[Microphone]:
    """Its microphone."""
    yield pulse.plug_in("mic")
    pulse.pull_out("mic")


@pytest.fixture
def firefox(pulse: Pulse, microphone: Microphone, tmp_path: Path) -> Iterator[Firefox]:
    """A Firefox with that microphone, that a test may kill."""
    with Firefox(tmp_path / "profile", pulse.environment) as firefox:
        yield firefox


def visit(firefox: Firefox, address: str) -> Tab:
    """Open the page at /."""
    tab = firefox.open(address)
    tab.wait_for(
        f"{ELEMENT}?.status?.keeping && {ELEMENT}.shadowRoot.querySelector('option') !== null"
    )
    return tab


def button(name: str) -> str:
    """Return what finds a part of the recorder."""
    return f"{ELEMENT}.shadowRoot.querySelector('[data-testid={name}]')"


def begin(tab: Tab) -> str:
    """Press Record, in stereo; return the recording's id once sound is safe on the server."""
    tab.evaluate(f"{button('channels')}.value = '2'")
    tab.click(button("record"))
    tab.wait_for(f"{ELEMENT}.status.durableFrames > 0")
    return str(tab.evaluate(f"{ELEMENT}.status.recording"))


def stop(tab: Tab) -> Any:
    """Press Stop; return the receipt."""
    tab.click(button("stop"))
    return tab.wait_for(f"{ELEMENT}.status.receipt")


def assert_told(server: Server, recording: str, directory: Path, microphone: Microphone) -> Heard:
    """Assert that a recording is the microphone, but for what Firefox lost before the page."""
    facts = server.recording(recording)
    assert facts["status"] == "finished"
    assert facts["verifiable"] is False
    found = heard(server, recording, directory, "firefox", microphone.place)
    print(f"{facts['frames']} frames; declared: {facts['gaps']}; found: {found.faults}")
    assert facts["digest"] == digest_of(directory / f"{recording}.wav")
    # A browser that is late drops frames or fills in zeros. It alters and mixes nothing.
    assert {one.kind for one in found.faults} <= {"gap", "zeros", "repeat", "inexact"}
    assert sum(one.frames for one in found.faults) < RATE / 2
    return found


def test_what_firefox_hands_over_is_in_the_wav(
    firefox: Firefox, server: Server, microphone: Microphone, tmp_path: Path
) -> None:
    tab = visit(firefox, server.address)
    recording = begin(tab)
    time.sleep(3)
    receipt = stop(tab)
    found = assert_told(server, recording, tmp_path, microphone)
    assert receipt["matches"] is True
    assert receipt["verifiable"] is False
    assert abs(found.end - found.first - receipt["frames"]) < RATE / 10
    assert receipt["gaps"] == server.recording(recording)["gaps"]
    assert tab.evaluate(f"{ELEMENT}.status.sampleRate") == RATE
    assert tab.evaluate(f"{ELEMENT}.status.keeping") == "opfs"
    assert tab.evaluate(f"{button('receipt')}.querySelector('.note') !== null")
    assert tab.wait_for(f"{KEPT}.then((kept) => kept.length === 0)")
    assert firefox.complaints == []


def test_a_killed_server_costs_firefox_nothing(
    firefox: Firefox, own_server: Server, microphone: Microphone, tmp_path: Path
) -> None:
    tab = visit(firefox, own_server.address)
    recording = begin(tab)
    own_server.kill()
    tab.wait_for(f"{ELEMENT}.status.state === 'offline'", 6)
    time.sleep(1)
    captured = tab.evaluate(f"{ELEMENT}.status.capturedFrames")
    with Server.micwire(own_server.data, "--port", str(own_server.port)) as server:
        tab.wait_for(f"{ELEMENT}.status.durableFrames > {captured}")
        receipt = stop(tab)
        assert_told(server, recording, tmp_path, microphone)
        assert receipt["matches"] is True


@pytest.mark.parametrize("is_private", [False, True])
def test_a_closed_tab_is_finished_by_the_next(
    is_private: bool,
    pulse: Pulse,
    microphone: Microphone,
    own_server: Server,
    link: Link,
    tmp_path: Path,
) -> None:
    # Private windows have no file system of their own: there, sound is kept in IndexedDB.
    preferences = {"browser.privatebrowsing.autostart": is_private}
    with Firefox(tmp_path / "profile", pulse.environment, **preferences) as firefox:
        tab = visit(firefox, link.address)
        recording = begin(tab)
        assert tab.evaluate(f"{ELEMENT}.status.keeping") == ("indexeddb" if is_private else "opfs")
        link.refuse()
        time.sleep(2)
        captured = tab.evaluate(f"{ELEMENT}.status.capturedFrames")
        tab.close()
        link.restore()
        again = visit(firefox, link.address)
        eventually(lambda: own_server.recording(recording)["status"] == "finished", 20)
        found = assert_told(own_server, recording, tmp_path, microphone)
        assert found.end - found.first >= captured - LATE_FRAMES
        again.wait_for(f"{ELEMENT}.recorder.unfinished.every((one) => one.state === 'finished')")


def test_a_killed_firefox_costs_no_more_than_its_last_moment(
    firefox: Firefox,
    pulse: Pulse,
    microphone: Microphone,
    own_server: Server,
    link: Link,
    tmp_path: Path,
) -> None:
    tab = visit(firefox, link.address)
    recording = begin(tab)
    link.refuse()
    time.sleep(2)
    place = microphone.place
    firefox.kill()
    link.restore()
    with Firefox(tmp_path / "profile", pulse.environment) as reopened:
        visit(reopened, link.address)
        eventually(lambda: own_server.recording(recording)["status"] == "finished", 20)
        found = assert_told(own_server, recording, tmp_path, microphone)
        print(f"{(place - found.end) / RATE * 1000:.0f} ms of the microphone are missing")
        assert place - found.end < LATE_FRAMES


def test_a_microphone_pulled_out_of_firefox_begins_the_next_part_at_its_return(
    firefox: Firefox, pulse: Pulse, server: Server, microphone: Microphone, tmp_path: Path
) -> None:
    tab = visit(firefox, server.address)
    begin(tab)
    # Chosen by name: Firefox would take the loudspeaker's monitor for the next microphone.
    tab.evaluate(f"""(async () => {{
        const all = await navigator.mediaDevices.enumerateDevices();
        await {ELEMENT}.recorder.setDevice(all.find(({{ label }}) => label === "mic").deviceId);
    }})()""")
    tab.wait_for(f"{ELEMENT}.status.part === 1 && {ELEMENT}.status.durableFrames > 24000")
    pulse.pull_out("mic")
    tab.wait_for(f"{ELEMENT}.status.error?.code === 'device-gone'", 5)
    time.sleep(0.5)
    later = pulse.plug_in("mic")
    tab.wait_for(f"{ELEMENT}.status.part === 2 && {ELEMENT}.status.durableFrames > 24000", 8)
    parts = stop(tab)["parts"]
    for part, source in zip(parts, (microphone, microphone, later), strict=True):
        found = assert_told(server, part["recording"], tmp_path, source)
        assert abs(found.end - found.first - part["frames"]) < RATE / 10
