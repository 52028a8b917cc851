"""Firefox, spoken to by WebDriver BiDi over its own WebSocket: no driver, no library.

Only what these tests need: tabs, JavaScript and its answers, true clicks, what pages
complain of, pictures, and an end by SIGKILL after which the same profile goes on.
"""

import base64
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

from tests.browser.harness import eventually

FIREFOX = "/usr/bin/firefox-esr"
_PREFERENCES: dict[str, bool | int | str] = {
    "app.update.disabledForTesting": True,
    "browser.aboutwelcome.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.sessionstore.resume_from_crash": False,
    "browser.startup.homepage": "about:blank",
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "media.autoplay.default": 0,
    "media.navigator.permission.disabled": True,
    # A name that is not loopback, and so no secure context over plain http.
    "network.dns.localDomains": "insecure.test",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.startup.max_resumed_crashes": -1,
    "toolkit.telemetry.enabled": False,
}


class PageError(Exception):
    """JavaScript that was to be evaluated in a page threw."""


class Firefox:
    """A headless Firefox; a context manager that ends it.

    Args:
        profile: Directory of the profile; used again, it is the same person's browser.
        environment: Beside that of this process, such as `Pulse.environment`.
        preferences: Beside and before those that keep it off the network.
    """

    def __init__(
        self,
        profile: Path,
        environment: Mapping[str, str] | None = None,
        **preferences: bool | int | str,
    ) -> None:
        profile.mkdir(parents=True, exist_ok=True)
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in (_PREFERENCES | preferences).items()
        ]
        (profile / "user.js").write_text("".join(lines))
        ready = profile / "WebDriverBiDiServer.json"
        ready.unlink(missing_ok=True)
        command = [FIREFOX, "--headless", "--no-remote", "--profile", str(profile)]
        self._process = subprocess.Popen(
            [*command, "--remote-debugging-port", "0"],
            env=os.environ | {"MOZ_CRASHREPORTER_DISABLE": "1"} | dict(environment or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.complaints: list[str] = []
        """What pages wrote to the console as errors, and what they did not catch."""
        self._ids = 0
        self._open = contextlib.ExitStack()
        try:
            self._socket = self._connect(ready)
            self._command("session.new", capabilities={})
            self._command("session.subscribe", events=["log.entryAdded"])
        except BaseException:
            self.kill()
            raise

    def _connect(self, ready: Path) -> ClientConnection:
        eventually(lambda: ready.exists() and ready.read_text().endswith("}"), 30)
        at = json.loads(ready.read_text())
        address = f"ws://{at['ws_host']}:{at['ws_port']}/session"
        return self._open.enter_context(connect(address, max_size=None, ping_interval=None))

    def _command(self, method: str, timeout_s: float = 60.0, **parameters: object) -> Any:
        self._ids += 1
        self._socket.send(json.dumps({"id": self._ids, "method": method, "params": parameters}))
        deadline = time.monotonic() + timeout_s
        while True:
            answer = json.loads(self._socket.recv(deadline - time.monotonic()))
            if answer["type"] == "event":
                self._hear(answer["method"], answer["params"])
            elif answer.get("id") == self._ids:
                break
        assert answer["type"] == "success", answer
        return answer["result"]

    def _hear(self, method: str, parameters: Any) -> None:
        if method == "log.entryAdded" and parameters["level"] == "error":
            self.complaints.append(str(parameters["text"]))

    def open(self, address: str) -> "Tab":
        """Open a page in a tab of its own; return when it has loaded."""
        context = self._command("browsingContext.create", type="tab")["context"]
        tab = Tab(self, str(context))
        tab.goto(address)
        return tab

    def kill(self) -> None:
        """End it, and all of its processes, with SIGKILL."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it as a person would; nothing happens if it has ended."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                self._command("browser.close", timeout_s=10)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self._process.wait(10)
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Tab:
    """One tab of a `Firefox`; made by `Firefox.open`."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._context = context

    def goto(self, address: str) -> None:
        """Load another page in this tab."""
        self._firefox._command(
            "browsingContext.navigate", context=self._context, url=address, wait="complete"
        )

    def evaluate(self, expression: str, timeout_s: float = 60.0) -> Any:
        """Return the JSON value of an expression, or of what it promises.

        Raises:
            PageError: It threw.
        """
        result = self._firefox._command(
            "script.evaluate",
            timeout_s,
            expression=f"(async () => JSON.stringify((await ({expression})) ?? null))()",
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        if result["type"] == "exception":
            raise PageError(result["exceptionDetails"]["text"])
        return json.loads(result["result"]["value"])

    def wait_for(self, expression: str, timeout_s: float = 15.0) -> Any:
        """Return the value of an expression once it is true."""
        deadline = time.monotonic() + timeout_s
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"not in time: {expression}"
            time.sleep(0.05)
        return value

    def click(self, element: str) -> None:
        """Click on the middle of the element that an expression names, as a mouse does."""
        x, y = self.evaluate(f"""(async (element) => {{
            element.scrollIntoView({{ block: "center", behavior: "instant" }});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2].map(Math.round);
        }})({element})""")
        steps = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": steps}
        self._firefox._command("input.performActions", context=self._context, actions=[mouse])

    def screenshot(self, path: Path) -> None:
        """Write a picture of what is seen of the page, as PNG."""
        picture = self._firefox._command("browsingContext.captureScreenshot", context=self._context)
        path.write_bytes(base64.b64decode(picture["data"]))

    def close(self) -> None:
        """Close it without asking the page."""
        self._firefox._command("browsingContext.close", context=self._context, promptUnload=False)
