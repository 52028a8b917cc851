"""micwire in a Django application, at /mic, with Django's own users (`django.contrib.auth`).

SECRET_KEY=... uvicorn --app-dir examples --ws websockets-sansio django_app:app
"""

import os
from importlib import import_module

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from micwire import create_app

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ["SECRET_KEY"],
    INSTALLED_APPS=[f"django.contrib.{name}" for name in ("auth", "contenttypes", "sessions")],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "django.sqlite3"}},
)
django.setup()


def who_asks(connection: HTTPConnection) -> int | None:
    """Return the id of the user; called on a thread, as Django's database wants it."""
    request = HttpRequest()
    store = import_module(settings.SESSION_ENGINE).SessionStore
    request.session = store(connection.cookies.get(settings.SESSION_COOKIE_NAME))
    user: int | None = import_module("django.contrib.auth").get_user(request).pk
    return user


urlpatterns = [path("", lambda request: HttpResponse("Record at /mic/"))]
recorder = create_app(authenticate=who_asks)
app = Starlette(routes=[Mount("/mic", recorder), Mount("/", get_asgi_application())])
