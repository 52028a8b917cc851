"""micwire in a FastAPI application, at /mic, with the application's own users.

    pip install fastapi itsdangerous
    uvicorn --app-dir examples --ws websockets-sansio fastapi_app:app

Sign in at http://127.0.0.1:8000/docs, then record at http://127.0.0.1:8000/mic/.
"""

import secrets

from fastapi import FastAPI, Request
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection

from micwire import create_app

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=secrets.token_hex())


@app.post("/sign-in/{name}")
async def sign_in(name: str, request: Request) -> dict[str, str]:
    """Let somebody in; yours would ask for more than a name."""
    request.session["user"] = name
    return {"user": name}


def who_asks(connection: HTTPConnection) -> str | None:
    """Return the id of the user, for requests and sockets alike; None is nobody."""
    user: str | None = connection.session.get("user")
    return user


app.mount("/mic", create_app(authenticate=who_asks))
