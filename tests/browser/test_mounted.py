"""The pages below a prefix of another application, for its own people: they find all they need."""

from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, expect

from tests.browser.harness import eventually
from tests.browser.recorder_page import RecorderPage
from tests.test_examples import running, uvicorn


def test_the_page_of_a_mounted_app_records_for_the_hosts_user(
    chromium: Browser, tmp_path: Path
) -> None:
    with running(tmp_path, *uvicorn("fastapi_app")) as port:
        address = f"http://127.0.0.1:{port}"
        context = chromium.new_context(permissions=["microphone"])
        complaints: list[str] = []

        def on_console(said: ConsoleMessage) -> None:
            if said.type == "error":
                complaints.append(said.text)

        context.on("console", on_console)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.request.post(f"{address}/sign-in/ada")
        page = RecorderPage(context.new_page()).open(f"{address}/mic")
        assert page.page.url == f"{address}/mic/"
        page.begin("pcm_s16le", 2)
        page.talk(1)
        receipt = page.stop()
        assert receipt["url"].startswith(f"{address}/mic/api/v1/recordings/")
        assert context.request.get(receipt["url"]).ok
        # The catalogue follows behind, and at first takes its time.
        listed = f"{address}/mic/api/v1/recordings"
        eventually(lambda: context.request.get(listed).json()["recordings"] != [])
        page.page.get_by_role("link", name="Library").click()
        page.page.wait_for_url(f"{address}/mic/library")
        expect(page.page.get_by_text("1 recording")).to_be_visible(timeout=15_000)
        assert complaints == []
        context.close()
