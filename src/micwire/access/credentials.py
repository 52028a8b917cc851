"""What a request brings to say who asks: read from its headers, judged by nobody yet.

A cookie comes along with every request that any page makes, so it counts only where the
page is ours: by the Origin that the browser tells, and by its fetch metadata. Over https
its name begins with `__Host-`, which no other host and no plain page can set. Plain http
can't have such a cookie; there the name holds the port, as browsers tell cookies of one
host's ports apart by nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SECURE_COOKIE = "__Host-micwire"
_HTTPS = ("https", "wss")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A bearer token, or the value of a session's cookie, or neither."""

    bearer: str | None = None
    session: str | None = None
    is_secure: bool = False
    """The cookie is one that only https can have set."""


def origin_of(url: str) -> str:
    """Return the origin of an address, as browsers write it; nothing of nothing."""
    scheme, _, rest = url.lower().partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if rest else ""


def read_credentials(request: Mapping[str, Any], public_origin: str = "") -> Credentials:
    """Read the headers of an ASGI scope; with a bearer token no cookie counts.

    Args:
        request: The scope.
        public_origin: That of our pages where a proxy calls the server by another name.
    """
    found = headers_of(request)
    bearers = found.get("authorization", [])
    if bearers:
        scheme, _, token = bearers[0].partition(" ")
        is_bearer = len(bearers) == 1 and scheme.lower() == "bearer"
        return Credentials(bearer=token.strip() if is_bearer else "")
    if not _is_own_page(request, found, public_origin):
        return Credentials()
    cookies = _cookies(found.get("cookie", []))
    if SECURE_COOKIE in cookies:
        return Credentials(session=cookies[SECURE_COOKIE], is_secure=True)
    if is_https(request):
        return Credentials()
    return Credentials(session=cookies.get(cookie_name(request, is_secure=False)))


def headers_of(request: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the headers of an ASGI scope by their names in lower case."""
    found: dict[str, list[str]] = {}
    for name, value in request["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def is_https(request: Mapping[str, Any]) -> bool:
    """Tell whether the browser speaks https, as far as one can know behind a proxy."""
    origins = headers_of(request).get("origin", [])
    return request.get("scheme") in _HTTPS or any(
        origin.lower().startswith("https://") for origin in origins
    )


def cookie_name(request: Mapping[str, Any], *, is_secure: bool) -> str:
    """Return the name of the session's cookie for the address that was called."""
    if is_secure:
        return SECURE_COOKIE
    host = "".join(headers_of(request).get("host", []))
    port = host.rpartition(":")[2]
    return f"micwire-{port if port.isascii() and port.isdigit() else 80}"


def is_own_origin(found: Mapping[str, list[str]], public_origin: str) -> bool:
    """Tell whether a page of this very host asks; True where it is no page."""
    origins, hosts = found.get("origin", []), found.get("host", [])
    if not origins:
        return True
    if public_origin and [origin.lower() for origin in origins] == [public_origin]:
        return True
    own = [f"{scheme}://{host.lower()}" for host in hosts for scheme in ("http", "https")]
    return len(origins) == len(hosts) == 1 and origins[0].lower() in own


def _is_own_page(
    request: Mapping[str, Any], found: Mapping[str, list[str]], public_origin: str
) -> bool:
    if not is_own_origin(found, public_origin):
        return False
    site = found.get("sec-fetch-site", ["none"])[0]
    # Whoever follows a link to us stays signed in; a foreign page that embeds or fetches doesn't.
    is_followed = (
        request.get("method") == "GET"
        and found.get("sec-fetch-mode") == ["navigate"]
        and found.get("sec-fetch-dest") == ["document"]
    )
    return site in ("same-origin", "none") or is_followed


def _cookies(headers: list[str]) -> dict[str, str]:
    cookies: dict[str, str] = {}
    twice: set[str] = set()
    for header in headers:
        for pair in header.split(";"):
            name, _, value = pair.strip().partition("=")
            if name in cookies and cookies[name] != value:
                twice.add(name)  # one of them was put there by somebody else
            cookies[name] = value.strip('"')
    return {name: value for name, value in cookies.items() if name not in twice}
