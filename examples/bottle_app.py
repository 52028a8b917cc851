"""A Bottle application whose pages record on a micwire server beside it, as in flask_app.py.

Run it with `MICWIRE_TOKEN=... python examples/bottle_app.py`, and the server with
`micwire serve --access token --allow-origin http://127.0.0.1:8080`.
"""

import os
from urllib.request import Request, urlopen

from bottle import Bottle, response

MICWIRE = os.environ.get("MICWIRE_URL", "http://127.0.0.1:8000")
app = Bottle()


@app.get("/")
def page() -> str:
    return f"""<!doctype html><meta charset="utf-8"><title>Say something</title>
<micwire-recorder></micwire-recorder>
<script type="module" src="{MICWIRE}/recorder/micwire.js"></script>
<script type="module">
  document.querySelector("micwire-recorder").ticket = async () => {{
    const answer = await fetch("/ticket", {{ method: "POST" }});
    return (await answer.json()).ticket;
  }};
</script>"""


@app.post("/ticket")
def ticket() -> bytes:
    """Hand a ticket to whom your own sign-in has let in."""
    response.content_type = "application/json"
    bearer = {"Authorization": f"Bearer {os.environ['MICWIRE_TOKEN']}"}
    with urlopen(Request(f"{MICWIRE}/api/v1/tickets", b"", bearer)) as answer:
        return bytes(answer.read())


if __name__ == "__main__":
    app.run(port=8080)
