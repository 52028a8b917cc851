"""Orders at awkward moments: each ends, the microphone is let go, and the page says what is so."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import OpenPage
from tests.browser.harness import Server
from tests.browser.recorder_page import RecorderPage

# Counts what is open; a prompt that a person takes a second to answer.
SLOW_PROMPT = """
    window.tracks = [];
    const ask = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
    if (ask) navigator.mediaDevices.getUserMedia = async (wanted) => {
        await new Promise((resolve) => setTimeout(resolve, window.promptMs ?? 0));
        const stream = await ask(wanted);
        window.tracks.push(...stream.getTracks());
        return stream;
    };
    window.live = () => window.tracks.filter((track) => track.readyState === "live").length;
    window.outcome = (promise) => promise.then(() => "done", ({ code }) => code);
    window.wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
"""


@pytest.fixture
def page(open_page: OpenPage, server: Server) -> RecorderPage:
    """The page, with a recorder of the test's own beside it in `recorder`."""
    page = RecorderPage(open_page("about:blank", script=SLOW_PROMPT)).open(server.address)
    page.page.evaluate("""async () => {
        const { Recorder } = await import("/recorder/micwire.js");
        window.Recorder = Recorder;
        window.recorder = new Recorder();
    }""")
    return page


def run(page: RecorderPage, script: str) -> Any:
    """Return what a script returns that works `recorder`."""
    return page.page.evaluate(f"async () => {{ {script} }}")


@pytest.mark.parametrize("after_ms", [0, 20, 300, 520])
def test_a_discard_while_the_microphone_is_being_opened_ends_it(
    page: RecorderPage, server: Server, after_ms: int
) -> None:
    before = len(server.wavs())
    found = run(
        page,
        f"""
        window.promptMs = 500;
        const started = outcome(recorder.start());
        await wait({after_ms});
        await recorder.discard();
        const code = await started;
        await wait(700);
        const {{ state, take }} = recorder.status;
        return [code, state, take, live()];""",
    )
    assert found == ["discarded", "idle", None, 0]
    assert len(server.wavs()) == before


def test_after_a_discarded_start_the_next_one_records(page: RecorderPage, server: Server) -> None:
    found = run(
        page,
        """
        window.promptMs = 300;
        const first = outcome(recorder.start());
        await wait(100);
        await recorder.discard();
        await recorder.start({ title: "The second" });
        await wait(500);
        const receipt = await recorder.stop();
        return [await first, receipt.title, receipt.matches, receipt.frames > 4410, live()];""",
    )
    assert found == ["discarded", "The second", True, True, 0]


def test_a_closed_recorder_lets_the_microphone_go_and_leaves_nothing_waiting(
    page: RecorderPage,
) -> None:
    found = run(
        page,
        """
        window.promptMs = 300;
        const started = outcome(recorder.start());
        await wait(50);
        await recorder.close();
        const code = await Promise.race([started, wait(3000)]);
        await wait(500);
        return [code, live()];""",
    )
    assert found[0] in ("closed", "discarded")
    assert found[1] == 0


def test_what_the_server_would_refuse_is_refused_before_the_microphone_opens(
    page: RecorderPage,
) -> None:
    found = run(
        page,
        """
        return [
            await outcome(recorder.start({ title: "x".repeat(17_000) })),
            await outcome(recorder.start({ metadata: { age: 42 } })),
            recorder.status.state, tracks.length];""",
    )
    assert found == ["invalid", "invalid", "idle", 0]


def test_a_discard_of_a_take_with_a_finished_part_says_so_and_lets_the_microphone_go(
    page: RecorderPage,
) -> None:
    found = run(
        page,
        """
        await recorder.start();
        await wait(300);
        await recorder.setDevice();
        await wait(300);
        return [await outcome(recorder.discard()), recorder.status.state, live()];""",
    )
    assert found == ["finished", "idle", 0]


def test_a_mark_where_nothing_is_recorded_is_an_error_and_breaks_nothing(
    page: RecorderPage,
) -> None:
    found = run(
        page,
        """
        const early = await outcome(recorder.mark("early"));
        await recorder.start();
        await wait(300);
        await recorder.mark("here");
        await recorder.mark("here");
        const stopped = recorder.stop();
        const late = await outcome(recorder.mark("late"));
        const { matches, marks } = await stopped;
        return [early, late, matches, marks.map(({ label }) => label)];""",
    )
    assert found[0] == "idle"
    assert found[2] is True
    assert "early" not in found[3]
    assert ("late" in found[3]) == (found[1] == "done")


@pytest.mark.parametrize(
    "ticket", ["async () => { throw new Error('down') }", "() => { throw new Error('down') }"]
)
def test_a_ticket_that_fails_once_costs_nothing(
    page: RecorderPage, server: Server, ticket: str
) -> None:
    found = run(
        page,
        f"""
        let asked = 0;
        const fails = {ticket};
        const mine = new Recorder({{ ticket: () => ++asked === 1 ? fails() : "ticket" }});
        const problems = [];
        mine.addEventListener("error", ({{ detail }}) => problems.push(detail.code));
        await mine.start();
        await wait(2000);
        const receipt = await mine.stop();
        await mine.close();
        return [receipt.matches, problems, asked, receipt.recording];""",
    )
    assert found[:3] == [True, ["unauthenticated"], 2]
    assert server.recording(found[3])["status"] == "finished"


def test_stopping_twice_is_stopping_once(page: RecorderPage, tmp_path: Path) -> None:
    found = run(
        page,
        """
        await recorder.start();
        await wait(300);
        const first = recorder.stop(), second = await outcome(recorder.stop());
        return [(await first).matches, second];""",
    )
    assert found == [True, "idle"]


def test_a_stale_device_fails_loudly_and_no_other_is_taken(page: RecorderPage) -> None:
    found = run(
        page,
        """
        const code = await outcome(recorder.start({ deviceId: "0".repeat(64) }));
        return [code, recorder.status.state, recorder.status.error.code, tracks.length];""",
    )
    assert found == ["device-gone", "idle", "device-gone", 0]


def test_a_constraint_that_is_not_honoured_is_named_and_stored(
    page: RecorderPage, server: Server
) -> None:
    found = run(
        page,
        """
        const settings = MediaStreamTrack.prototype.getSettings;
        MediaStreamTrack.prototype.getSettings = function () {
            return { ...settings.call(this), noiseSuppression: true };
        };
        await recorder.start();
        await wait(300);
        const live = recorder.status.mismatches;
        const receipt = await recorder.stop();
        return [live, receipt.mismatches, receipt.recording];""",
    )
    assert found[:2] == [["noiseSuppression"], ["noiseSuppression"]]
    facts: Any = server.recording(found[2])
    assert facts["settings"]["noiseSuppression"] is True
    assert facts["settings"]["echoCancellation"] is False
