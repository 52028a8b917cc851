"""Fixtures of the browser tests: one Chromium, server and foreign host for each test file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, sync_playwright

from tests.browser.chrome import FLAGS, fake_microphone
from tests.browser.harness import (
    CHROMIUM,
    FAKE_MIC_RATE,
    ROOT,
    Server,
    hosted,
    place_signal,
    write_wav,
)
from tests.browser.link import Link

MIC_S = 120
PLACES = MIC_S * FAKE_MIC_RATE
"""The frames of the microphone."""
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
def playwright() -> Iterator[Playwright]:
    """What speaks to Chromium."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WAV as Chromium's microphone, that counts its frames."""
    path = tmp_path_factory.mktemp("mic") / "places.wav"
    samples = place_signal(MIC_S * FAKE_MIC_RATE)
    samples[-_REPEATED_FRAMES:] = 0
    write_wav(path, samples, FAKE_MIC_RATE)
    return path


@pytest.fixture(scope="module")
def chromium(playwright: Playwright, microphone: Path) -> Iterator[Browser]:
    """Chromium, with that microphone."""
    flags = [*FLAGS, *fake_microphone(microphone)]
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
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may kill."""
    with Server.micwire(tmp_path / "recordings") as server:
        yield server


@pytest.fixture
def link(own_server: Server) -> Iterator[Link]:
    """The way to that server, which a test may harm."""
    with Link(own_server.port) as link:
        yield link


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
