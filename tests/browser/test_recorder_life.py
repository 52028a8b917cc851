"""What a page asks of the browser beside the microphone: not to be left, not to sleep."""

from playwright.sync_api import Dialog

from tests.browser.conftest import OpenPage
from tests.browser.harness import Server
from tests.browser.recorder_page import RecorderPage

# Chromium without a screen gives no wake lock: the page's asking is what can be seen.
COUNT_LOCKS = """
    window.locks = [];
    if (navigator.wakeLock) navigator.wakeLock.request = async (kind) => {
        const lock = { kind, released: false, release() { this.released = true; } };
        window.locks.push(lock);
        return lock;
    };
"""


def leave(page: RecorderPage) -> list[str]:
    """Try to leave the page; return the kinds of questions that the browser asked."""
    asked: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.page.on("dialog", dismiss)
    page.page.evaluate("setTimeout(() => location.assign('about:blank#left'))")
    page.page.wait_for_timeout(700)
    page.page.remove_listener("dialog", dismiss)
    return asked


def test_leaving_is_asked_about_only_while_something_is_not_durable(
    open_page: OpenPage, server: Server
) -> None:
    page = RecorderPage(open_page("about:blank")).open(server.address)
    page.begin()
    assert leave(page) == ["beforeunload"]
    page.stop()
    assert leave(page) == []
    assert page.page.url == "about:blank#left"


def test_the_screen_stays_on_while_somebody_speaks_and_no_longer(
    open_page: OpenPage, server: Server
) -> None:
    page = RecorderPage(open_page("about:blank", script=COUNT_LOCKS)).open(server.address)
    page.begin()
    kinds = "locks.map(({ kind, released }) => [kind, released])"
    assert page.page.evaluate(kinds) == [["screen", False]]
    page.stop()
    assert page.page.evaluate(kinds) == [["screen", True]]


def test_a_page_that_is_left_while_recording_finishes_at_the_next_visit(
    open_page: OpenPage, server: Server
) -> None:
    blank = open_page("about:blank")
    page = RecorderPage(blank).open(server.address)
    recording = page.begin()
    page.talk(0.5)
    blank.on("dialog", lambda dialog: dialog.accept())
    page.open(server.address)
    page.wait_until(f"unfinished.some(one => one.recording === '{recording}')")
    page.wait_until("unfinished.every(one => one.state === 'finished')")
    facts = server.recording(recording)
    assert facts["status"] == "finished"
    # It can't be known what was said after the last that was kept: so it is marked.
    mark = {"frame": facts["frames"], "label": "cut off: the page ended here"}
    assert facts["marks"] == [mark]
