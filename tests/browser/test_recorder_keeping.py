"""Where a browser keeps sound, when it can't keep it where it should: in other places, or full."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.harness import Server
from tests.browser.link import Link
from tests.browser.recorder_page import RecorderPage, assert_honest, assert_whole


def allow_only(page: Page, *kinds: str) -> None:
    """Let the recorder find some places for sound only, as older or private browsers do."""

    def fewer(route: Route) -> None:
        answer = route.fetch()
        body = answer.text()
        default = '["opfs", "indexeddb", "memory"]'
        assert default in body
        changed = body.replace(default, str(list(kinds)).replace("'", '"'))
        route.fulfill(response=answer, body=changed)

    page.context.route("**/recorder/files.js", fewer)


def listen(page: Page) -> None:
    """Note the recorder's problems in `window.problems`."""
    page.evaluate("""() => {
        window.problems = [];
        document.querySelector("micwire-recorder")
            .addEventListener("error", ({ detail }) => window.problems.push(detail));
    }""")


@pytest.mark.parametrize("kind", ["indexeddb", "memory"])
def test_other_places_keep_sound_over_a_broken_link(
    kind: str, open_page: OpenPage, own_server: Server, link: Link, tmp_path: Path
) -> None:
    blank = open_page("about:blank", complaint="ERR_")
    allow_only(blank, *(["memory"] if kind == "memory" else ["indexeddb", "memory"]))
    page = RecorderPage(blank).open(link.address)
    page.begin()
    assert page.status["keeping"] == kind
    page.talk(1)
    link.refuse()
    page.wait_until("status.state === 'offline'", 5)
    page.talk(1.5)
    status = page.status
    assert status["keptFrames"] > status["durableFrames"] + 44_100
    if kind == "memory":  # it has to be said that this copy is gone with the tab
        expect(page.at("warning")).to_be_visible()
    link.restore()
    page.wait_until("status.state === 'recording'", 8)
    assert_whole(own_server, page.stop(), tmp_path)
    assert_honest(page.shown)


def test_indexeddb_survives_the_tab(
    open_page: OpenPage, own_server: Server, link: Link, tmp_path: Path
) -> None:
    blank = open_page("about:blank", complaint="ERR_")
    allow_only(blank, "indexeddb", "memory")
    page = RecorderPage(blank).open(link.address)
    recording = page.begin()
    link.refuse()
    page.talk(1.5)
    kept = page.status["keptFrames"]
    blank.close()
    link.restore()
    again = RecorderPage(open_page("about:blank", complaint="ERR_")).open(link.address)
    again.wait_until(
        f"unfinished.some(one => one.recording === '{recording}' && one.state === 'finished')"
    )
    facts: dict[str, Any] = own_server.recording(recording)
    assert facts["status"] == "finished"
    assert facts["frames"] >= kept
    assert facts["digest"] is not None


def test_a_full_disk_of_the_browser_is_told_and_costs_no_frame(
    open_page: OpenPage, own_server: Server, link: Link, tmp_path: Path
) -> None:
    blank = open_page("about:blank", complaint="ERR_")
    page = RecorderPage(blank).open(link.address)
    listen(blank)
    page.begin()
    page.talk(0.5)
    session = blank.context.new_cdp_session(blank)
    link.refuse()
    page.wait_until("status.state === 'offline'", 5)
    session.send(
        "Storage.overrideQuotaForOrigin", {"origin": link.address, "quotaSize": 2 * 1024 * 1024}
    )
    page.wait_until("status.keeping === 'memory'", 15)
    page.talk(1)
    problems = blank.evaluate("window.problems")
    assert "local-storage-full" in [problem["code"] for problem in problems]
    expect(page.at("problem")).to_be_visible()
    link.restore()
    page.wait_until("status.state === 'recording'", 8)
    assert_whole(own_server, page.stop(), tmp_path)
