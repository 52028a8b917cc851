"""A certificate authority of one data directory, and the certificate that it gives the server.

A person trusts the authority once per device. So that this can harm nobody, its name
constraints let it vouch for this machine's names and for bare addresses, and for no site
on the internet, even if its key is stolen. Needs the package `cryptography`. Blocks.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 397
"""Apple's devices take no more than 825 days, browsers' own programs no more than 398."""
RENEW_DAYS = 30
_SKEW = timedelta(days=1)
"""A phone's clock may be behind."""
_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Files of a certificate in PEM: the chain, and its key."""

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Authority:
    """The authority that lives in a directory; made at the first call of `identity`.

    Args:
        directory: Where its keys are kept, readable by this user only.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.certificate = directory / "ca.crt"
        """What devices are to trust, in PEM."""

    def identity(self, names: Sequence[str], now: datetime | None = None) -> Identity:
        """Return a certificate for exactly these names; the one that is there if it is good.

        Args:
            names: Host names and addresses. Host names must be `localhost`, below `local`,
                or those that this method was called with when it made the authority.
            now: The time; the clock's by default.

        Raises:
            OSError: The directory can't be used.
        """
        now = now or datetime.now(UTC)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        authority = self._load("ca")
        if authority is None or _ends(authority, now) < timedelta(days=CERTIFICATE_DAYS):
            authority = _new_authority([name for name in names if not _is_address(name)], now)
            self._save("ca", authority)
        wanted = [name for name in dict.fromkeys(names) if _may_vouch(authority, name)]
        mine = self._load("server")
        if (
            mine is None
            or not _is_issued_by(mine, authority)
            or _ends(mine, now) < timedelta(days=RENEW_DAYS)
            or set(_names(mine.certificate)) != set(wanted)
        ):
            self._save("server", _new_certificate(authority, wanted, now), authority)
        return Identity(self._directory / "server.crt", self._directory / "server.key")

    def _load(self, name: str) -> _Pair | None:
        """Return what is kept under a name; None if it is not there, or no pair."""
        try:
            certificate = x509.load_pem_x509_certificate(
                (self._directory / f"{name}.crt").read_bytes()
            )
            key = serialization.load_pem_private_key(
                (self._directory / f"{name}.key").read_bytes(), None
            )
        except (OSError, ValueError):
            return None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            return None
        return _Pair(certificate, key) if key.public_key() == certificate.public_key() else None

    def _save(self, name: str, pair: _Pair, *chain: _Pair) -> None:
        # The key first: with an older certificate it is no pair, and made anew.
        key = pair.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        pem = serialization.Encoding.PEM
        _write(self._directory / f"{name}.key", key, 0o600)
        _write(
            self._directory / f"{name}.crt",
            b"".join(one.certificate.public_bytes(pem) for one in (pair, *chain)),
            0o644,
        )


def _write(path: Path, data: bytes, mode: int) -> None:
    """Replace a file whole; nobody else can read it at any time if its mode says so."""
    new = path.with_suffix(f"{path.suffix}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.rename(path)


def _ends(pair: _Pair, now: datetime) -> timedelta:
    return pair.certificate.not_valid_after_utc - now


def _is_issued_by(pair: _Pair, authority: _Pair) -> bool:
    try:
        pair.certificate.verify_directly_issued_by(authority.certificate)
    except (InvalidSignature, ValueError):
        return False
    return True


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _general(name: str) -> x509.GeneralName:
    return x509.IPAddress(ip_address(name)) if _is_address(name) else x509.DNSName(name)


def _names(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def _may_vouch(authority: _Pair, name: str) -> bool:
    if _is_address(name):
        return True
    limits = authority.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    domains = [str(domain.value) for domain in limits.permitted_subtrees or ()]
    return any(name == domain or name.endswith(f".{domain}") for domain in domains)


def _begin(
    subject: str, issuer: x509.Name | None, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in allowed for use in _USES})


def _new_authority(host_names: Sequence[str], now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # The time tells two authorities of one machine apart in a device's list.
    subject = (
        f"micwire on {host_names[0] if host_names else 'this machine'} {now:%Y-%m-%d %H:%M:%S}"
    )
    domains = [x509.DNSName(name) for name in dict.fromkeys(["localhost", "local", *host_names])]
    builder = (
        _begin(subject, None, key, now)
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.NameConstraints(domains, None), critical=True)
    )
    return _Pair(builder.sign(key, hashes.SHA256()), key)


def _new_certificate(authority: _Pair, names: Sequence[str], now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    builder = (
        _begin("micwire", issuer.subject, key, now)
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS) - _SKEW)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_general(name) for name in names]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    return _Pair(builder.sign(authority.key, hashes.SHA256()), key)
