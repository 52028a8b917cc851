"""The page at `/library`, as a test works it: by its buttons and keys, and by what it shows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

COMPLAINT = "Failed to load resource"
"""What a browser complains of by itself, whatever the page makes of an answer."""


class LibraryPage:
    """A page with the library in it; `Page` is Playwright's."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, address: str, recording: str = "") -> "LibraryPage":
        """Load the list, or the player of a recording."""
        self.page.goto(f"{address}/library{'#' if recording else ''}{recording}")
        self.page.evaluate("document.documentElement.lang")
        if recording:
            expect(self.at("deck")).to_be_visible()
        return self

    def at(self, name: str) -> Locator:
        """Return the part with a `data-testid`."""
        return self.page.get_by_test_id(name)

    @property
    def rows(self) -> Locator:
        """The rows that are elements now."""
        return self.page.locator("li.row")

    def row(self, title: str) -> Locator:
        """Return the row of a title."""
        return self.rows.filter(has=self.page.get_by_text(title, exact=True))

    def titles(self) -> list[str]:
        """Return the titles of the rows from above to below."""
        return self.page.locator("li.row .name").all_text_contents()

    def expect_titles(self, *titles: str) -> None:
        """Wait until these rows are there, in this order, and no others."""
        expect(self.page.locator("li.row .name")).to_have_text(list(titles))

    def focused(self) -> str:
        """Return the text of what has the focus, or its name for who can't see it."""
        said: str = self.page.evaluate("""() => {
            let node = document.activeElement;
            while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
            return node?.ariaLabel || node?.textContent || node?.dataset.testid || "";
        }""")
        return said


@contextmanager
def library(
    browser: Browser,
    *,
    width: int = 1280,
    height: int = 800,
    locale: str = "en-GB",
    scheme: str = "light",
    may_complain: Callable[[str], bool] = lambda said: False,
) -> Iterator[tuple[LibraryPage, BrowserContext]]:
    """Yield a library page in a fresh profile; whatever it complains of is a failure."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        locale=locale,
        timezone_id="UTC",
    )
    unexpected: list[str] = []
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("pageerror", lambda error: unexpected.append(str(error)))
    page.on("console", lambda said: unexpected.append(said.text) if said.type == "error" else None)
    yield LibraryPage(page), context
    context.close()
    unexpected = [said for said in unexpected if not may_complain(said)]
    assert not unexpected, unexpected
