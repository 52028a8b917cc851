"""Keeps the server's certificate good for as long as the server runs.

A certificate of ours is renewed when the machine's addresses change or its end is near; one
that was given is read again when its files change, or when the process is told to. Whatever
is wrong with a new one, the old one stays, and the log says why.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import structlog
from anyio import to_thread

from micwire.core.errors import MicwireError
from micwire.https.certificate import Certificate, CertificateError, fingerprint

LOOK_S = 2.0
"""So often the files are looked at; new ones are used at the second look that finds them so."""
RENEW_S = 60.0

Link = Callable[[str], str]


class MissingPackageError(MicwireError):
    """A package that only this option needs is not installed."""

    code = "missing-package"


class Keeper:
    """A certificate, and who looks after it.

    Args:
        certificate: What the server shows.
        renew: Brings its files up to date; may block.
        authority: The certificate of our own authority in PEM, for devices to trust.
        greet: Returns what a person is to be told, for a port and what makes a link that
            signs in from an address; may block.
    """

    def __init__(
        self,
        certificate: Certificate,
        renew: Callable[[], object] = lambda: None,
        authority: Path | None = None,
        greet: Callable[[int, Link], list[str]] = lambda port, link: [],
    ) -> None:
        self.certificate = certificate
        self.authority = authority
        self.greet = greet
        self._renew = renew
        self._look_now = asyncio.Event()
        self._log = structlog.get_logger("micwire")

    def reload(self) -> None:
        """Read the files again soon, changed or not. Called on the loop, as by SIGHUP."""
        self._look_now.set()

    async def watch(self) -> None:
        """Look after the certificate, for ever."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await self._pause(LOOK_S)
            is_asked = self._look_now.is_set()
            self._look_now.clear()
            try:
                if is_asked or loop.time() - renewed >= RENEW_S:
                    renewed = loop.time()
                    await to_thread.run_sync(self._renew)
                if await to_thread.run_sync(self.certificate.has_changed) or is_asked:
                    await to_thread.run_sync(self.certificate.load)
                    self._log.info("certificate loaded", chain=str(self.certificate.chain))
            except (CertificateError, OSError) as error:
                self._log.error("certificate refused; the old one stays", reason=str(error))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._look_now.wait()


def given_certificate(chain: Path, key: Path) -> Keeper:
    """Return the keeper of a certificate that somebody else looks after. Blocks.

    Raises:
        CertificateError: It can't be used.
    """
    return Keeper(Certificate(chain, key))


def local_certificate(directory: Path, host: str) -> Keeper:
    """Return the keeper of a certificate of our own authority. Blocks.

    Args:
        directory: Where the keys of the authority are kept.
        host: What the server listens on.

    Raises:
        CertificateError: The directory can't be used.
        MissingPackageError: A package is not installed.
    """
    try:
        from micwire.https import places
        from micwire.https.authority import Authority
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"--https needs the package {error.name}, which is not installed:"
            " pip install 'micwire[https]', or bring a certificate with --tls-cert and --tls-key"
        ) from error
    authority = Authority(directory)

    try:
        identity = authority.identity(places.names(host))
    except OSError as error:
        raise CertificateError(f"no certificate can be kept in {directory}: {error}") from error
    return Keeper(
        Certificate(identity.chain, identity.key),
        lambda: authority.identity(places.names(host)),
        authority.certificate,
        lambda port, link: places.greeting(
            host,
            port,
            link,
            fingerprint(authority.certificate),
            is_terminal=sys.stdout.isatty(),
        ),
    )
