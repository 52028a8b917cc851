"""The player at `/library#<id>`: seen, heard, named, marked and taken away as a person does it."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from playwright.sync_api import Browser, Route, expect

from tests.browser.harness import Server
from tests.browser.library_page import COMPLAINT, LibraryPage, library
from tests.browser.stock import HOUR, RATE, Item, stock

TALK = Item(
    1,
    "Talk",
    20,
    ("one",),
    "First note.",
    gaps=((4, 2),),
    marks=((10, "Question"), (15, "Answer")),
    channels=2,
)
LONG = Item(2, "Ten hours", 10 * HOUR)
HELD = Item(3, "Evidence", 4, hold=True)
OPENS_MS = 5_000
"""A wide margin; it is some hundreds on an idle machine."""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with recordings to hear; a test that edits one has it as it found it."""
    data = tmp_path_factory.mktemp("player") / "recordings"
    stock(data, TALK, LONG, HELD)
    with Server.micwire(data) as server:
        yield server


@pytest.fixture
def own_shelf(tmp_path: Path) -> Iterator[Server]:
    """A server with a recording to edit."""
    stock(tmp_path / "recordings", TALK)
    with Server.micwire(tmp_path / "recordings") as server:
        yield server


def is_of_an_answer(said: str) -> bool:
    """Tell whether a complaint is the browser's own, of an answer that a test wanted."""
    return said.startswith(COMPLAINT)


def facts(server: Server, item: Item = TALK) -> dict[str, Any]:
    """Return what the server knows of a recording."""
    found: dict[str, Any] = server.recording(item.id)
    return found


def colours(page: LibraryPage, canvas: str, first_s: float, end_s: float, whole_s: float) -> Any:
    """Return how many points of a picture between two times are red, and how many are dark."""
    return page.page.evaluate(
        """([name, from, to]) => {
            const canvas = document.querySelector("micwire-library").shadowRoot
                .querySelector(`.${name}`);
            const { width, height } = canvas, left = Math.round(from * width);
            const { data } = canvas.getContext("2d")
                .getImageData(left, 0, Math.round(to * width) - left, height);
            let red = 0, dark = 0;
            for (let at = 0; at < data.length; at += 4) {
                const [r, g, b, a] = data.slice(at, at + 4);
                if (a > 40 && r > g + 60 && r > b + 60) red += 1;
                if (a > 200 && r < 90 && g < 90 && b < 90) dark += 1;
            }
            return [red, dark];
        }""",
        [canvas, first_s / whole_s, end_s / whole_s],
    )


# ---- seen ------------------------------------------------------------------------------


def test_gaps_are_red_where_they_are_and_sound_is_around_them(
    chromium: Browser, shelf: Server
) -> None:
    with library(chromium) as (page, _):
        page.open(shelf.address, TALK.id)
        expect(page.at("gaps")).to_contain_text("0:04.0")
        expect(page.at("gaps")).to_contain_text("2.00 s lost: the microphone was away")
        page.page.wait_for_timeout(700)
        for canvas in ("wave", "overview"):
            in_gap, _ = colours(page, canvas, 4.2, 5.8, 20)
            behind, sound = colours(page, canvas, 6.5, 19.5, 20)
            assert in_gap > 200, canvas
            assert behind == 0, canvas
            assert sound > 500, canvas


def test_the_waveform_is_zoomed_dragged_and_shown_whole_again(
    chromium: Browser, shelf: Server
) -> None:
    with library(chromium) as (page, _):
        page.open(shelf.address, TALK.id)
        window = page.at("window")
        expect(window).to_be_hidden()
        page.at("zoomIn").click()
        page.at("zoomIn").click()
        expect(window).to_be_visible()
        width = page.at("overview").bounding_box()
        box = window.bounding_box()
        assert width is not None
        assert box is not None
        assert box["width"] == pytest.approx(width["width"] / 4, abs=6)
        wave = page.at("wave").bounding_box()
        assert wave is not None
        mouse = page.page.mouse
        mouse.move(wave["x"] + 400, wave["y"] + 80)
        mouse.down()
        mouse.move(wave["x"] + 100, wave["y"] + 80, steps=4)
        mouse.up()
        moved = window.bounding_box()
        assert moved is not None
        assert moved["x"] > box["x"] + 30
        for _ in range(30):
            mouse.wheel(0, -400)
        closest = window.bounding_box()
        assert closest is not None
        assert closest["width"] < 8
        expect(page.at("time")).to_have_text("0:00.0 / 0:20.0")  # a drag is no click
        page.at("fit").click()
        expect(window).to_be_hidden()


def test_the_facts_of_a_recording_are_told(chromium: Browser, shelf: Server) -> None:
    with library(chromium) as (page, _):
        page.open(shelf.address, TALK.id)
        digest = facts(shelf)["digest"]
        sound = ("160,000 frames", "8,000 Hz", "stereo", "USB microphone", "echo cancellation off")
        for text in (*sound, "1, 2.00 s lost", "no frame was lost unseen", digest[:12]):
            expect(page.at("facts")).to_contain_text(text)
        page.open(shelf.address, HELD.id)
        expect(page.at("facts")).to_contain_text("can’t be deleted")
        expect(page.at("deleteThis")).to_be_disabled()


# ---- heard -----------------------------------------------------------------------------


def test_ten_hours_open_at_once_and_play_from_anywhere(chromium: Browser, shelf: Server) -> None:
    with library(chromium) as (page, _):
        page.open(shelf.address)
        page.row("Ten hours").locator(".name").click()
        expect(page.at("time")).to_have_text("0:00.0 / 10:00:00.0")
        opened = page.page.evaluate(
            """async () => {
                const began = performance.now();
                const root = document.querySelector("micwire-library").shadowRoot;
                root.querySelector(".play").click();
                while (root.querySelector(".time").textContent.startsWith("0:00.0")) {
                    await new Promise((resolve) => setTimeout(resolve, 20));
                }
                return performance.now() - began;
            }"""
        )
        assert opened < OPENS_MS
        wave = page.at("wave").bounding_box()
        assert wave is not None
        page.page.mouse.click(wave["x"] + wave["width"] * 0.9, wave["y"] + 80)
        expect(page.at("time")).to_have_text(re.compile(r"^(8:59|9:0\d):"))


def test_the_keyboard_plays_seeks_zooms_and_marks(chromium: Browser, own_shelf: Server) -> None:
    with library(chromium) as (page, _):
        page.open(own_shelf.address, TALK.id)
        keys, time = page.page.keyboard, page.at("time")
        keys.press("ArrowRight")
        expect(time).to_have_text("0:05.0 / 0:20.0")
        keys.press("l")
        expect(time).to_have_text("0:15.0 / 0:20.0")
        keys.press("j")
        keys.press("ArrowLeft")
        expect(time).to_have_text("0:00.0 / 0:20.0")
        keys.press("]")
        expect(time).to_have_text("0:04.0 / 0:20.0")  # the gap
        keys.press("]")
        expect(time).to_have_text("0:10.0 / 0:20.0")  # a mark
        keys.press("[")
        expect(time).to_have_text("0:04.0 / 0:20.0")
        keys.press("m")
        expect(page.at("marks")).to_contain_text("Mark 3")
        assert {"frame": 4 * RATE, "label": "Mark 3"} in facts(own_shelf)["marks"]
        keys.press("+")
        expect(page.at("window")).to_be_visible()
        keys.press("0")
        expect(page.at("window")).to_be_hidden()
        keys.press(">")
        expect(page.at("speed")).to_have_value("1.25")
        keys.press("Space")
        expect(page.at("play")).to_have_attribute("data-playing", "true")
        expect(time).not_to_have_text("0:04.0 / 0:20.0")
        keys.press("k")
        expect(page.at("play")).to_have_attribute("data-playing", "false")
        page.at("title").press("k")  # in a field, keys are letters
        expect(page.at("play")).to_have_attribute("data-playing", "false")
        expect(page.at("position")).to_have_attribute("aria-valuetext", re.compile("of 20 s"))


def test_marks_are_flags_that_jump_and_are_added_and_removed(
    chromium: Browser, own_shelf: Server
) -> None:
    with library(chromium) as (page, _):
        page.open(own_shelf.address, TALK.id)
        expect(page.at("flags").locator(".flag")).to_have_text(["Question", "Answer"])
        page.at("flags").get_by_text("Answer").click()
        expect(page.at("time")).to_have_text("0:15.0 / 0:20.0")
        page.at("markLabel").fill("Laughter")
        page.at("markLabel").press("Enter")
        expect(page.at("marks").locator("li")).to_have_count(3)
        expect(page.at("markLabel")).to_have_value("")
        page.at("marks").get_by_role("button", name="Remove the mark Question").click()
        expect(page.at("marks").locator("li")).to_have_count(2)
        assert [mark["label"] for mark in facts(own_shelf)["marks"]] == ["Answer", "Laughter"]


# ---- named -----------------------------------------------------------------------------


def test_title_tags_and_notes_are_edited_in_place(chromium: Browser, own_shelf: Server) -> None:
    with library(chromium) as (page, _):
        page.open(own_shelf.address)
        page.row("Talk").locator(".name").click()
        page.at("title").fill("  Talk about bees ")
        page.at("title").press("Enter")
        expect(page.at("titleState")).to_have_text("Saved")
        page.at("tag").fill("two, one, 三")
        page.at("tag").press("Enter")
        expect(page.at("tagsState")).to_have_text("Saved")
        page.at("tags").get_by_role("button", name="Remove the tag one").click()
        expect(page.at("tags").locator(".chip")).to_have_count(2)
        page.at("notes").fill("<b>Honey</b>\nと蜂")
        expect(page.at("notesState")).to_have_text("Saved")
        found = facts(own_shelf)
        assert (found["title"], found["tags"]) == ("Talk about bees", ["two", "三"])
        assert found["notes"] == "<b>Honey</b>\nと蜂"
        page.at("back").click()
        expect(page.row("Talk about bees")).to_contain_text("三")
        page.at("search").fill("honey")
        page.expect_titles("Talk about bees")


def test_what_somebody_else_changed_meanwhile_is_told(chromium: Browser, own_shelf: Server) -> None:
    def change(**changes: object) -> None:
        url = f"{own_shelf.address}/api/v1/recordings/{TALK.id}"
        assert httpx.patch(url, json=changes, trust_env=False).status_code == 200

    with library(chromium, may_complain=is_of_an_answer) as (page, _):
        page.open(own_shelf.address, TALK.id)
        change(title="Theirs", notes="Their note.")
        page.at("title").fill("Mine")
        page.at("title").press("Enter")
        expect(page.at("titleState")).to_contain_text("somebody changed it meanwhile, to “Theirs”")
        assert facts(own_shelf)["title"] == "Theirs"
        page.at("titleState").get_by_role("button", name="Keep mine").click()
        expect(page.at("titleState")).to_have_text("Saved")
        assert facts(own_shelf)["title"] == "Mine"
        change(title="Theirs again")
        page.at("title").fill("Mine again")
        page.at("title").press("Enter")
        page.at("titleState").get_by_role("button", name="Take theirs").click()
        expect(page.at("title")).to_have_value("Theirs again")
        change(notes="Their other note.")  # not what is being changed here
        page.at("tag").fill("new")
        page.at("tag").press("Enter")
        expect(page.at("tagsState")).to_have_text("Saved")
        assert facts(own_shelf)["tags"] == ["one", "new"]


def test_what_was_typed_stays_until_the_server_has_it(chromium: Browser, own_shelf: Server) -> None:
    def fail(route: Route) -> None:
        if route.request.method == "PATCH":
            body = json.dumps({"status": 507, "code": "storage-full", "title": "full"})
            route.fulfill(status=507, content_type="application/problem+json", body=body)
        else:
            route.continue_()

    with library(chromium, may_complain=is_of_an_answer) as (page, _):
        page.page.route("**/api/v1/recordings/*", fail)
        page.open(own_shelf.address)
        page.row("Talk").locator(".name").click()
        page.at("title").fill("Long thought of")
        page.at("title").press("Enter")
        expect(page.at("titleState")).to_contain_text("Not saved. What you typed is still here.")
        expect(page.at("titleState")).to_contain_text("disk is full")
        page.at("back").click()
        expect(page.at("notice")).to_contain_text("Not saved")
        page.row("Talk").locator(".name").click()
        expect(page.at("title")).to_have_value("Long thought of")
        page.page.unroute("**/api/v1/recordings/*")
        page.at("titleState").get_by_role("button", name="Try again").click()
        expect(page.at("titleState")).to_have_text("Saved")
        assert facts(own_shelf)["title"] == "Long thought of"


def test_notes_being_typed_are_saved_when_the_page_is_left(
    chromium: Browser, own_shelf: Server
) -> None:
    with library(chromium) as (page, _):
        page.open(own_shelf.address, TALK.id)
        page.at("notes").press_sequentially("And then ")
        page.at("toRecorder").click()
        expect(page.page.locator("micwire-recorder")).to_be_visible()
        page.open(own_shelf.address, TALK.id)
        expect(page.at("notes")).to_have_value(re.compile("And then "))


# ---- taken away ------------------------------------------------------------------------


def test_a_recording_is_downloaded_as_what_is_chosen(
    chromium: Browser, shelf: Server, tmp_path: Path
) -> None:
    with library(chromium) as (page, _):
        page.open(shelf.address, TALK.id)
        for name, kind in [("WAV", "WAV"), ("WAV, plain header", "WAV"), ("FLAC", "FLAC")]:
            with page.page.expect_download() as download:
                page.at("formats").get_by_role("button", name=re.compile(f"^{name}")).first.click()
            path = tmp_path / name
            shutil.copy(download.value.path(), path)
            info = soundfile.info(path)
            assert (info.format, info.frames, info.channels) == (kind, 20 * RATE, 2)
            assert not re.search(r"[/\\<>\"]", download.value.suggested_filename)


def test_a_format_that_the_server_lacks_says_what_to_do(chromium: Browser, shelf: Server) -> None:
    body = {"status": 501, "code": "no-encoder", "title": "No", "detail": "Install micwire[files]"}
    with library(chromium, may_complain=is_of_an_answer) as (page, _):
        page.page.route(
            "**/audio?format=opus*",
            lambda route: route.fulfill(
                status=501, content_type="application/problem+json", body=json.dumps(body)
            ),
        )
        page.open(shelf.address, TALK.id)
        page.at("formats").get_by_role("button", name="Opus").click()
        expect(page.at("downloadProblem")).to_contain_text("Install micwire[files]")


def test_a_recording_that_is_not_there_is_told(chromium: Browser, shelf: Server) -> None:
    with library(chromium, may_complain=is_of_an_answer) as (page, _):
        page.page.goto(f"{shelf.address}/library#00000000-0000-4000-8000-000000000000")
        expect(page.at("opening")).to_contain_text("There is no such recording: it was deleted")
        page.at("back").click()
        expect(page.rows).to_have_count(3)


def test_deleting_from_the_player_can_be_undone(chromium: Browser, own_shelf: Server) -> None:
    with library(chromium) as (page, _):
        page.open(own_shelf.address, TALK.id)
        page.at("deleteThis").click()
        expect(page.at("empty")).to_contain_text("No recordings yet")
        page.at("undo").click()
        page.expect_titles("Talk")
