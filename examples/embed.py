"""micwire inside another web application: that one shows the page, micwire keeps the sound.

    python examples/embed.py

Then open http://127.0.0.1:8000/memo. Settings come from MICWIRE_* and micwire.toml.
"""

from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Mount, Route

from micwire import create_app

PAGE = Path(__file__).with_name("memo.html")
recorder = create_app()


async def memo(request: Request) -> FileResponse:
    """Show the page."""
    return FileResponse(PAGE)


app = Starlette(routes=[Route("/memo", memo), Mount("/", recorder)])

if __name__ == "__main__":
    uvicorn.run(
        app,
        host=recorder.config.host,
        port=recorder.config.port,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
    )
