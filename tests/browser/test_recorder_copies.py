"""When the server is gone for good, or has lost its disk: the sound is the person's to keep."""

import base64
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.harness import FAKE_MIC_RATE, Server
from tests.browser.link import Link
from tests.browser.places import Heard, check_wav
from tests.browser.recorder_page import (
    RecorderPage,
    assert_honest,
    assert_whole,
    expect_nothing_kept,
)

SPAN = 20 * FAKE_MIC_RATE


def test_the_sound_of_a_server_that_is_gone_for_good_is_saved_from_the_open_page(
    open_page: OpenPage, own_server: Server, tmp_path: Path
) -> None:
    page = RecorderPage(open_page("about:blank", complaint="WebSocket")).open(own_server.address)
    recording = page.begin()
    own_server.kill()
    page.talk(2)
    page.at("stop").click()
    page.wait_until("status.state === 'finishing'")
    page.talk(1)  # until the last of the sound has come
    status = page.status
    saved = page.page.evaluate(
        """async (recording) => {
            const { recorder } = document.querySelector("micwire-recorder");
            const { blob, firstFrame, frames } = await recorder.saveCopy(recording);
            const bytes = new Uint8Array(await blob.arrayBuffer());
            let text = "";
            for (let at = 0; at < bytes.length; at += 8192)
                text += String.fromCharCode(...bytes.subarray(at, at + 8192));
            return { wav: btoa(text), firstFrame, frames };
        }""",
        recording,
    )
    path = tmp_path / "copy.wav"
    path.write_bytes(base64.b64decode(saved["wav"]))
    found = check_wav(path, "chromium", SPAN)
    assert found.faults == []
    assert found.end - found.first == saved["frames"]
    assert saved["firstFrame"] <= status["durableFrames"]
    assert saved["firstFrame"] + saved["frames"] == status["capturedFrames"]


def download(page: RecorderPage, path: Path) -> Heard:
    """Press the button that saves a copy."""
    with page.page.expect_download() as download:
        page.at("unfinished").get_by_test_id("copy").click()
    download.value.save_as(path)
    return check_wav(path, "chromium", SPAN)


def test_a_server_that_lost_its_disk_is_told_from_one_that_is_away(
    open_page: OpenPage, own_server: Server, link: Link, tmp_path: Path
) -> None:
    first = RecorderPage(open_page("about:blank", complaint="WebSocket")).open(link.address)
    first.begin()
    link.refuse()
    first.talk(2)
    captured, durable = (first.status[name] for name in ("capturedFrames", "durableFrames"))
    first.page.close(run_before_unload=False)
    own_server.kill()
    with Server.micwire(tmp_path / "new disk", "--port", str(own_server.port)) as server:
        link.restore()
        page = RecorderPage(open_page("about:blank")).open(link.address)
        page.wait_until("unfinished.some(({ state }) => state === 'refused')")
        assert page.unfinished[0]["code"] == "diverged"
        found = download(page, tmp_path / "copy.wav")
        assert found.faults == []
        assert found.end - found.first >= captured - durable
        assert found.end - found.first + page.unfinished[0]["releasedFrames"] >= captured
        assert server.wavs() == []
        page.at("unfinished").get_by_test_id("forget").click()
        page.at("unfinished").get_by_test_id("forgetYes").click()
        expect_nothing_kept(page)


def test_a_full_disk_is_told_and_costs_nothing_while_the_tab_is_open(
    open_page: OpenPage, own_server: Server, link: Link, tmp_path: Path
) -> None:
    page = RecorderPage(open_page("about:blank", complaint="WebSocket")).open(link.address)
    devtools = page.page.context.new_cdp_session(page.page)
    quota = {"origin": link.address, "quotaSize": 2_500_000}
    devtools.send("Storage.overrideQuotaForOrigin", quota)
    page.begin()
    link.refuse()
    page.wait_until("status.keeping === 'memory'", 30)
    page.talk(2)
    problem = page.at("problem").inner_text()
    assert "disk may be full" in problem or "no room" in problem
    assert "unexpected" not in problem
    assert "reload" not in problem.lower(), "that would lose what is in memory"
    assert page.at("warning").inner_text() != ""
    link.restore()
    page.wait_until("status.state === 'recording'")
    assert_whole(own_server, page.stop(), tmp_path)
    expect_nothing_kept(page)
    assert_honest(page.shown)


def test_marks_and_pauses_outlive_the_servers_death(
    open_page: OpenPage, own_server: Server, tmp_path: Path
) -> None:
    page = RecorderPage(open_page("about:blank", complaint="WebSocket")).open(own_server.address)
    recording = page.begin()
    page.at("mark").click()
    own_server.kill()
    page.talk(0.5)
    page.at("mark").click()
    page.talk(0.2)
    page.at("pause").click()
    page.talk(0.2)
    paused = page.status["capturedFrames"]
    page.talk(1)
    assert page.status["capturedFrames"] == paused
    page.at("resume").click()
    page.talk(0.5)
    with Server.micwire(own_server.data, "--port", str(own_server.port)) as server:
        receipt = page.stop()
        marks: list[dict[str, object]] = server.recording(recording)["marks"]  # type: ignore[assignment] # JSON
        assert [mark["frame"] for mark in marks] == [mark["frame"] for mark in receipt["marks"]]
        assert len(marks) == 3
        assert str(marks[2]["label"]).startswith("pause 1.")
        assert marks[2]["frame"] == paused
        path = server.wav(recording, tmp_path / "paused.wav")
        [left_out] = check_wav(path, "chromium", SPAN).faults
        # What was said in the pause is not there, and nothing else is missing.
        assert (left_out.kind, left_out.frame) == ("gap", paused)
        assert FAKE_MIC_RATE < left_out.frames < 2 * FAKE_MIC_RATE


def test_what_is_discarded_without_server_is_deleted_at_its_return(
    open_page: OpenPage, own_server: Server, tmp_path: Path
) -> None:
    page = RecorderPage(open_page("about:blank", complaint="WebSocket")).open(own_server.address)
    page.begin()
    own_server.kill()
    page.talk(0.5)
    page.at("discard").click()
    page.at("discardYes").click()
    page.wait_until("status.state === 'idle'")
    with Server.micwire(own_server.data, "--port", str(own_server.port)) as server:
        expect_nothing_kept(page)
        assert server.wavs() == []
        page.begin()
        assert_whole(server, page.stop(), tmp_path)
        expect(page.at("state")).to_have_attribute("role", "status")
