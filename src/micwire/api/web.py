"""The page and the recorder's modules: files served as they are.

Modules below `recorder/` are for pages of other origins too: whoever embeds the recorder
imports them from here. They hold nothing secret, and no route here looks at who asks.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles

WEB = Path(__file__).parents[1] / "web"
EMBEDDED = WEB / "recorder"


class WebFiles(StaticFiles):
    """Serves `src/micwire/web`; a browser asks each time whether a file has changed."""

    def __init__(self) -> None:
        super().__init__(directory=WEB, html=True)

    def get_path(self, scope: MutableMapping[str, Any]) -> str:
        """Return the path below the directory; that of a folder is its `index.html`."""
        path = super().get_path(scope)
        return f"{path}/index.html" if scope["path"].endswith("/") else path

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Find a file; the page `NAME.html` is at `/NAME`, beside its modules in `NAME/`."""
        if path and not Path(path).suffix:
            page = super().lookup_path(f"{path}.html")
            if page[1] is not None:
                return page
        return super().lookup_path(path)

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: MutableMapping[str, Any],
        status_code: int = 200,
    ) -> Response:
        """Return a file with the headers that modules need.

        A page of another origin can import a module only with CORS, and modules of an
        older version beside newer ones would not fit: nothing is kept unasked.
        """
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if Path(full_path).suffix == ".js":
            response.headers["Content-Type"] = "text/javascript; charset=utf-8"
        if Path(full_path).is_relative_to(EMBEDDED):
            response.headers["Access-Control-Allow-Origin"] = "*"
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return response
