"""One POST to an address that a person chose, and that may lead where it must not.

The name is resolved once, every address that it has is judged, and the connection goes to
the one that was judged, so that a name can't point elsewhere meanwhile (DNS rebinding). No
redirect is followed, no proxy of the environment used, and no answer waited for longer than
`TIMEOUT_S` in all, however slowly it drips. Blocks.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

TIMEOUT_S = 10.0
_NAT64 = IPv6Network("64:ff9b::/96")
_NOT_OF_THE_INTERNET = (
    IPv6Network("64:ff9b:1::/48"),  # translated to IPv4 inside a network (RFC 8215)
    IPv6Network("::/96"),  # IPv4-compatible, and the loopback address
    IPv6Network("fec0::/10"),  # site-local, as networks still have them
)


class PostError(Exception):
    """It was not delivered; the text says why, without the address."""


def check_url(url: str, *, is_private_allowed: bool) -> SplitResult:
    """Return the parts of an address that webhooks may go to.

    Raises:
        ValueError: They may not; the text says why.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address; one looks like https://hooks.example/micwire")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a webhook's address holds no user and no password")
    if parts.scheme == "http" and not is_private_allowed:
        raise ValueError(f"{url!r} is not https; inside your own network allow private addresses")
    _ = parts.port  # raises a ValueError of its own
    return parts


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is one of the internet, also through what it may stand for.

    >>> is_public(ip_address("::ffff:127.0.0.1"))
    False
    """
    if isinstance(address, IPv6Address):
        if any(address in network for network in _NOT_OF_THE_INTERNET):
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def post(url: str, body: bytes, headers: Mapping[str, str], *, is_private_allowed: bool) -> int:
    """Post, and return the status of the answer.

    Raises:
        PostError: The address is not to be reached, or there was no answer.
    """
    try:
        parts = check_url(url, is_private_allowed=is_private_allowed)
        return _post(parts, body, headers, is_private_allowed=is_private_allowed)
    except PostError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PostError(str(error) or type(error).__name__) from error


def _post(
    parts: SplitResult, body: bytes, headers: Mapping[str, str], *, is_private_allowed: bool
) -> int:
    host = str(parts.hostname)
    is_secure = parts.scheme == "https"
    port = parts.port or (443 if is_secure else 80)
    sock = _connected(host, port, is_private_allowed=is_private_allowed)
    is_late = threading.Event()
    try:
        if is_secure:
            trust = ssl.create_default_context()
            sock = trust.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        watchdog = threading.Timer(TIMEOUT_S, _cut, (sock, is_late))
        watchdog.daemon = True
        watchdog.start()
        try:
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
            connection.default_port = 443 if is_secure else 80  # left out of the Host header
            connection.sock = sock
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, dict(headers))
            status = connection.getresponse().status
        finally:
            watchdog.cancel()
    finally:
        sock.close()
    if is_late.is_set():  # what was cut off may look like a whole answer
        raise PostError(f"no whole answer within {TIMEOUT_S:g} s")
    return status


def _connected(host: str, port: int, *, is_private_allowed: bool) -> socket.socket:
    """Connect to the first address of a name, if all that it has are allowed."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, place in found:
        if not is_private_allowed and not is_public(ip_address(str(place[0]).partition("%")[0])):
            raise PostError("its name leads to an address that is not of the internet")
    family, kind, protocol, _, place = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(TIMEOUT_S)
        sock.connect(place)
    except OSError:
        sock.close()
        raise
    return sock


def _cut(sock: socket.socket, is_late: threading.Event) -> None:
    is_late.set()
    with contextlib.suppress(OSError):  # it is over already
        sock.shutdown(socket.SHUT_RDWR)
