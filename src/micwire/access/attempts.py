"""How often somebody may try to sign in: counts of failures, and how long to wait.

Pure: the time is an argument. Counted by account and by address; an attempt counts from
its beginning, so that a hundred at once are a hundred. An account is never locked for
long, or anybody could lock its owner out; and an address that it was signed in from before
waits for its own failures only.
"""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

FREE_BY_ACCOUNT, LONGEST_BY_ACCOUNT_S = 5, 60.0
FREE_BY_ADDRESS, LONGEST_BY_ADDRESS_S = 20, 900.0
FORGOTTEN_S = 900.0
KEPT = 20_000


@dataclass(slots=True)
class _Count:
    failures: int = 0
    latest: float = 0.0


class Attempts:
    """Failures of the last quarter of an hour; memory is bounded, the oldest go first."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def begin(self, account: str, address: str, now: float) -> float:
        """Count an attempt, and return how many seconds it comes too early: 0 if it may be made.

        An attempt that comes too early isn't counted: whoever waits gets his turn.
        """
        by_account, network = ("account", account), network_of(address)
        if network and (account, network) in self._known:
            by_account = ("account", f"{account}\0{network}")
        wait_s = self._wait_s(by_account, FREE_BY_ACCOUNT, LONGEST_BY_ACCOUNT_S, now)
        counted = [by_account]
        if network:
            by_address = ("address", network)
            counted.append(by_address)
            wait_s = max(
                wait_s, self._wait_s(by_address, FREE_BY_ADDRESS, LONGEST_BY_ADDRESS_S, now)
            )
        if wait_s <= 0:
            for key in counted:
                self._count(key, now)
        return max(0.0, wait_s)

    def succeeded(self, account: str, address: str) -> None:
        """Forget the failures of an account, and this one attempt of the address."""
        network = network_of(address)
        self._counts.pop(("account", account), None)
        self._counts.pop(("account", f"{account}\0{network}"), None)
        if network:  # not of this machine: everybody may come from a proxy on it
            self._known[account, network] = None
            self._known.move_to_end((account, network))
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        count = self._counts.get(("address", network))
        if count is not None:
            count.failures = max(0, count.failures - 1)

    def _wait_s(self, key: tuple[str, str], free: int, longest_s: float, now: float) -> float:
        count = self._counts.get(key)
        if count is None or count.failures < free or now - count.latest > FORGOTTEN_S:
            return 0.0
        delay_s = min(longest_s, 2.0 ** min(count.failures - free, 30))
        return count.latest + delay_s - now

    def _count(self, key: tuple[str, str], now: float) -> None:
        count = self._counts.setdefault(key, _Count())
        if now - count.latest > FORGOTTEN_S:
            count.failures = 0
        count.failures += 1
        count.latest = now
        self._counts.move_to_end(key)
        while len(self._counts) > KEPT:
            self._counts.popitem(last=False)


def network_of(address: str) -> str:
    """Return what counts as one address: of IPv6 a /64, which is what one household has.

    Nothing for this machine: behind a proxy that names nobody, everybody comes from here.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip  # how a socket for both names those of IPv4
    if ip.is_loopback:
        return ""
    return str(ip) if isinstance(ip, IPv4Address) else ip.exploded[:19]
