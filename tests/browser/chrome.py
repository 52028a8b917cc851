"""Chromium as a process that can be killed, with a profile that outlives it.

Playwright speaks to it from outside, so that the browser's death is only the browser's.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright

from tests.browser.harness import CHROMIUM, eventually

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
    "--autoplay-policy=no-user-gesture-required",
    # A name that is not loopback, and so no secure context over plain http.
    "--host-resolver-rules=MAP insecure.test 127.0.0.1",
)


def fake_microphone(file: Path) -> tuple[str, ...]:
    """Return the flags that make a WAV the microphone, from its start each time it is opened."""
    return (
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={file}%noloop",
    )


class Chromium:
    """A headless Chromium; a context manager that ends it.

    Args:
        playwright: What speaks to it.
        profile: Directory of the profile; used again, it is the same person's browser.
        flags: Beside `FLAGS`: which microphone it has.
        environment: Beside that of this process, such as `Pulse.environment`.
    """

    def __init__(
        self,
        playwright: Playwright,
        profile: Path,
        *flags: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        profile.mkdir(parents=True, exist_ok=True)
        ready = profile / "DevToolsActivePort"
        ready.unlink(missing_ok=True)
        for lock in profile.glob("Singleton*"):
            lock.unlink()  # of a killed one; this profile has no other
        self._process = subprocess.Popen(
            [
                CHROMIUM,
                *FLAGS,
                *flags,
                f"--user-data-dir={profile}",
                "--remote-debugging-port=0",
                "about:blank",
            ],
            env=os.environ | dict(environment or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            eventually(lambda: ready.exists() and "\n" in ready.read_text(), 20)
            port = ready.read_text().partition("\n")[0]
            address = f"http://127.0.0.1:{port}"
            self._browser: Browser = playwright.chromium.connect_over_cdp(address)
        except BaseException:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise

    @property
    def pid(self) -> int:
        """The browser's process, whose descendants the others are."""
        return self._process.pid

    @property
    def context(self) -> BrowserContext:
        """The profile's own context."""
        return self._browser.contexts[0]

    def open(self, address: str) -> Page:
        """Open a page in a tab of its own."""
        page = self.context.new_page()
        page.set_default_timeout(15_000)
        page.goto(address)
        return page

    @staticmethod
    def crash(page: Page) -> None:
        """Crash the renderer of a page, as a bug in the browser would."""
        with contextlib.suppress(Error):
            page.goto("chrome://crash")

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let none of its processes run, as on a machine that sleeps."""
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it, and all of its processes, with SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        with contextlib.suppress(Error):
            self._browser.close()

    def close(self) -> None:
        """End it as a person would; nothing happens if it has ended."""
        if self._process.poll() is None:
            with contextlib.suppress(Error):
                session = self._browser.new_browser_cdp_session()
                session.send("Browser.close")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
