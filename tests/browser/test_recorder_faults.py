"""Servers that die or freeze, networks that go: nothing is lost, and the page says what is so."""

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.harness import Server
from tests.browser.link import Link
from tests.browser.recorder_page import (
    RecorderPage,
    assert_honest,
    assert_whole,
    expect_nothing_kept,
)


@pytest.fixture
def page(open_page: OpenPage) -> RecorderPage:
    """A page that may complain of sockets that break: that is what these tests do."""
    return RecorderPage(open_page("about:blank", complaint="WebSocket"))


def test_a_blocked_main_thread_costs_no_frame(
    page: RecorderPage, server: Server, tmp_path: Path
) -> None:
    page.open(server.address).begin()
    page.page.evaluate("""() => {
        const end = performance.now() + 2000;
        while (performance.now() < end);
    }""")
    page.talk(0.5)
    assert_whole(server, page.stop(), tmp_path)


@contextmanager
def _busy(processes: int) -> Iterator[None]:
    """Keep all cores busy, as another program would."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_spin, daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _spin() -> None:
    while True:
        pass


def test_busy_cores_cost_no_frame(page: RecorderPage, server: Server, tmp_path: Path) -> None:
    page.open(server.address)
    with _busy(4):
        page.begin()
        page.talk(4)
        receipt = page.stop(30)
    assert_whole(server, receipt, tmp_path)
    assert_honest(page.shown)


def assert_back_soon(page: RecorderPage, durable: int) -> None:
    """Assert that within three seconds from now more is safe, and that the page says so."""
    began = time.monotonic()
    page.wait_until(f"status.durableFrames > {durable}", 10)
    took = time.monotonic() - began
    print(f"reconnected {took:.2f} s after the server's return")
    assert took < 3
    page.wait_until("status.state === 'recording'", 5)


def test_a_killed_server_costs_nothing_and_is_found_again_within_seconds(
    page: RecorderPage, own_server: Server, tmp_path: Path
) -> None:
    page.open(own_server.address).begin()
    page.talk(1)
    own_server.kill()
    page.wait_until("status.state === 'offline'", 5)
    page.talk(3)
    durable = page.status["durableFrames"]
    captured, kept = (page.status[name] for name in ("capturedFrames", "keptFrames"))
    assert captured - kept < 44_100
    with Server.micwire(own_server.data, "--port", str(own_server.port)) as server:
        assert_back_soon(page, durable)
        page.talk(0.5)
        found = assert_whole(server, page.stop(), tmp_path)
        assert found.end - found.first >= captured
        expect_nothing_kept(page)
    assert_honest(page.shown)


def test_a_frozen_server_costs_nothing(
    page: RecorderPage, own_server: Server, tmp_path: Path
) -> None:
    page.open(own_server.address).begin()
    own_server.pause()
    page.wait_until("status.state === 'offline'", 5)
    page.talk(6)
    durable = page.status["durableFrames"]
    own_server.resume()
    assert_back_soon(page, durable)
    assert_whole(own_server, page.stop(), tmp_path)
    expect_nothing_kept(page)
    assert_honest(page.shown)


def test_a_network_that_swallows_everything_costs_nothing(
    page: RecorderPage, own_server: Server, link: Link, tmp_path: Path
) -> None:
    page.open(link.address).begin()
    link.silence()
    page.wait_until("status.state === 'offline'", 5)
    page.talk(4)
    durable = page.status["durableFrames"]
    link.restore()
    assert_back_soon(page, durable)
    assert_whole(own_server, page.stop(), tmp_path)
    expect_nothing_kept(page)
    assert_honest(page.shown)


def test_a_network_that_comes_and_goes_costs_nothing(
    page: RecorderPage, own_server: Server, link: Link, tmp_path: Path
) -> None:
    page.open(link.address).begin()
    rng = random.Random(5)
    for _ in range(20):
        page.talk(rng.uniform(0.05, 0.9))
        rng.choice([link.refuse, link.silence, link.restore, link.restore])()
    link.restore()
    assert_whole(own_server, page.stop(30), tmp_path)
    expect_nothing_kept(page)
    assert_honest(page.shown)


def test_a_minute_without_network_costs_nothing(
    page: RecorderPage, own_server: Server, link: Link, tmp_path: Path
) -> None:
    page.open(link.address).begin()
    link.refuse()
    page.wait_until("status.state === 'offline'", 5)
    page.talk(58)
    last = page.shown[-1]
    assert last.captured >= 58
    assert last.captured - last.kept <= 1
    assert last.safe <= 3
    durable = page.status["durableFrames"]
    link.restore()
    assert_back_soon(page, durable)
    assert_whole(own_server, page.stop(20), tmp_path)
    expect_nothing_kept(page)
    assert_honest(page.shown)


def test_what_is_shown_as_safe_is_there_after_the_servers_death(
    page: RecorderPage, own_server: Server, link: Link
) -> None:
    recording = page.open(link.address).begin()
    page.talk(2.2)
    own_server.kill()
    link.refuse()
    page.talk(0.5)
    status, shown = page.status, page.shown[-1]
    with Server.micwire(own_server.data, "--port", str(own_server.port)) as server:
        frames = int(str(server.recording(recording)["frames"]))
        assert frames >= status["durableFrames"] >= shown.safe * status["sampleRate"] > 0


def test_stop_while_the_server_is_away_is_finished_at_its_return(
    page: RecorderPage, own_server: Server, tmp_path: Path
) -> None:
    page.open(own_server.address).begin()
    own_server.kill()
    page.talk(1)
    page.at("stop").click()
    page.wait_until("status.state === 'finishing'")
    page.talk(1)
    assert page.status["receipt"] is None
    shown = page.shown[-1]
    assert (shown.state, shown.safe < shown.captured) == ("finishing", True)
    with Server.micwire(own_server.data, "--port", str(own_server.port)) as server:
        assert_whole(server, page.receipt(), tmp_path)
        expect_nothing_kept(page)
    assert_honest(page.shown)
