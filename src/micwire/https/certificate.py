"""The certificate that a server shows, replaced while connections go on.

A new pair of files is tried aside, and used only if it is whole; connections that are open
keep what they began with. Reading files blocks: call `load` and `has_changed` on a thread.
"""

import hashlib
import os
import ssl
from pathlib import Path

from micwire.core.errors import MicwireError


class CertificateError(MicwireError):
    """A certificate or its key can't be used; the text says why."""

    code = "bad-certificate"


class Certificate:
    """A certificate chain and its key, in files that may be replaced.

    Args:
        chain: The certificate and those above it, in PEM.
        key: Its private key, in PEM, without a password.

    Raises:
        CertificateError: The files can't be used.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self.chain = chain
        self.key = key
        self._stamp = self._seen = _stamp(chain, key)
        self._current = self._read()
        self.context = self._read()
        """For the listening socket. Each handshake is passed on to the newest certificate."""
        # A session that is resumed would keep the certificate it began with.
        self.context.num_tickets = 0
        self.context.sni_callback = self._choose

    def load(self) -> None:
        """Read the files again, and show what they hold to new connections.

        Raises:
            CertificateError: They can't be used. The old certificate stays.
        """
        self._stamp = self._seen = _stamp(self.chain, self.key)
        self._current = self._read()

    def has_changed(self) -> bool:
        """Tell whether the files are others than at the last `load`, and have come to rest.

        A certificate and its key are two files: so long as they change from one call to
        the next, somebody is still writing.
        """
        before, self._seen = self._seen, _stamp(self.chain, self.key)
        return self._seen == before and self._seen != self._stamp

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # A password would be asked for on the terminal, where nobody may be.
            context.load_cert_chain(self.chain, self.key, password=lambda: "")
        except FileNotFoundError as error:
            missing = next(path for path in (self.chain, self.key) if not path.exists())
            raise CertificateError(f"{missing} does not exist") from error
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            reason = getattr(error, "reason", None) or error
            raise CertificateError(
                f"{self.chain} and {self.key} are no certificate and its key: {reason}"
            ) from error
        return context


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a certificate in PEM, as devices show it. Blocks."""
    der = ssl.PEM_cert_to_DER_cert(path.read_text())
    return hashlib.sha256(der).digest().hex(":").upper()


Stamp = tuple[tuple[int, int, int] | None, ...]


def _stamp(*paths: Path) -> Stamp:
    return tuple(_stamp_of(path) for path in paths)


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # of what a link leads to: such is how certbot replaces them
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
