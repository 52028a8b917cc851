"""Signing in and out, and coming by an invitation, in a real browser, under our own policy."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from micwire.access.passwords import hash_password
from micwire.access.secrets import hash_secret, new_secret
from micwire.access.store import FILE, Invitation, Store
from micwire.core.people import Scope
from tests.browser.conftest import OpenPage
from tests.browser.harness import Server
from tests.browser.link import Link

PASSWORD = "correct horse"
CONSENT = "You will be recorded.\n\nYou may stop at any time.\n" * 12
STATUS = "document.querySelector('micwire-recorder').status"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a user."""
    data = tmp_path_factory.mktemp("guarded") / "recordings"
    store = Store(data / ".micwire" / FILE)
    store.add_user("Anna", hash_password(PASSWORD))
    store.close()
    with Server.micwire(data) as server:
        yield server


def invite(server: Server, **facts: object) -> str:
    """Return the link of a new invitation by Anna."""
    store, code = Store(server.data / ".micwire" / FILE), new_secret()
    anna = store.user("anna")
    assert anna is not None
    fields: dict[str, object] = {
        "id": code[:16], "user": anna.id, "name": "Dialects of the coast", "max_recordings": 3,
        "max_seconds": 600.0, "until": 2_000_000_000.0, "consent_version": "2026-11",
        "consent_text": CONSENT, "created_at": 0.0,
    }  # fmt: skip
    store.add_invitation(hash_secret(code), Invitation(**(fields | facts)))  # type: ignore[arg-type]  # values of many kinds
    store.close()
    return f"{server.address}/#invite={code}"


def wait_for(page: Page, condition: str, timeout_s: float = 30) -> None:
    """Wait from outside: what Playwright would wait with in the page is against its policy."""
    for _ in range(round(timeout_s * 20)):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{condition}: {page.evaluate(STATUS)}")


def sign_in(page: Page) -> None:
    """Fill the form in and send it."""
    page.get_by_test_id("name").fill("anna")
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("enter").click()
    expect(page.get_by_test_id("accountName")).to_have_text("Anna")


def record(page: Page, seconds: float) -> dict[str, object]:
    """Press Record, wait and press Stop; return the receipt."""
    page.get_by_test_id("record").click()
    wait_for(page, f"{STATUS}.durableFrames > {seconds} * {STATUS}.sampleRate")
    page.get_by_test_id("stop").click()
    wait_for(page, f"{STATUS}.state === 'finished'")
    receipt: dict[str, object] = page.evaluate(f"{STATUS}.receipt")
    return receipt


def test_who_signs_in_records_and_is_back_where_they_were(
    open_page: OpenPage, guarded: Server
) -> None:
    page = open_page(f"{guarded.address}/", complaint="401")
    page.wait_for_url("**/sign-in")
    expect(page.get_by_test_id("name")).to_be_focused()
    page.get_by_test_id("name").fill("anna")
    page.get_by_test_id("password").fill("wrong one")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("problem")).to_have_text("The name or the password is wrong.")
    sign_in(page)
    assert page.url == f"{guarded.address}/"
    receipt = record(page, 0.5)
    assert receipt["matches"] is True
    sidecar = json.loads(guarded.wavs()[-1].with_suffix(".json").read_text())
    assert sidecar["owner"]
    page.reload()
    expect(page.get_by_test_id("accountName")).to_have_text("Anna")
    page.get_by_test_id("signOut").click()
    page.wait_for_url("**/sign-in")
    assert page.context.cookies() == []


def test_an_invited_person_agrees_records_and_can_do_nothing_else(
    open_page: OpenPage, guarded: Server
) -> None:
    link = invite(guarded, max_seconds=2.0)
    page = open_page(link)
    page.wait_for_url("**/sign-in")
    expect(page.get_by_test_id("invitationName")).to_have_text("Dialects of the coast")
    expect(page.get_by_test_id("facts")).to_contain_text("3 of 3 recordings left")
    expect(page.get_by_test_id("facts")).to_contain_text("At most 2 s each")
    expect(page.get_by_test_id("accept")).to_be_disabled()
    page.get_by_test_id("agree").check()
    page.get_by_test_id("accept").click()
    expect(page.get_by_test_id("accountName")).to_contain_text("Dialects of the coast")
    expect(page.get_by_test_id("toLibrary")).to_be_hidden()
    page.get_by_test_id("record").click()
    # By itself, at the end of what is allowed.
    wait_for(page, f"{STATUS}.state === 'finished'", timeout_s=45)
    expect(page.get_by_test_id("download")).to_have_count(0)
    sidecar = json.loads(guarded.wavs()[-1].with_suffix(".json").read_text())
    assert 1.9 < sidecar["frames"] / sidecar["format"]["sample_rate"] < 4
    assert sidecar["consent"]["version"] == "2026-11"
    assert re.fullmatch(r"[0-9a-f]{64}", sidecar["consent"]["text_sha256"])
    statuses = {
        page.context.request.get(f"{guarded.address}/api/v1/{path}").status
        for path in (
            f"recordings/{sidecar['recording']}",
            f"recordings/{sidecar['recording']}/audio",
            "tokens",
            "invitations",
        )
    }
    assert statuses == {403}
    code = link.partition("=")[2]
    assert code not in page.evaluate(
        "JSON.stringify([location.href, {...sessionStorage}, {...localStorage}])"
    )
    page.go_back()
    assert code not in page.url


def come_as_guest(page: Page, link: str, name: str) -> None:
    """Follow the link of an invitation and agree."""
    page.goto(link)
    page.get_by_test_id("agree").check()
    page.get_by_test_id("accept").click()
    expect(page.get_by_test_id("accountName")).to_contain_text(name)


def test_what_one_guest_leaves_on_a_shared_computer_is_never_sent_as_the_next_ones(
    open_page: OpenPage, guarded: Server
) -> None:
    before = set(guarded.wavs())
    unfinished = "document.querySelector('micwire-recorder').recorder.unfinished"
    with Link(guarded.port) as way:

        def link(name: str, version: str) -> str:
            made = invite(guarded, name=name, consent_version=version)
            return made.replace(guarded.address, way.address)

        first, second = link("Birds", "first"), link("Trains", "second")
        page = open_page(f"{way.address}/sign-in", complaint="")
        come_as_guest(page, first, "Birds")
        wait_for(page, f"{STATUS}?.keeping")
        way.refuse()
        page.get_by_test_id("title").fill("Mine alone")
        page.get_by_test_id("record").click()
        wait_for(page, f"{STATUS}.keptFrames > {STATUS}.sampleRate")
        recording = page.evaluate(f"{STATUS}.recording")
        page.close()
        page.context.clear_cookies()  # a page that is late to end has no way in any more
        way.restore()

        page = open_page(f"{way.address}/sign-in", complaint="")
        come_as_guest(page, second, "Trains")
        wait_for(page, f"{unfinished}[0]?.state === 'foreign'")
        row = page.get_by_test_id("unfinished").locator("li[data-recording]")
        expect(row).to_contain_text("Somebody else’s")
        expect(row).not_to_contain_text("Mine alone")
        expect(row.get_by_test_id("copy")).to_be_hidden()
        refused = page.evaluate(
            "(id) => document.querySelector('micwire-recorder').recorder.saveCopy(id)"
            ".then(() => 'a copy', (error) => error.code)",
            recording,
        )
        assert refused == "forbidden"
        own = record(page, 0.5)["recording"]
        page.get_by_test_id("forget").click()
        expect(page.get_by_test_id("forgetAsk")).to_contain_text("what somebody else recorded")
        page.get_by_test_id("forgetNo").click()
        new = set(guarded.wavs()) - before
        facts = [json.loads(wav.with_suffix(".json").read_text()) for wav in new]
        assert [one["recording"] for one in facts] == [own]
        assert facts[0]["consent"]["version"] == "second"

        come_as_guest(page, first, "Birds")
        wait_for(page, f"{unfinished}.every(({{ state }}) => state === 'finished')")
        for _ in range(100):
            left = set(guarded.wavs()) - before - new
            if left:
                break
            page.wait_for_timeout(50)
        [wav] = left
        sidecar = json.loads(wav.with_suffix(".json").read_text())
        assert (sidecar["recording"], sidecar["title"]) == (recording, "Mine alone")
        assert sidecar["consent"]["version"] == "first"
        page.close()


def test_the_link_of_the_start_signs_in_and_leaves_the_address(
    open_page: OpenPage, tmp_path: Path
) -> None:
    command = ["--access", "token"]
    with Server.micwire(tmp_path / "recordings", *command) as server:
        assert server._process.stdout is not None
        link = server._process.stdout.readline().split()[-1]
        page = open_page(link)
        expect(page.get_by_test_id("signOut")).to_be_visible()
        assert page.url == f"{server.address}/"
        page.get_by_test_id("signOut").click()
        page.get_by_test_id("token").fill(link)  # the whole link is as good
        page.get_by_test_id("enterToken").click()
        expect(page.get_by_test_id("signOut")).to_be_visible()
        page.close()


def test_a_page_of_another_origin_with_a_valid_cookie_gets_nothing(
    chromium: Browser, guarded: Server, host: str
) -> None:
    context = chromium.new_context(permissions=["microphone"])
    page = context.new_page()
    page.goto(guarded.address)
    sign_in(page)
    recording = str(record(page, 0.3)["recording"])
    # Another port of this machine is the same site to a browser: the cookie comes along.
    page.goto(f"{host}/package.json")
    found = page.evaluate(
        """async ([address, recording]) => {
            const api = `${address}/api/v1/`, credentials = "include";
            const reads = async (path, options) => {
                try { return (await fetch(api + path, { credentials, ...options })).status; }
                catch { return "blocked"; }
            };
            const sockets = address.replace("http", "ws");
            const opens = (path, ...names) => new Promise((resolve) => {
                const socket = new WebSocket(sockets + path, ...names);
                socket.onopen = () => resolve("open");
                socket.onerror = () => resolve("refused");
            });
            const both = [opens("/v1/stream", "micwire.v1"), opens("/websocket")];
            const sounds = new Promise((resolve) => {
                const audio = new Audio(`${api}recordings/${recording}/audio`);
                audio.oncanplay = () => resolve("plays");
                audio.onerror = () => resolve("blocked");
                setTimeout(() => resolve("nothing"), 5_000);
            });
            const body = new Blob(['{"name":"x","scopes":["read"]}'], { type: "text/plain" });
            return [
                await reads("me"), await reads(`recordings/${recording}`),
                await reads("tokens", { method: "POST", body }),
                await reads(`recordings/${recording}`, { method: "DELETE" }),
                ...await Promise.all(both), await sounds,
            ];
        }""",
        [guarded.address, recording],
    )
    assert found == ["blocked", "blocked", "blocked", "blocked", "refused", "refused", "blocked"]
    page.goto(guarded.address)
    expect(page.get_by_test_id("accountName")).to_have_text("Anna")
    answer = page.evaluate(
        "(id) => fetch(`api/v1/recordings/${id}`).then((a) => a.status)", recording
    )
    assert answer == 200
    context.close()


@pytest.mark.parametrize("lang", ["en-GB", "ja-JP"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_pages_fit_and_can_be_worked_by_keyboard(
    chromium: Browser, guarded: Server, lang: str, scheme: str, width: int, tmp_path: Path
) -> None:
    height = 800 if width > 400 else 740
    context = chromium.new_context(
        locale=lang,
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": height},
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(f"{guarded.address}/sign-in")
    expect(page.get_by_test_id("name")).to_be_focused()
    for name in ("password", "enter"):
        page.keyboard.press("Tab")
        expect(page.get_by_test_id(name)).to_be_focused()
    assert_fits(page)
    page.screenshot(path=str(tmp_path / "sign-in.png"))
    page.goto(invite(guarded))
    page.wait_for_url("**/sign-in")
    expect(page.get_by_test_id("consent")).to_be_visible()
    assert_fits(page)
    page.screenshot(path=str(tmp_path / "invitation.png"), full_page=True)
    japanese = page.evaluate("document.body.innerText").replace("English", "")
    assert bool(re.search("[ぁ-ん]", japanese.replace("日本語", ""))) is lang.startswith("ja")
    assert complaints == []
    context.close()


def assert_fits(page: Page) -> None:
    """Assert that nothing is wider than the window, and that what is pressed is large enough."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    heights = page.evaluate(
        """[...document.querySelectorAll("button, a.main, input:not([type=checkbox]), .check")]
            .filter((node) => node.checkVisibility())
            .map((node) => node.getBoundingClientRect().height)"""
    )
    assert min(heights) >= 44


def test_a_page_of_another_origin_records_with_tickets_and_with_nothing_else(
    open_page: OpenPage, host: str, tmp_path: Path
) -> None:
    data = tmp_path / "recordings"
    store = Store(data / ".micwire" / FILE)
    user = store.add_user("Anna", hash_password(PASSWORD))
    store.add_token(hash_secret("token"), user.id, "x", frozenset({Scope.RECORD}))
    store.close()
    with Server.micwire(data, "--allow-origin", host) as server:
        page = open_page(f"{server.address}/", complaint="")
        sign_in(page)  # the browser has a cookie, which is nothing to a page elsewhere

        def fetch_ticket() -> str:
            bearer = {"Authorization": "Bearer token"}  # as the page's own server would
            answer = httpx.post(f"{server.address}/api/v1/tickets", headers=bearer)
            return str(answer.json()["ticket"])

        page.expose_function("fetchTicket", fetch_ticket)
        page.goto(f"{host}/package.json")
        record_there = """async ([server, hasTicket]) => {
            const { Recorder } = await import(`${server}/recorder/recorder.js`);
            const ticket = hasTicket ? window.fetchTicket : undefined;
            const recorder = new Recorder({ server, ticket });
            const refused = new Promise((resolve) =>
                recorder.addEventListener("error", ({ detail }) => resolve(detail.code)));
            await recorder.start({ title: "From elsewhere" });
            const done = (async () => {
                await new Promise((resolve) => setTimeout(resolve, 700));
                return (await recorder.stop()).matches;
            })();
            const settled = done.catch(() => refused);
            const outcome = await Promise.race([refused, settled]);
            await settled; // nobody is to wait for a recorder that is closed
            await recorder.close();
            return outcome;
        }"""
        assert page.evaluate(record_there, [server.address, False]) == "unauthenticated"
        assert page.evaluate(record_there, [server.address, True]) is True
        # What was refused was kept, and may have been sent with a ticket since.
        assert 1 <= len(server.wavs()) <= 2
        for wav in server.wavs():
            assert json.loads(wav.with_suffix(".json").read_text())["owner"] == user.id
        page.close()
