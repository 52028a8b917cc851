"""Texts that would run if a page took them for more: in every field, on every page."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from micwire.access.passwords import hash_password
from micwire.access.secrets import hash_secret
from micwire.access.store import FILE, Invitation, Store
from micwire.client import connect
from micwire.core.audio import Encoding, Format
from tests.browser.canaries import MARK, PAYLOAD, watched
from tests.browser.harness import Server

NAME = MARK
PASSWORD = "correct horse"
TAG = MARK


@dataclass
class Poisoned:
    """A server on which every text is a payload."""

    server: Server
    recording: str


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Poisoned]:
    """A server with a user and a recording."""
    data = tmp_path_factory.mktemp("poisoned") / "recordings"
    store = Store(data / ".micwire" / FILE)
    user = store.add_user(NAME, hash_password(PASSWORD))
    store.add_invitation(
        hash_secret("code"),
        Invitation("i", user.id, MARK, 3, 60.0, None, PAYLOAD, PAYLOAD * 3, 0.0),
    )
    store.close()
    with Server.micwire(data) as server, httpx.Client(base_url=server.address) as client:
        client.post("/api/v1/session", json={"user": NAME, "password": PASSWORD})
        csrf = {"x-micwire-csrf": client.get("/api/v1/me").json()["csrf"]}
        ticket = {"name": PAYLOAD[:64], "scopes": ["record"]}
        token = client.post("/api/v1/tokens", json=ticket, headers=csrf).json()["token"]
        with ThreadPoolExecutor() as threads:  # Playwright has a loop in this one
            recording = threads.submit(asyncio.run, record(server.address, token)).result()
        patch = {"tags": [TAG, "plain"], "notes": PAYLOAD * 3, "title": PAYLOAD[:200]}
        answer = client.patch(f"/api/v1/recordings/{recording}", json=patch, headers=csrf)
        assert answer.status_code == 200, answer.text
        yield Poisoned(server, recording)


async def record(address: str, token: str) -> str:
    """Make a recording with a payload in each field of the wire."""
    async with connect(
        address,
        Format(Encoding.S16, 8_000, 1),
        title=PAYLOAD,
        device=PAYLOAD,
        metadata={PAYLOAD: PAYLOAD},
        settings={PAYLOAD: PAYLOAD, "label": PAYLOAD},
        token=token,
    ) as microphone:
        await microphone.write(bytes(32_000))
        await microphone.mark(PAYLOAD[:1_000], 100)
        await microphone.gap(4_000)
    return microphone.id


@pytest.fixture
def page(chromium: Browser, poisoned: Poisoned) -> Iterator[Page]:
    """A page of somebody who is signed in."""
    context = chromium.new_context(
        permissions=["microphone"], viewport={"width": 1280, "height": 900}
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto(f"{poisoned.server.address}/sign-in")
    page.get_by_test_id("name").fill(NAME)
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("enter").click()
    page.wait_for_url(f"{poisoned.server.address}/")
    yield page
    context.close()


def test_a_recorder_shows_titles_marks_and_names_as_text(page: Page, poisoned: Poisoned) -> None:
    with watched(page, poisoned.server.address):
        page.reload()
        expect(page.get_by_test_id("accountName")).to_have_text(NAME)
        page.get_by_test_id("title").fill(PAYLOAD)
        page.get_by_test_id("record").click()
        expect(page.get_by_test_id("safe")).not_to_have_text("0 s")
        page.evaluate("(text) => document.querySelector('micwire-recorder').mark(text)", PAYLOAD)
        expect(page.get_by_test_id("marks")).to_contain_text(MARK)
        page.get_by_test_id("stop").click()
        expect(page.get_by_test_id("receipt")).to_contain_text("Verified")


def test_the_library_and_the_player_show_everything_as_text(page: Page, poisoned: Poisoned) -> None:
    with watched(page, poisoned.server.address):
        page.goto(f"{poisoned.server.address}/library")
        expect(page.get_by_test_id("accountName")).to_have_text(NAME)
        expect(page.locator("micwire-library")).to_contain_text(MARK)
        page.goto(f"{poisoned.server.address}/library#{poisoned.recording}")
        expect(page.locator("micwire-library")).to_contain_text(MARK)
        page.wait_for_timeout(1_000)


def test_an_invitation_shows_its_text_as_text(page: Page, poisoned: Poisoned) -> None:
    page.context.clear_cookies()
    with watched(page, poisoned.server.address):
        page.goto(f"{poisoned.server.address}/#invite=code")
        expect(page.get_by_test_id("invitationName")).to_have_text(MARK)
        expect(page.get_by_test_id("consent")).to_contain_text(MARK)
        page.get_by_test_id("agree").check()
        page.get_by_test_id("accept").click()
        expect(page.get_by_test_id("accountName")).to_contain_text(MARK)


def test_what_is_downloaded_has_a_name_that_the_server_made(poisoned: Poisoned, page: Page) -> None:
    address = f"{poisoned.server.address}/api/v1/recordings/{poisoned.recording}/audio?download=1"
    answer = page.context.request.get(address)
    assert answer.status == 200
    disposition = answer.headers["content-disposition"]
    assert disposition.isascii()
    assert not set(disposition) & set("<>\n\r\\")


def test_the_folder_holds_only_names_that_the_server_made(poisoned: Poisoned) -> None:
    names = [path.name for path in poisoned.server.data.rglob("*")]
    assert names
    assert not [name for name in names if set(name) & set("<>\"'/ ")]
