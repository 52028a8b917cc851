"""The local authority: who it vouches for, for how long, and who can read its keys."""

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from micwire.https.authority import Authority, Identity
from micwire.https.certificate import fingerprint

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NAMES = ["localhost", "127.0.0.1", "::1", "studio", "studio.local", "192.168.1.5"]


def certificate(identity: Identity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(identity.chain.read_bytes())


def names(identity: Identity) -> list[str]:
    found = certificate(identity).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in found.value]


def test_the_certificate_is_for_all_names_and_openssl_takes_the_chain(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "https")
    identity = authority.identity(NAMES, NOW)
    assert names(identity) == NAMES
    for option, name in (
        ("-verify_hostname", "localhost"),
        ("-verify_hostname", "studio.local"),
        ("-verify_ip", "192.168.1.5"),
        ("-verify_ip", "::1"),
    ):
        at = str(int(NOW.timestamp()))
        command = ["openssl", "verify", "-x509_strict", "-attime", at, option, name, "-CAfile"]
        subprocess.run([*command, authority.certificate, identity.chain], check=True)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(identity.chain, identity.key)


def test_the_keys_are_readable_by_their_user_only(tmp_path: Path) -> None:
    Authority(tmp_path / "https").identity(NAMES)
    assert (tmp_path / "https").stat().st_mode & 0o777 == 0o700
    keys = sorted((tmp_path / "https").glob("*.key"))
    assert [key.stem for key in keys] == ["ca", "server"]
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}


def test_the_authority_vouches_for_no_site_of_the_internet(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.identity(NAMES)
    assert names(authority.identity([*NAMES, "bank.example"])) == NAMES
    made = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    limits = made.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    permitted = [str(domain.value) for domain in limits.value.permitted_subtrees or ()]
    assert permitted == ["localhost", "local", "studio", "studio.local"]


def test_a_certificate_that_is_good_stays(tmp_path: Path) -> None:
    before = Authority(tmp_path).identity(NAMES, NOW).chain.read_bytes()
    again = Authority(tmp_path).identity(NAMES[::-1], NOW + timedelta(days=300))
    assert again.chain.read_bytes() == before


@pytest.mark.parametrize(
    ("chosen", "later"),
    [
        (NAMES, timedelta(days=368)),
        ([*NAMES, "192.168.1.6"], timedelta(0)),
        (NAMES[:-1], timedelta(0)),
    ],
    ids=["expiry is near", "a new address", "an address is gone"],
)
def test_it_is_renewed_when_it_must_be_and_the_authority_stays(
    tmp_path: Path, chosen: list[str], later: timedelta
) -> None:
    authority = Authority(tmp_path)
    before = certificate(authority.identity(NAMES, NOW))
    before_it = fingerprint(authority.certificate)
    after = authority.identity(chosen, NOW + later)
    assert certificate(after) != before
    assert names(after) == chosen
    assert fingerprint(authority.certificate) == before_it


def test_it_lives_no_longer_than_apples_devices_take(tmp_path: Path) -> None:
    made = certificate(Authority(tmp_path).identity(NAMES, NOW))
    life = made.not_valid_after_utc - made.not_valid_before_utc
    assert life <= timedelta(days=398)
    assert made.not_valid_before_utc < NOW, "a phone's clock may be behind"


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "server.key", "server.crt"])
def test_files_that_are_no_pair_are_made_anew(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path)
    authority.identity(NAMES)
    (tmp_path / name).write_text("rubbish")
    identity = authority.identity(NAMES)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(identity.chain, identity.key)
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    certificate(identity).verify_directly_issued_by(issuer)


def test_an_authority_near_its_end_is_replaced(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.identity(NAMES, NOW)
    before_it = fingerprint(authority.certificate)
    authority.identity(NAMES, NOW + timedelta(days=3650 - 396))
    assert fingerprint(authority.certificate) != before_it
