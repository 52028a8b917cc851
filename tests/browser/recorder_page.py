"""A page with <micwire-recorder>, as a test works it: by its buttons, and by what it shows.

Also what a recording has to be in the end, whatever befell it: `assert_whole`.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.harness import Server, eventually
from tests.browser.places import Heard, check_wav

PIECE_BYTES = 1 << 20
_DELAY_S = 0.5
"""What a busy machine may be late."""
_LENGTH = re.compile(r"(?:(\d+):)?(\d+) (?:s|min)")

# Notes what the page shows, 20 times a second, for as long as it lives.
_WATCH = """() => {
    window.shown = [];
    const root = document.querySelector("micwire-recorder").shadowRoot;
    const text = (id) => root.querySelector(`[data-testid=${id}]`).textContent;
    setInterval(() => window.shown.push({
        at: performance.now() / 1000,
        state: document.querySelector("micwire-recorder").status.state,
        durable: document.querySelector("micwire-recorder").status.durableFrames,
        captured: text("captured"), kept: text("kept"), safe: text("safe"), words: text("state"),
    }), 50);
}"""


@dataclass(frozen=True)
class Shown:
    """What the page showed at one moment; lengths in whole seconds."""

    at: float
    state: str
    durable: int
    captured: int
    kept: int
    safe: int
    words: str


def _seconds(text: str) -> int:
    length = _LENGTH.fullmatch(text)
    assert length is not None, f"no length: {text!r}"
    minutes, seconds = (int(part or 0) for part in length.groups())
    return 60 * minutes + seconds


class RecorderPage:
    """A page with one recorder in it; `Page` is Playwright's."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, address: str) -> "RecorderPage":
        """Load a page and wait until its recorder is ready; begin to note what it shows."""
        self.page.goto(address)
        self.page.wait_for_function("""() => {
            const recorder = document.querySelector("micwire-recorder");
            return recorder?.status?.keeping && recorder.shadowRoot.querySelector("option");
        }""")
        self.page.evaluate(_WATCH)
        return self

    def at(self, name: str) -> Any:
        """Return the element with a `data-testid`."""
        return self.page.get_by_test_id(name)

    def choose(self, encoding: str, channels: int) -> None:
        """Choose what is recorded."""
        self.at("quality").select_option(encoding)
        self.at("channels").select_option(str(channels))

    def begin(self, encoding: str = "pcm_f32le", channels: int = 2) -> str:
        """Press Record; return the recording's id once sound is safe on the server."""
        self.choose(encoding, channels)
        self.at("record").click()
        self.wait_until("status.durableFrames > 0")
        return str(self.status["recording"])

    def wait_until(self, condition: str, timeout_s: float = 15.0) -> None:
        """Wait until an expression on `status` and `unfinished` is true."""
        self.page.wait_for_function(
            f"""() => {{
                const {{ status, recorder: {{ unfinished }} }} =
                    document.querySelector("micwire-recorder");
                return {condition};
            }}""",
            timeout=timeout_s * 1000,
        )

    def talk(self, seconds: float) -> None:
        """Let time go by."""
        self.page.wait_for_timeout(seconds * 1000)

    def stop(self, timeout_s: float = 15.0) -> dict[str, Any]:
        """Press Stop; return the receipt."""
        self.at("stop").click()
        return self.receipt(timeout_s)

    def receipt(self, timeout_s: float = 15.0) -> dict[str, Any]:
        """Wait for the receipt."""
        self.wait_until("status.receipt !== null", timeout_s)
        receipt: dict[str, Any] = self.status["receipt"]
        return receipt

    @property
    def status(self) -> dict[str, Any]:
        """The recorder's status."""
        status: dict[str, Any] = self.page.evaluate(
            "document.querySelector('micwire-recorder').status"
        )
        return status

    @property
    def unfinished(self) -> list[dict[str, Any]]:
        """What the recorder has of earlier visits."""
        unfinished: list[dict[str, Any]] = self.page.evaluate(
            "document.querySelector('micwire-recorder').recorder.unfinished"
        )
        return unfinished

    @property
    def shown(self) -> list[Shown]:
        """What the page has shown since it was opened."""
        return [
            Shown(
                at=one["at"],
                state=one["state"],
                durable=one["durable"],
                captured=_seconds(one["captured"]),
                kept=_seconds(one["kept"]),
                safe=_seconds(one["safe"]),
                words=one["words"],
            )
            for one in self.page.evaluate("window.shown")
        ]

    def kept_recordings(self) -> list[str]:
        """Return what lies in this browser's own file system."""
        kept: list[str] = self.page.evaluate("""async () => {
            const root = await navigator.storage.getDirectory();
            const home = await root.getDirectoryHandle("micwire", { create: true });
            return Array.fromAsync(home.keys());
        }""")
        return kept


def digest_of(path: Path) -> str:
    """Return the digest of a WAV's sound, as the wire defines it."""
    data = _data(path.read_bytes())
    pieces = [data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]
    whole = b"".join(hashlib.sha256(piece).digest() for piece in pieces)
    return hashlib.sha256(whole).hexdigest()


def _data(riff: bytes) -> bytes:
    at = 12
    while riff[at : at + 4] != b"data":
        at += 8 + int.from_bytes(riff[at + 4 : at + 8], "little")
    return riff[at + 8 : at + 8 + int.from_bytes(riff[at + 4 : at + 8], "little")]


def heard(server: Server, recording: str, directory: Path, browser: str, places: int) -> Heard:
    """Download a recording and compare it with the microphone."""
    path = server.wav(recording, directory / f"{recording}.wav")
    gaps: Any = server.recording(recording)["gaps"]
    return check_wav(path, browser, places, gaps)


def assert_whole(
    server: Server, receipt: dict[str, Any], directory: Path, places: int | None = None
) -> Heard:
    """Assert that a recording of Chromium's is the microphone, frame by frame, and is told so.

    Args:
        server: Who has it.
        receipt: What the page was given for it.
        directory: For the download.
        places: How far the microphone may have come; default: it began with the recording.
    """
    recording = receipt["recording"]
    places = places or receipt["frames"] + 5 * receipt["sampleRate"]
    facts = server.recording(recording)
    found = heard(server, recording, directory, "chromium", places)
    assert found.faults == [], found
    assert facts["gaps"] == [] == receipt["gaps"]
    assert facts["status"] == "finished"
    assert facts["frames"] == receipt["frames"] == found.end - found.first
    digest = digest_of(directory / f"{recording}.wav")
    assert facts["digest"] == receipt["digest"] == digest
    assert receipt["matches"] is True
    assert receipt["verifiable"] is True
    return found


def assert_honest(shown: list[Shown]) -> None:
    """Assert that the page never said more than was so.

    Nothing is safe that isn't kept, nothing kept that isn't captured, and "recording" is only
    said while the server's disk has got something within the last two seconds.
    """
    durable, moved_at = 0, 0.0
    for one in shown:
        assert one.safe <= one.kept <= one.captured, one
        if one.durable != durable or one.state != "recording":
            durable, moved_at = one.durable, one.at
        assert one.at - moved_at < 2 + _DELAY_S, one


def expect_nothing_kept(page: RecorderPage) -> None:
    """Expect that this browser has forgotten all sound, as all of it is on the server."""
    eventually(lambda: page.kept_recordings() == [])
    expect(page.at("unfinished").locator("li[data-recording]")).to_have_count(0)
