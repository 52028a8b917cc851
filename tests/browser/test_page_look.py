"""The page at `/` as a person meets it: each state for real, seen, read aloud and by keyboard.

Every state is photographed into `build/screenshots/`, in both schemes and languages.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Playwright, Route, expect

from tests.browser.chrome import FLAGS
from tests.browser.conftest import OpenPage
from tests.browser.harness import CHROMIUM, ROOT, Server
from tests.browser.looks import MAX_SHIFT, WATCH_SHIFTS, look_at

PAGES = ["toRecorder", "toLibrary"]
IDLE = [*PAGES, "lang", "record", "test", "title", "device", "channels", "quality"]
LIVE = [*PAGES, "lang", "pause", "stop", "mark", "discard", "device"]


def at(page: Page, name: str) -> Locator:
    """Return the part of the recorder with this name."""
    return page.get_by_test_id(name)


def expect_state(page: Page, state: str, timeout_s: float = 10) -> None:
    """Wait until the recorder is in a state."""
    expect(page.locator(f".app[data-state={state}]")).to_be_visible(timeout=timeout_s * 1000)


def begin(page: Page) -> None:
    """Record, and wait until something is safe."""
    at(page, "record").click()
    expect_state(page, "recording")
    expect(at(page, "safe")).not_to_have_text(re.compile("^0"))


def tab_order(page: Page, count: int) -> list[str]:
    """Press Tab from the top of the page; return the names of what gets the focus."""
    page.evaluate("""() => {
        const root = document.querySelector("micwire-recorder").shadowRoot;
        root.activeElement?.blur();
        // The place from which Tab goes on is that of the last focus.
        document.body.tabIndex = -1;
        document.body.focus();
    }""")
    names = []
    for _ in range(count):
        page.keyboard.press("Tab")
        names.append(page.evaluate(_FOCUSED))
    return names


_FOCUSED = """() => {
    const outer = document.activeElement;
    if (outer === document.body) return "outside";
    const node = outer.shadowRoot?.activeElement ?? outer;
    if (getComputedStyle(node).outlineStyle === "none") return "focus unseen";
    return node.dataset.testid;
}"""


# ---- each state, seen ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "scheme", "locale"),
    [
        (1280, "light", "en-GB"),
        (1280, "dark", "ja-JP"),
        (360, "light", "ja-JP"),
        (360, "dark", "en-GB"),
        (320, "light", "en-GB"),
        (320, "dark", "ja-JP"),
    ],
)
def test_every_state_fits_is_legible_and_moves_nothing(
    width: int, scheme: str, locale: str, chromium: Browser, own_server: Server
) -> None:
    context = chromium.new_context(
        permissions=["microphone"],
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
        locale=locale,
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(own_server.address)
    page.evaluate(WATCH_SHIFTS)
    assert page.evaluate("document.documentElement.lang") == locale[:2]

    def name(state: str) -> str:
        return f"page-{state}-{width}-{scheme}"

    expect(page.locator("[data-ok=true]")).to_have_count(6)
    look_at(page, name("idle"))
    begin(page)
    page.keyboard.press("m")
    page.wait_for_timeout(1_500)
    look_at(page, name("recording"))
    at(page, "pause").click()
    expect_state(page, "paused")
    at(page, "discard").click()
    look_at(page, name("paused"))
    at(page, "discardNo").click()
    at(page, "resume").click()
    expect_state(page, "recording")
    assert complaints == []  # from here on the browser tells of a server that is away
    own_server.pause()
    try:
        expect_state(page, "offline")
        page.wait_for_timeout(1_000)
        look_at(page, name("offline"))
        at(page, "stop").click()
        expect_state(page, "finishing")
        look_at(page, name("finishing"))
    finally:
        own_server.resume()
    expect_state(page, "finished", 20)
    expect(at(page, "download")).to_be_visible()
    page.wait_for_timeout(500)
    look_at(page, name("finished"))
    assert page.evaluate("shift") < MAX_SHIFT
    assert [said for said in complaints if "WebSocket" not in said] == []
    context.close()


def test_an_offline_minute_is_said_and_made_good(
    open_page: OpenPage, own_server: Server, tmp_path: Path
) -> None:
    page = open_page(own_server.address, complaint="")
    begin(page)
    own_server.stop()
    expect_state(page, "offline")
    expect(at(page, "hint")).to_contain_text(re.compile(r"^[1-9]\d* s kept here; it will be sent"))
    expect(at(page, "notyet")).to_have_text(re.compile(r"^[2-9]\d* s not yet safe$"))
    with Server.micwire(own_server.data, "--port", str(own_server.port)):
        expect_state(page, "recording", 20)
        expect(at(page, "notyet")).to_have_text("")
        at(page, "stop").click()
        expect_state(page, "finished")
        expect(at(page, "receipt")).to_contain_text("Verified: the file on the server is")
        expect(at(page, "receipt")).to_contain_text("Gaps0")


# ---- what a person is told when it can't be ----------------------------------------------


@pytest.fixture(scope="module")
def refusing(playwright: Playwright) -> Iterator[Browser]:
    """A browser whose person says no."""
    flags = [flag for flag in FLAGS if "fake-ui" not in flag]
    flags += ["--use-fake-device-for-media-stream", "--deny-permission-prompts"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
    yield browser
    browser.close()


@pytest.mark.parametrize("locale", ["en-GB", "ja-JP"])
def test_a_refused_microphone_is_told_with_its_cure(
    locale: str, refusing: Browser, server: Server
) -> None:
    page = refusing.new_page(locale=locale, viewport={"width": 360, "height": 800})
    page.goto(server.address)
    at(page, "record").click()
    says = {"en": "Allow it at the symbol", "ja": "アドレスの横のアイコンから許可"}[locale[:2]]
    expect(at(page, "problem")).to_contain_text(says)
    expect(at(page, "problem")).to_have_attribute("role", "alert")
    expect(at(page, "record")).to_be_enabled()
    look_at(page, f"page-denied-{locale[:2]}")
    page.close()


@pytest.mark.parametrize(
    ("name", "message", "says"),
    [
        ("NotAllowedError", "Permission denied by system", "operating system keeps"),
        ("NotFoundError", "", "There is no microphone"),
        ("NotReadableError", "", "another program may be using it"),
        ("TypeError", "", "This browser can’t record here"),
    ],
)
def test_the_page_names_the_cause(
    name: str, message: str, says: str, open_page: OpenPage, server: Server
) -> None:
    script = f"""navigator.mediaDevices.getUserMedia = async () => {{
        throw new DOMException("{message}", "{name}"); }};"""
    page = open_page(server.address, script=script)
    at(page, "record").click()
    expect(at(page, "problem")).to_contain_text(says)
    expect(at(page, "record")).to_be_enabled()


def test_the_page_says_why_an_insecure_origin_has_no_microphone(
    open_page: OpenPage, tmp_path: Path
) -> None:
    # Not from `micwire serve` on loopback: that one answers to loopback names only.
    command = [sys.executable, str(ROOT / "examples" / "embed.py")]
    with Server(tmp_path / "recordings", command) as server:
        page = open_page(f"http://insecure.test:{server.port}/", complaint="")
        expect(at(page, "problem")).to_contain_text("only to https pages")
        expect(at(page, "problem")).to_contain_text(f"127.0.0.1:{server.port} insecure.test")
        expect(at(page, "record")).to_be_disabled()


def test_a_header_that_forbids_the_microphone_is_named(open_page: OpenPage, server: Server) -> None:
    def forbid(route: Route) -> None:
        answer = route.fetch()
        headers = {**answer.headers, "permissions-policy": "microphone=()"}
        route.fulfill(response=answer, headers=headers)

    page = open_page("about:blank", complaint="Permissions policy")
    page.route(server.address + "/", forbid)
    page.goto(server.address)
    expect(at(page, "problem")).to_contain_text("Permissions-Policy: microphone=(self)")


def test_a_frame_without_the_attribute_is_named(
    open_page: OpenPage, tmp_path: Path, host: str
) -> None:
    with Server.micwire(tmp_path / "recordings", "--allow-embedding", host) as server:
        page = open_page(f"{host}/tests/browser/job.html")
        page.evaluate(
            """(address) => {
                const frame = document.createElement("iframe");
                frame.src = address;
                document.body.append(frame);
            }""",
            server.address,
        )
        problem = page.frame_locator("iframe").get_by_test_id("problem")
        expect(problem).to_contain_text('allow="microphone" on the iframe')
        page.close()


def test_a_muted_microphone_is_waited_for(open_page: OpenPage, server: Server) -> None:
    script = """window.isMuted = true;
        Object.defineProperty(MediaStreamTrack.prototype, "muted", { get: () => window.isMuted });
        const ask = MediaDevices.prototype.getUserMedia;
        MediaDevices.prototype.getUserMedia = async function (wanted) {
            const stream = await ask.call(this, wanted);
            [window.track] = stream.getAudioTracks();
            return stream; };"""
    page = open_page(server.address, script=script)
    at(page, "record").click()
    expect_state(page, "checking")
    expect(at(page, "hint")).to_have_text(re.compile("^The microphone is muted"))
    look_at(page, "page-muted")
    page.evaluate("isMuted = false; track.dispatchEvent(new Event('unmute'))")
    expect_state(page, "recording")
    at(page, "stop").click()
    expect_state(page, "finished")


def test_who_waits_for_a_microphone_can_give_up(open_page: OpenPage, server: Server) -> None:
    script = "navigator.mediaDevices.getUserMedia = () => new Promise(() => {});"
    page = open_page(server.address, script=script)
    at(page, "record").click()
    expect_state(page, "checking")
    expect(at(page, "discard")).to_have_text("Cancel")
    at(page, "discard").click()
    expect_state(page, "idle")
    expect(at(page, "problem")).to_be_hidden()


def test_a_browser_that_alters_the_sound_is_named(open_page: OpenPage, server: Server) -> None:
    script = """const settings = MediaStreamTrack.prototype.getSettings;
        MediaStreamTrack.prototype.getSettings = function () {
            return { ...settings.call(this), echoCancellation: true }; };"""
    page = open_page(server.address, script=script)
    begin(page)
    expect(at(page, "warning")).to_contain_text("alters the sound though asked not to: echo")
    at(page, "stop").click()
    expect(page.locator(".bad")).to_have_text("echo cancellation on")


# ---- what a person does ------------------------------------------------------------------


def test_the_focus_goes_where_the_eye_goes(open_page: OpenPage, server: Server) -> None:
    page = open_page(server.address)
    expect(page.locator("[data-ok=true]")).to_have_count(6)
    assert tab_order(page, len(IDLE)) == IDLE
    begin(page)
    assert tab_order(page, len(LIVE)) == LIVE


def test_the_keyboard_alone_is_enough(open_page: OpenPage, server: Server) -> None:
    page = open_page(server.address)
    at(page, "record").focus()
    page.keyboard.press("Space")
    expect_state(page, "recording")
    expect(at(page, "stop")).to_be_focused()
    page.keyboard.press("m")
    expect(at(page, "marks").locator("li")).to_have_count(1)
    at(page, "device").focus()
    page.keyboard.press("m")  # chooses a microphone by its first letter: no mark
    at(page, "pause").focus()
    page.keyboard.press("Enter")
    expect_state(page, "paused")
    expect(at(page, "resume")).to_be_focused()
    page.keyboard.press("Space")
    expect_state(page, "recording")
    expect(at(page, "pause")).to_be_focused()
    at(page, "discard").press("Enter")
    expect(at(page, "discardNo")).to_be_focused()
    page.keyboard.press("Escape")
    expect(at(page, "discard")).to_be_focused()
    expect_state(page, "recording")
    at(page, "stop").press("Enter")
    expect_state(page, "finished")
    expect(at(page, "record")).to_be_focused()
    expect(at(page, "marks").locator("li")).to_have_count(1)


def test_discard_asks_once_and_deletes(open_page: OpenPage, own_server: Server) -> None:
    page = open_page(own_server.address)
    begin(page)
    at(page, "discard").click()
    expect(at(page, "discardAsk")).to_have_text(re.compile(r"^Delete all \d+ s, here and on"))
    at(page, "discardYes").click()
    expect_state(page, "idle")
    page.wait_for_function(
        "() => document.querySelector('micwire-recorder').recorder.unfinished.length === 0"
    )
    expect(at(page, "elapsed")).to_have_text("0:00")
    page.wait_for_timeout(500)
    assert own_server.wavs() == []


def test_a_test_of_the_microphone_names_its_level(open_page: OpenPage, server: Server) -> None:
    page = open_page(server.address)
    at(page, "test").click()
    expect(at(page, "verdict")).to_have_text("Say something…")
    expect(at(page, "verdict")).to_have_text("Playing it back…")
    expect(at(page, "verdict")).to_have_text(re.compile("Too loud|Loudest: "), timeout=15_000)
    begin(page)  # and the microphone is free for the recording
    expect(at(page, "verdict")).to_be_hidden()


def test_a_lost_microphone_stays_chosen(open_page: OpenPage, server: Server) -> None:
    page = open_page(server.address)
    chosen = at(page, "device").locator("option").nth(1)
    value, label = chosen.get_attribute("value"), chosen.text_content()
    at(page, "device").select_option(value)
    page.evaluate("""() => {
        navigator.mediaDevices.enumerateDevices = async () => [];
        navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
    }""")
    expect(at(page, "device").locator("option:checked")).to_have_text(f"{label} (not connected)")
    assert at(page, "device").input_value() == value


def test_a_recorder_that_is_moved_goes_on_and_one_that_is_removed_ends(
    open_page: OpenPage, server: Server
) -> None:
    page = open_page(server.address)
    begin(page)
    page.evaluate("document.body.append(document.querySelector('micwire-recorder'))")
    at(page, "pause").click()
    expect_state(page, "paused")
    at(page, "resume").click()
    expect_state(page, "recording")
    took = page.evaluate("""async () => {
        const element = document.querySelector("micwire-recorder");
        const ended = new Promise((resolve) => {
            const { stop } = MediaStreamTrack.prototype;
            MediaStreamTrack.prototype.stop = function () { resolve(this.kind); stop.call(this); };
        });
        element.remove();
        return ended;
    }""")
    assert took == "audio"


def test_an_element_speaks_the_language_of_its_attribute(
    open_page: OpenPage, server: Server
) -> None:
    page = open_page(server.address)
    page.evaluate("""() => {
        const box = document.createElement("div");
        box.innerHTML = "<micwire-recorder lang=ja></micwire-recorder>";
        document.querySelector("micwire-recorder").remove();
        document.body.append(box);
    }""")
    expect(at(page, "state")).to_have_text("準備完了")


# ---- what is read aloud ------------------------------------------------------------------


def test_all_controls_have_names(open_page: OpenPage, server: Server) -> None:
    page = open_page(server.address)
    begin(page)
    snapshots = [page.locator("micwire-recorder").aria_snapshot()]
    at(page, "stop").click()
    expect_state(page, "finished")
    snapshots.append(page.locator("micwire-recorder").aria_snapshot())
    for snapshot in snapshots:
        controls = re.findall(r"- (?:button|textbox|combobox|link|meter|img|region)\b.*", snapshot)
        assert len(controls) > 8
        assert [line for line in controls if not re.search(r' "[^"]+"', line)] == [], snapshot
    for name in ("Stop", "Pause", "Mark", "Discard", "Microphone", "Title", "日本語"):
        assert f'"{name}"' in snapshots[0]
    for name in ("Download WAV", "Copy", "Record"):
        assert f'"{name}"' in snapshots[1]


def test_what_is_said_aloud_is_little(open_page: OpenPage, own_server: Server) -> None:
    page = open_page(own_server.address, complaint="WebSocket")
    expect_state(page, "idle")
    page.evaluate("""() => {
        window.said = [];
        const root = document.querySelector("micwire-recorder").shadowRoot;
        for (const node of root.querySelectorAll("[role=status], [role=alert]")) {
            new MutationObserver(() => window.said.push(node.textContent))
                .observe(node, { childList: true, characterData: true, subtree: true });
        }
    }""")
    begin(page)
    page.wait_for_timeout(3_000)
    own_server.pause()
    try:
        expect_state(page, "offline")
        page.wait_for_timeout(4_000)
    finally:
        own_server.resume()
    expect_state(page, "recording")
    at(page, "stop").click()
    expect_state(page, "finished")
    said = [text for text in page.evaluate("said") if text]
    states = [text for text in said if "not yet safe" not in text]
    assert states == [
        "Opening", "Recording", "Recording, offline", "Recording", "Sending the rest", "Finished",
    ]  # fmt: skip
    assert 1 <= len(said) - len(states) <= 2


# ---- languages ---------------------------------------------------------------------------


def test_both_languages_say_everything(open_page: OpenPage, server: Server) -> None:
    page = open_page(server.address)
    words, codes = page.evaluate("""async () => {
        const { words, Speaker } = await import("./recorder/words.js");
        const { CLOSE_CODES } = await import("./recorder/wire.js");
        const local = ["insecure-origin", "iframe", "policy", "denied", "denied-system",
            "no-device", "device-busy", "device-gone", "no-storage", "local-storage-failed",
            "unsupported", "muted", "diverged", "digest-mismatch", "server-unreachable"];
        const speakers = Object.keys(words).map((lang) => new Speaker(lang));
        return [words, [...local, ...Object.keys(CLOSE_CODES)].map(
            (code) => [code, ...speakers.map(({ has, say }) => has(code) ? say(code) : "")])];
    }""")
    assert set(words) == {"en", "ja"}
    assert words["en"].keys() == words["ja"].keys()
    for key, text in words["en"].items():
        other = words["ja"][key]
        assert text.strip(), key
        assert other.strip(), key
        places = re.compile(r"\{\w+\}")
        assert set(places.findall(text)) == set(places.findall(other)), key
    for code, *texts in codes:
        for text in texts:
            assert text.count("\n") == 1, f"{code} has no cause and cure: {text!r}"


def test_the_language_is_switched_while_recording(open_page: OpenPage, server: Server) -> None:
    page = open_page(server.address)
    begin(page)
    at(page, "lang").click()
    expect(at(page, "state")).to_have_text("録音中")
    expect(at(page, "stop")).to_have_text("終了")
    expect(at(page, "captured")).to_have_text(re.compile(r"^\d+秒$"))
    expect(page.locator("footer")).to_contain_text("サーバー")
    assert page.evaluate("document.documentElement.lang") == "ja"
    expect(at(page, "lang")).to_have_text("English")
    at(page, "stop").click()
    expect(at(page, "receipt")).to_contain_text("照合済み")
    at(page, "lang").click()
    expect(at(page, "receipt")).to_contain_text("Verified")
    assert page.evaluate("document.documentElement.lang") == "en"
