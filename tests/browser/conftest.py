"""Fixtures of the browser tests: one Chromium, server and foreign host for each test file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.browser.harness import (
    CHROMIUM,
    FAKE_MIC_RATE,
    ROOT,
    Server,
    hosted,
    place_signal,
    write_wav,
)

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    # A name that is not loopback, and so no secure context over plain http.
    "--host-resolver-rules=MAP insecure.test 127.0.0.1",
)
MIC_S = 20
_REPEATED_FRAMES = 882
"""Chromium repeats the end of the file for ever: it is to be silent."""

OpenPage = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this directory."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


# One per file, not per session: Playwright leaves an event loop running in this thread.
@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, with a microphone that counts its frames."""
    mic = tmp_path_factory.mktemp("mic") / "places.wav"
    samples = place_signal(MIC_S * FAKE_MIC_RATE)
    samples[-_REPEATED_FRAMES:] = 0
    write_wav(mic, samples, FAKE_MIC_RATE)
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={mic}%noloop"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """The origin of another web application, which shows the files of this checkout."""
    with hosted(ROOT) as origin:
        yield origin


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, host: str) -> Iterator[Server]:
    """A server on which pages of `host` may record."""
    data = tmp_path_factory.mktemp("server") / "recordings"
    with Server.micwire(data, "--allow-origin", host) as server:
        yield server


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """Opens pages in a fresh profile; whatever they complain of on the console is a failure.

    A page that is to complain is opened with `complaint`, a part of the line it writes.
    """
    context = chromium.new_context(permissions=["microphone"])
    unexpected: list[str] = []

    def open_one(address: str, *, complaint: str | None = None, script: str = "") -> Page:
        def on_console(message: ConsoleMessage) -> None:
            if message.type == "error" and (complaint is None or complaint not in message.text):
                unexpected.append(message.text)

        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", on_console)
        page.on("pageerror", lambda error: unexpected.append(str(error)))
        if script:
            page.add_init_script(script)
        page.goto(address)
        return page

    yield open_one
    context.close()
    assert not unexpected
