"""Which pages may open a socket here: the exact Origin check.

A browser sends cookies and reaches loopback addresses from any page it shows, so a socket
without this check is open to every website a person visits.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_OF_PROXIES = frozenset({"forwarded", "via", "x-real-ip"})


def is_loopback(host: str) -> bool:
    """Tell whether a listening address can only be reached from this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_from_here(client: Sequence[str | int] | None, headers: Mapping[str, list[str]]) -> bool:
    """Tell whether a program of this machine asks, or a page that this machine has shown it.

    A proxy brings those who are elsewhere, and a page elsewhere may have pointed a name of
    its own here (DNS rebinding).

    Args:
        client: The address of the peer and its port, as ASGI has it.
        headers: Those of the request, their names in lower case.
    """
    hosts = headers.get("host", [])
    return (
        client is not None
        and is_loopback(str(client[0]))
        and not any(name in _OF_PROXIES or name.startswith("x-forwarded-") for name in headers)
        and len(hosts) == 1
        and _is_loopback_name(hosts[0].lower())
    )


class OriginRule:
    """May the page of this handshake record here?

    Args:
        allowed: Further origins, such as `https://app.example`, in lower case.
        is_local: The server listens on loopback only: then its own names are the loopback
            ones, so that a page cannot reach it through a name of its own (DNS rebinding).
        public_url: Where a proxy on this machine lets people in; its host is a name of ours.
    """

    def __init__(self, allowed: tuple[str, ...], *, is_local: bool, public_url: str = "") -> None:
        public = urlsplit(public_url.lower())
        self._names = frozenset({public.netloc} if public_url else ())
        origins = (f"{public.scheme}://{public.netloc}",) if public_url else ()
        self._allowed = frozenset(allowed + origins)
        self._is_local = is_local

    def __call__(self, origins: list[str], hosts: list[str]) -> bool:
        """Judge the Origin and Host headers of a handshake.

        No Origin at all is a program, not a page.
        """
        if not origins:
            return True
        if len(origins) > 1:
            return False
        origin = origins[0].lower()
        if origin in self._allowed:
            return True
        if len(hosts) != 1 or not self.is_own_name(hosts):
            return False
        host = hosts[0].lower()
        # Behind a proxy that ends TLS the page is https and the socket is not.
        return origin in (f"http://{host}", f"https://{host}")

    def is_own_name(self, hosts: list[str]) -> bool:
        """Judge the Host headers of any request: is it a name of ours that was called?"""
        return not self._is_local or all(self._is_ours(host.lower()) for host in hosts)

    def _is_ours(self, host: str) -> bool:
        return host in self._names or _is_loopback_name(host)


def _is_loopback_name(host: str) -> bool:
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return name in _LOOPBACK_NAMES or (
        name.startswith("127.") and name[4:].replace(".", "").isdigit()
    )
