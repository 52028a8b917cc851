"""A Flask application whose pages record on a micwire server beside it.

WSGI can't carry sockets, so the browser opens its socket to micwire. Flask decides who may: it
fetches a ticket, good for one socket within 30 s, with an API token that no page sees.

    MICWIRE_TOKEN=... flask --app examples/flask_app.py run

The token is that of `micwire token create flask --scope record`, and the server is started with
`micwire serve --access token --allow-origin http://127.0.0.1:5000`.
"""

import os
from urllib.request import Request, urlopen

from flask import Flask, Response

MICWIRE = os.environ.get("MICWIRE_URL", "http://127.0.0.1:8000")
app = Flask(__name__)


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
def ticket() -> Response:
    """Hand a ticket to whom your own sign-in has let in."""
    bearer = {"Authorization": f"Bearer {os.environ['MICWIRE_TOKEN']}"}
    with urlopen(Request(f"{MICWIRE}/api/v1/tickets", b"", bearer)) as answer:
        return Response(answer.read(), mimetype="application/json")
