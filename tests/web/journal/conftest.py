"""Fixtures of the journal's tests: a browser's worker that keeps sound, in an origin of its own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright, sync_playwright

from tests.browser.chrome import Chromium
from tests.browser.firefox import Firefox, Tab
from tests.browser.harness import ROOT, hosted

Browser = Chromium | Firefox
Start = Callable[[Path], Browser]
"""Starts a browser with a profile; again with that of one that was killed."""
PAGE = "/tests/web/journal/page.html"


class Worker:
    """A tab whose worker does the jobs of this directory's JavaScript files."""

    def __init__(self, tab: Page | Tab) -> None:
        self.tab = tab
        self._is_closed = False

    @staticmethod
    def opened(browser: Browser, host: str) -> "Worker":
        """Open one in a browser, in a tab of its own."""
        return Worker(browser.open(host + PAGE))

    def close(self) -> None:
        """Close the tab without asking it; twice is once."""
        if not self._is_closed:
            self._is_closed = True
            self.tab.close()

    def run(self, job: str, *given: object) -> object:
        """Return what a job returns; a job that throws is an error here."""
        return self.tab.evaluate(self._call(job, given))

    def facts(self, job: str, *given: object) -> dict[str, float]:
        """Return the numbers that a job returns."""
        found = self.run(job, *given)
        assert isinstance(found, dict)
        return found

    def begin(self, job: str, *given: object) -> None:
        """Let a job run; `answer` says what became of it."""
        self.tab.evaluate(
            f"""void {self._call(job, given)}.then(
                (value) => (window.answer = {{ value }}),
                (error) => (window.answer = {{ error: String(error) }}),
            )"""
        )

    def answer(self) -> object:
        """Return what became of the job that was let run; None while it runs."""
        return self.tab.evaluate("window.answer ?? null")

    @staticmethod
    def _call(job: str, given: tuple[object, ...]) -> str:
        return f"run({', '.join(json.dumps(one) for one in (job, *given))})"


OpenWorker = Callable[[], Worker]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this directory."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """What speaks to Chromium."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def start(request: pytest.FixtureRequest, playwright: Playwright) -> Start:
    """How to start the browser that the test is about."""
    if request.param == "firefox":
        return Firefox
    return lambda profile: Chromium(playwright, profile)


@pytest.fixture(scope="module")
def browser(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for each test file."""
    with start(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def host() -> Iterator[str]:
    """An origin for each test: what another left is not in it."""
    with hosted(ROOT) as origin:
        yield origin


@pytest.fixture
def open_worker(browser: Browser, host: str) -> Iterator[OpenWorker]:
    """Opens tabs; they are closed in the end."""
    workers: list[Worker] = []

    def open_one() -> Worker:
        workers.append(Worker.opened(browser, host))
        return workers[-1]

    yield open_one
    for worker in workers:
        worker.close()


@pytest.fixture
def worker(open_worker: OpenWorker) -> Worker:
    """One tab."""
    return open_worker()


@pytest.fixture(params=["opfs", "indexeddb", "memory"])
def kind(request: pytest.FixtureRequest) -> str:
    """Where the sound is kept."""
    return str(request.param)
