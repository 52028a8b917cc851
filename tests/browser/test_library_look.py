"""The library as a person meets it: on desk and phone, light and dark, English and Japanese.

What is shown is photographed into `build/screenshots/`.
"""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.harness import Server
from tests.browser.library_page import library
from tests.browser.looks import MAX_SHIFT, WATCH_SHIFTS, look_at
from tests.browser.stock import HOUR, MINUTE, Item, stock

TALK = Item(
    86_400,
    "Interview with Ana",
    47,
    ("interview", "field"),
    "She says it at the beginning.",
    gaps=((12, 0.5), (30, 3)),
    marks=((9, "Where it began"), (26, "The river")),
    channels=2,
)
OTHERS = [
    Item(10, "読み上げテスト", 3, ("会議",)),
    Item(3_600, "A long title " + "that says everything " * 8, 12 * MINUTE, ("draft",)),
    Item(40_000, "Lecture 4: Fourier", 2 * HOUR, ("talk", "2026"), status="interrupted"),
    Item(50_000, None, 5, gaps=((1, 1),)),
    *(Item(60_000 + n, f"Stand-up {n}", 20 + n, ("team",)) for n in range(12)),
]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with recordings of all kinds."""
    data = tmp_path_factory.mktemp("look") / "recordings"
    stock(data, TALK, *OTHERS)
    with Server.micwire(data) as server:
        yield server


@pytest.mark.parametrize(
    ("width", "scheme", "locale"),
    [
        (1280, "light", "en-GB"),
        (1280, "dark", "ja-JP"),
        (360, "dark", "en-GB"),
        (320, "light", "ja-JP"),
    ],
)
def test_everything_fits_is_legible_and_moves_nothing(
    width: int, scheme: str, locale: str, chromium: Browser, shelf: Server
) -> None:
    def name(state: str) -> str:
        return f"library-{state}-{width}-{scheme}-{locale[:2]}"

    with library(chromium, width=width, scheme=scheme, locale=locale) as (page, _):
        page.open(shelf.address)
        page.page.evaluate(WATCH_SHIFTS)
        expect(page.row("Interview with Ana")).to_be_visible()
        assert page.page.evaluate("document.documentElement.lang") == locale[:2]
        page.page.wait_for_timeout(500)
        look_at(page.page, name("list"), is_whole=False)
        page.rows.nth(1).locator("input").click()
        page.rows.nth(3).locator(".name").click(modifiers=["Shift"])
        look_at(page.page, name("selection"), is_whole=False)
        page.at("delete").click()
        look_at(page.page, name("undo"), is_whole=False)
        page.at("undo").click()
        page.at("search").fill("xyzzy")
        expect(page.at("clearFilters")).to_be_visible()
        look_at(page.page, name("nothing"), texts=5)
        page.at("clearFilters").click()
        page.row("Interview with Ana").locator(".name").click()
        expect(page.at("flags").locator(".flag")).to_have_count(2)
        page.page.wait_for_timeout(500)
        look_at(page.page, name("player"))
        page.at("zoomIn").click()
        page.at("zoomIn").click()
        page.at("keys").locator("summary").click()
        page.page.wait_for_timeout(300)
        look_at(page.page, name("zoomed"))
        assert page.page.evaluate("shift") < MAX_SHIFT


def test_an_empty_library_looks_inviting(chromium: Browser, server: Server) -> None:
    for width, scheme, locale in [(1280, "dark", "en-GB"), (360, "light", "ja-JP")]:
        with library(chromium, width=width, scheme=scheme, locale=locale) as (page, _):
            page.open(server.address)
            expect(page.at("empty").get_by_role("link")).to_be_visible()
            look_at(page.page, f"library-empty-{width}-{scheme}-{locale[:2]}", texts=5)


def test_the_language_is_switched_and_kept_from_page_to_page(
    chromium: Browser, shelf: Server
) -> None:
    with library(chromium) as (page, _):
        page.open(shelf.address, TALK.id)
        page.at("notes").fill("half a sen")
        page.at("lang").click()
        expect(page.at("addMark")).to_have_text("マークを付ける")
        expect(page.at("notes")).to_have_value("half a sen")
        page.at("toRecorder").click()
        expect(page.at("record")).to_have_text("録音")
        page.at("lang").click()
        page.at("toLibrary").click()
        expect(page.at("count")).to_have_text("17 recordings")


def test_both_languages_say_everything(chromium: Browser, shelf: Server) -> None:
    with library(chromium) as (page, _):
        page.open(shelf.address)
        words = page.page.evaluate("import('./library/words.js').then(({ words }) => words)")
    assert words["en"].keys() == words["ja"].keys()
    places = re.compile(r"\{\w+\}")
    for key, text in words["en"].items():
        other = words["ja"][key]
        assert text.strip(), key
        assert other.strip(), key
        assert set(places.findall(other)) <= set(places.findall(text)), key


def test_all_controls_have_names(chromium: Browser, shelf: Server) -> None:
    with library(chromium) as (page, _):
        page.open(shelf.address)
        expect(page.rows.first).to_be_visible()
        snapshots = [page.page.locator("body").aria_snapshot()]
        page.row("Interview with Ana").locator(".name").click()
        expect(page.at("flags").locator(".flag")).to_have_count(2)
        snapshots.append(page.page.locator("body").aria_snapshot())
    kinds = "button|textbox|searchbox|combobox|checkbox|link|slider|listitem"
    for snapshot in snapshots:
        controls = re.findall(rf"- (?:{kinds})\b.*", snapshot)
        assert len(controls) > 15
        named = [line for line in controls if not line.startswith("- listitem")]
        assert [line for line in named if not re.search(r' "[^"]+"', line)] == [], snapshot
