"""The recorder inside other people's pages: another origin, tickets, a strict policy."""

import json
from pathlib import Path

from playwright.sync_api import Page, Route

from tests.browser.conftest import OpenPage
from tests.browser.harness import FAKE_MIC_RATE, ROOT, Server, hosted

EXAMPLE = ROOT / "examples" / "embed.html"
STATUS = "document.querySelector('micwire-recorder').status"


def write_example(path: Path, server: Server) -> None:
    """Write the example for this server; with an icon, so that the browser asks for none."""
    text = EXAMPLE.read_text().replace("http://127.0.0.1:8000", server.address)
    path.write_text(text.replace("<title>", '<link rel="icon" href="data:,"><title>'))


def test_the_example_is_short_and_records_from_another_origin(
    open_page: OpenPage, tmp_path: Path
) -> None:
    assert EXAMPLE.read_text().count("\n") < 20
    with (
        hosted(tmp_path) as origin,
        Server.micwire(tmp_path / "recordings", "--allow-origin", origin) as server,
    ):
        write_example(tmp_path / "page.html", server)
        page = open_page(f"{origin}/page.html")
        page.get_by_test_id("record").click()
        page.wait_for_timeout(1_200)
        with page.expect_console_message(lambda said: "frames are safe" in said.text) as said:
            page.get_by_test_id("stop").click()
        line = said.value.text
        page.close()
        assert server.address in line
        [wav] = server.wavs()
        facts = json.loads(wav.with_suffix(".json").read_text())
        assert facts["frames"] == int(line.split()[0]) > FAKE_MIC_RATE
        assert facts["verifiable"] is True
        assert facts["settings"]["echoCancellation"] is False


def test_a_page_of_an_origin_that_is_not_allowed_is_told_so(
    open_page: OpenPage, tmp_path: Path
) -> None:
    with hosted(tmp_path) as origin, Server.micwire(tmp_path / "recordings") as server:
        write_example(tmp_path / "page.html", server)
        page = open_page(f"{origin}/page.html", complaint="WebSocket")
        page.get_by_test_id("record").click()
        # It is kept here, and the page never says that it is recording on the server.
        page.wait_for_function(f"{STATUS}.state === 'offline'")
        status = page.evaluate(STATUS)
        assert status["durableFrames"] == 0
        assert status["keptFrames"] > FAKE_MIC_RATE
        assert server.wavs() == []
        page.close()


def test_a_ticket_is_asked_for_at_each_connection_and_never_kept(
    open_page: OpenPage, server: Server
) -> None:
    page = open_page(server.address)
    asked = page.evaluate(
        """async () => {
          const { Recorder } = await import("./recorder/micwire.js");
          let asked = 0;
          const recorder = new Recorder({ ticket: async () => `ticket-${++asked}-canary` });
          await recorder.start({ title: "With a ticket" });
          await new Promise((resolve) => setTimeout(resolve, 500));
          const receipt = await recorder.stop();
          await recorder.close();
          return { asked, matches: receipt.matches, recording: receipt.recording };
        }"""
    )
    assert asked["asked"] == 1
    assert asked["matches"] is True
    assert "canary" not in json.dumps(server.recording(asked["recording"]))


def test_a_strict_policy_lets_the_recorder_work(open_page: OpenPage, server: Server) -> None:
    """No inline script or style, nothing from elsewhere: what a careful site allows."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; worker-src 'self';"
        " connect-src 'self'; media-src 'self' blob:; img-src 'self' data:"
    )

    def with_policy(route: Route) -> None:
        answer = route.fetch()
        headers = answer.headers | {"content-security-policy": policy}
        route.fulfill(response=answer, headers=headers)

    page = open_page("about:blank")
    page.route(f"{server.address}/", with_policy)
    page.goto(f"{server.address}/")
    page.get_by_test_id("record").click()
    wait_until(page, f"{STATUS}.durableFrames > {FAKE_MIC_RATE // 2}")
    page.get_by_test_id("stop").click()
    wait_until(page, f"{STATUS}.state === 'finished'")
    assert page.evaluate(f"{STATUS}.receipt.matches") is True


def wait_until(page: Page, condition: str) -> None:
    """Wait from outside: what Playwright would wait with in the page is against its policy."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def test_the_class_works_as_the_readme_shows_it(open_page: OpenPage, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    code = readme.partition("```js\n")[2].partition("```")[0]
    with (
        hosted(tmp_path) as origin,
        Server.micwire(tmp_path / "recordings", "--allow-origin", origin) as server,
    ):
        script = code.replace("http://127.0.0.1:8000", server.address)
        icon = '<link rel="icon" href="data:,">'
        (tmp_path / "page.html").write_text(
            f'{icon}<script type="module">{script}\nwindow.receipt = receipt;</script>'
        )
        page = open_page(f"{origin}/page.html")
        page.wait_for_function("window.receipt")
        receipt = page.evaluate("window.receipt")
        page.close()
        assert receipt["matches"] is True
        assert (receipt["title"], receipt["channels"]) == ("Interview 3", 2)
        assert server.recording(receipt["recording"])["digest"] == receipt["digest"]
