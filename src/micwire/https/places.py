"""Where this machine is found: its names and addresses, and how a person is told of them.

Needs the packages `ifaddr` and `segno`. Blocks: asking for a host's name may ask the network.
"""

import io
import socket
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import ifaddr
import segno

_ANYWHERE = ("0.0.0.0", "::")
_ELSEWHERE = ("192.0.2.1", 9)
"""An address for documentation (RFC 5737). Nothing is sent there: the kernel is only asked
from which of our addresses it would be."""


def names(host: str) -> list[str]:
    """Return all names and addresses under which a server on `host` can be called.

    The names of loopback come first, then the host's, then its addresses.
    """
    found = ["localhost", "127.0.0.1", "::1"]
    if host in _ANYWHERE:
        name = socket.gethostname().lower()
        found += [name] if "." in name else [name, f"{name}.local"]
        found += addresses()
    elif host not in found:
        found.append(host.lower())
    return list(dict.fromkeys(found))


def addresses() -> list[str]:
    """Return this machine's addresses in its networks, the likeliest to be reached first."""
    every = [
        str(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]
    reachable = [one for one in every if _is_reachable(one)]
    first = _address_of_default_route()
    return sorted(dict.fromkeys(reachable), key=lambda one: (one != first, ":" in one))


def _is_reachable(address: str) -> bool:
    # A link-local address needs the name of an interface behind it, which no URL can carry.
    parsed = ip_address(address)
    return not (parsed.is_loopback or (isinstance(parsed, IPv6Address) and parsed.is_link_local))


def _address_of_default_route() -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(_ELSEWHERE)
        except OSError:
            return None
        return str(asking.getsockname()[0])


def phone_addresses(host: str, port: int) -> list[str]:
    """Return the addresses that other devices may open, the likeliest first; none for loopback."""
    hosts = addresses() if host in _ANYWHERE else [host]
    return [
        f"https://[{one}]:{port}" if ":" in one else f"https://{one}:{port}"
        for one in hosts
        if one != "localhost" and not (_is_address(one) and ip_address(one).is_loopback)
    ]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def qr_code(text: str) -> list[str]:
    """Return the lines of a QR code for a terminal, dark on light whatever its colours are."""
    drawn = io.StringIO()
    segno.make(text, error="l").terminal(drawn, border=2, compact=True)
    return [f"\x1b[97;40m{line}\x1b[0m" for line in drawn.getvalue().splitlines()]


def greeting(
    host: str, port: int, link: Callable[[str], str], fingerprint: str, *, is_terminal: bool
) -> list[str]:
    """Return the lines that bring a phone to a server with a certificate of its own authority.

    Args:
        host: What the server listens on.
        port: Its port.
        link: Makes a link that signs in, where that is asked for, from an address.
        fingerprint: That of the authority's certificate.
        is_terminal: A QR code can be shown.
    """
    addresses = phone_addresses(host, port)
    lines = []
    if addresses:
        lines += ["", f"On a phone in the same network open {link(addresses[0])}"]
        lines += [f"  or {link(address)}" for address in addresses[1:]]
        lines += qr_code(link(addresses[0])) if is_terminal else []
    else:
        lines += ["", "Other devices can't reach it: for them add --host 0.0.0.0."]
    first = addresses[0] if addresses else f"https://localhost:{port}"
    return [
        *lines,
        "A browser warns of it until the device trusts the authority that this server made for"
        " itself.",
        f"Go on past the warning to {first}/ca.crt and compare its SHA-256 fingerprint:",
        f"  {fingerprint}",
        "Then, on Android: Settings, Security, Encryption & credentials, Install a certificate,"
        " CA certificate.",
        "iPhone, iPad: Settings, Profile Downloaded, Install; then General, About, Certificate"
        " Trust Settings.",
        "Chrome, Edge, Firefox: Settings, search for certificates, Authorities, Import.",
    ]
