"""What every page is held to, whatever it shows: all of it fits, can be read, and stays in place.

Each look is photographed into `build/screenshots/`.
"""

from playwright.sync_api import Page

from tests.browser.harness import ROOT

SCREENSHOTS = ROOT / "build" / "screenshots"
MAX_SHIFT = 0.05
MIN_CONTRAST = 4.5
_TEXTS = 20
"""A page with fewer has not been made yet."""

# Shifts that no click or key has caused, from the very first picture on.
WATCH_SHIFTS = """() => {
    window.shift = 0;
    new PerformanceObserver((list) => {
        for (const { value, hadRecentInput } of list.getEntries()) {
            if (!hadRecentInput) window.shift += value;
        }
    }).observe({ type: "layout-shift", buffered: true });
}"""

# Every text that can be seen, with its contrast to what is painted behind it.
_CONTRASTS = """() => {
    const ink = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        ink.clearRect(0, 0, 1, 1);
        ink.fillStyle = colour;
        ink.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = ink.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, below) => below.map((part, n) => top[n] * top[3] + part * (1 - top[3]));
    const parent = (node) => node.assignedSlot ?? node.parentElement ?? node.getRootNode().host;
    const chain = (node) => node ? [node, ...chain(parent(node))] : [];
    const luminance = (colour) => colour.slice(0, 3).map((part) => part / 255)
        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
    const contrast = (node, pseudo) => {
        const painted = chain(node).map((each) => rgba(getComputedStyle(each).backgroundColor));
        const behind = painted.reduceRight((below, top) => over(top, below), [255, 255, 255]);
        const colour = rgba(getComputedStyle(node, pseudo).color);
        colour[3] *= chain(node).reduce((all, each) => all * getComputedStyle(each).opacity, 1);
        const both = [luminance(over(colour, behind)), luminance(behind)];
        return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    };
    const found = [];
    const look = (root) => {
        for (const node of root.querySelectorAll("*")) {
            if (node.shadowRoot) look(node.shadowRoot);
            const isSeen = node.checkVisibility({ visibilityProperty: true });
            const own = [...node.childNodes].filter(({ nodeType }) => nodeType === Node.TEXT_NODE);
            const text = own.map(({ data }) => data).join("").trim();
            if (!isSeen || node.matches("style, script, title, option")) continue;
            if (text) found.push([text, contrast(node)]);
            if (node.matches("select")) found.push([node.selectedOptions[0]?.text, contrast(node)]);
            if (node.placeholder) found.push([node.placeholder, contrast(node, "::placeholder")]);
        }
    };
    look(document.body);
    return found;
}"""


def look_at(page: Page, name: str, *, texts: int = _TEXTS, is_whole: bool = True) -> None:
    """Photograph a state; whatever it is, all is inside the window and can be read.

    Args:
        page: What is looked at.
        name: Of the picture.
        texts: So many are on the page at least.
        is_whole: Photograph what is below the window's edge too.
    """
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=is_whole)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
    found: list[tuple[str, float]] = page.evaluate(_CONTRASTS)
    assert len(found) >= texts, found
    pale = [text for text in found if text[1] < MIN_CONTRAST]
    assert not pale, f"{name}: {pale}"
