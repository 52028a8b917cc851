"""Texts that would run if a page took them for anything but text, and a watch over a page.

Put `PAYLOAD` wherever a person or a program can put a text, open what shows it inside
`watched`, and nothing must come of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Page, Request

PAYLOADS = (
    "<img src=x onerror=alert(1)>",
    "\"'></title></textarea><script>alert(2)</script>",
    "<svg/onload=fetch('//evil.test/svg')>",
    "<iframe srcdoc='<script>parent.alert(3)</script>'>",
    "<link rel=stylesheet href=//evil.test/style>",
    "javascript:alert(4)//`${alert(5)}`{{alert(6)}}",
)
PAYLOAD = " ".join(PAYLOADS)
"""All of them, 1 to 1,000 characters; `MARK` is in it, to see that it is shown."""
MARK = "<img src=x onerror=alert(1)>"


@contextmanager
def watched(page: Page, origin: str) -> Iterator[None]:
    """Assert that a page opens no dialog, asks nobody else, and lets no policy stop anything."""
    found: list[str] = []

    def on_request(request: Request) -> None:
        url = request.url
        if urlsplit(url).scheme in ("http", "https", "ws", "wss") and not url.startswith(
            (origin, origin.replace("http", "ws", 1))
        ):
            found.append(f"request: {url}")

    def on_dialog(dialog: object) -> None:
        found.append("dialog")
        page.once("dialog", lambda _: None)
        dialog.dismiss()  # type: ignore[attr-defined]  # Playwright's Dialog

    page.on("request", on_request)
    page.on("dialog", on_dialog)
    page.on(
        "console",
        lambda said: found.append(said.text) if "Content Security Policy" in said.text else None,
    )
    yield
    made = page.evaluate(
        """() => {
            const roots = [document];
            for (const root of roots)
                for (const node of root.querySelectorAll("*"))
                    if (node.shadowRoot) roots.push(node.shadowRoot);
            return roots.flatMap((root) => [...root.querySelectorAll(
                "img[src=x], script:not([src]), [onload], [onerror], iframe, a[href^='javascript']"
            )].map((node) => node.outerHTML));
        }"""
    )
    assert [*found, *made] == []
