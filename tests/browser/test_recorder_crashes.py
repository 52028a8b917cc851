"""Tabs that are closed, renderers that crash, browsers that are killed: the next visit finishes.

Each test has a browser and a profile of its own: what is in the profile is what survives.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Playwright, expect

from tests.browser.chrome import Chromium, fake_microphone
from tests.browser.harness import FAKE_MIC_RATE, Server, eventually
from tests.browser.link import Link
from tests.browser.places import Heard
from tests.browser.recorder_page import (
    RecorderPage,
    digest_of,
    expect_nothing_kept,
    heard,
)

TAIL_FRAMES = FAKE_MIC_RATE * 50 // 1000
"""What a dead browser may take with it: what the microphone said within its last 50 ms."""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A new profile."""
    return tmp_path / "profile"


@pytest.fixture
def browser(playwright: Playwright, profile: Path, microphone: Path) -> Iterator[Chromium]:
    """A browser that a test may kill."""
    with Chromium(playwright, profile, *fake_microphone(microphone)) as browser:
        yield browser


def visit(browser: Chromium, address: str) -> RecorderPage:
    """Open the recorder in a tab of its own."""
    return RecorderPage(browser.context.new_page()).open(address)


def assert_saved(server: Server, recording: str, captured: int, directory: Path) -> Heard:
    """Assert that a recording was finished without its page, whole but for its last moment."""
    eventually(lambda: server.recording(recording)["status"] == "finished", 15)
    facts = server.recording(recording)
    found = heard(server, recording, directory, "chromium", captured + 10 * FAKE_MIC_RATE)
    assert found.faults == [], found
    assert facts["gaps"] == []
    assert facts["frames"] == found.end - found.first
    print(f"{found.end - found.first - captured} frames more than the page had told of")
    assert found.end - found.first >= captured - TAIL_FRAMES
    assert facts["digest"] == digest_of(directory / f"{recording}.wav")
    assert len(server.wavs()) == 1
    return found


def test_a_tab_that_was_closed_is_finished_by_the_next_one(
    browser: Chromium, own_server: Server, tmp_path: Path
) -> None:
    page = visit(browser, own_server.address)
    recording = page.begin()
    page.talk(1.5)
    captured = page.status["capturedFrames"]
    page.page.close(run_before_unload=False)
    again = visit(browser, own_server.address)
    assert_saved(own_server, recording, captured, tmp_path)
    again.wait_until("unfinished.every(({ state }) => state === 'finished')")
    assert again.kept_recordings() == []


def test_a_tab_that_was_closed_without_network_is_finished_by_the_next_one(
    browser: Chromium, own_server: Server, link: Link, tmp_path: Path
) -> None:
    page = visit(browser, link.address)
    recording = page.begin()
    link.refuse()
    page.talk(2)
    captured, durable = (page.status[name] for name in ("capturedFrames", "durableFrames"))
    assert captured > durable + FAKE_MIC_RATE
    page.page.close(run_before_unload=False)
    link.restore()
    again = visit(browser, link.address)
    assert_saved(own_server, recording, captured, tmp_path)
    again.wait_until("unfinished.every(({ state }) => state === 'finished')")
    assert again.kept_recordings() == []


def test_a_crashed_renderer_costs_no_more_than_its_last_moment(
    browser: Chromium, own_server: Server, link: Link, tmp_path: Path
) -> None:
    page = visit(browser, link.address)
    recording = page.begin("pcm_s16le")
    link.refuse()
    page.talk(2)
    captured = page.status["capturedFrames"]
    browser.crash(page.page)
    link.restore()
    visit(browser, link.address)
    assert_saved(own_server, recording, captured, tmp_path)


@pytest.mark.parametrize("is_online", [True, False])
def test_a_killed_browser_costs_no_more_than_its_last_moment(
    is_online: bool,
    browser: Chromium,
    playwright: Playwright,
    profile: Path,
    microphone: Path,
    own_server: Server,
    link: Link,
    tmp_path: Path,
) -> None:
    page = visit(browser, link.address)
    recording = page.begin()
    if not is_online:
        link.refuse()
    page.talk(2)
    captured = page.status["capturedFrames"]
    browser.kill()
    link.restore()
    with Chromium(playwright, profile, *fake_microphone(microphone)) as reopened:
        again = visit(reopened, link.address)
        assert_saved(own_server, recording, captured, tmp_path)
        again.wait_until("unfinished.every(({ state }) => state === 'finished')")
        assert again.kept_recordings() == []


def test_a_browser_killed_without_server_keeps_all_until_there_is_one(
    browser: Chromium,
    playwright: Playwright,
    profile: Path,
    microphone: Path,
    own_server: Server,
    link: Link,
    tmp_path: Path,
) -> None:
    page = visit(browser, link.address)
    recording = page.begin()
    own_server.kill()
    page.talk(1)
    captured = page.status["capturedFrames"]
    browser.kill()
    with (
        Chromium(playwright, profile, *fake_microphone(microphone)) as reopened,
        Server.micwire(own_server.data, "--port", str(own_server.port)) as server,
    ):
        again = visit(reopened, link.address)
        assert_saved(server, recording, captured, tmp_path)
        again.wait_until("unfinished.every(({ state }) => state === 'finished')")


def test_a_second_tab_spoils_nothing_and_takes_over_once_the_first_is_closed(
    browser: Chromium, own_server: Server, tmp_path: Path
) -> None:
    first = visit(browser, own_server.address)
    recording = first.begin()
    second = visit(browser, own_server.address)
    second.wait_until("unfinished.some(({ state }) => state === 'elsewhere')")
    expect(second.at("unfinished").locator("li[data-recording]")).to_have_count(1)
    second.talk(1)
    assert first.status["state"] == "recording"
    captured = first.status["capturedFrames"]
    first.page.close(run_before_unload=False)
    assert_saved(own_server, recording, captured, tmp_path)
    second.wait_until("unfinished.every(({ state }) => state === 'finished')")
    assert second.kept_recordings() == []


def test_what_a_stopped_browser_missed_is_declared_to_the_buffer(
    browser: Chromium, own_server: Server, tmp_path: Path
) -> None:
    page = visit(browser, own_server.address)
    recording = page.begin()
    page.talk(0.5)
    with browser.stopped():
        time.sleep(3)
    page.wait_until("status.gaps.length > 0")
    page.talk(1)
    receipt = page.stop()
    found = heard(own_server, recording, tmp_path, "chromium", 20 * FAKE_MIC_RATE)
    assert found.faults == []
    assert receipt["gaps"] == own_server.recording(recording)["gaps"]
    lost = sum(gap["frames"] for gap in receipt["gaps"])
    # The fake microphone goes on where it was: what is zeros was never said, and is as long.
    assert abs(lost - 3 * FAKE_MIC_RATE) < FAKE_MIC_RATE / 5
    assert found.end - found.first == receipt["frames"] - lost
    assert receipt["matches"] is True


def test_two_tabs_record_at_once(browser: Chromium, own_server: Server, tmp_path: Path) -> None:
    pages = [visit(browser, own_server.address) for _ in range(2)]
    recordings = [page.begin() for page in pages]
    pages[0].talk(1.5)
    for page, recording in zip(pages, recordings, strict=True):
        receipt = page.stop()
        found = heard(own_server, recording, tmp_path, "chromium", 20 * FAKE_MIC_RATE)
        assert (found.faults, found.end - found.first) == ([], receipt["frames"])
        assert receipt["matches"] is True
    expect_nothing_kept(pages[0])
