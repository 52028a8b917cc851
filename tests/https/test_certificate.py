"""A certificate that is replaced: new connections see it, broken files change nothing."""

import os
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from micwire.https.authority import Authority, Identity
from micwire.https.certificate import Certificate, CertificateError


def identity(directory: Path) -> Identity:
    return Authority(directory).identity(["localhost"])


def shown(certificate: Certificate) -> bytes:
    """Return the certificate that a client is shown in a handshake, in DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server)
    server = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = client.getpeercert(binary_form=True)
    assert found is not None
    return found


def der(identity: Identity) -> bytes:
    made = x509.load_pem_x509_certificate(identity.chain.read_bytes())
    return ssl.PEM_cert_to_DER_cert(made.public_bytes(Encoding.PEM).decode())


@pytest.fixture
def mine(tmp_path: Path) -> Identity:
    return identity(tmp_path / "mine")


@pytest.fixture
def other(tmp_path: Path) -> Identity:
    return identity(tmp_path / "other")


def test_a_new_pair_is_shown_after_load(mine: Identity, other: Identity) -> None:
    certificate = Certificate(mine.chain, mine.key)
    first = der(mine)
    assert shown(certificate) == first
    os.replace(other.chain, mine.chain)
    os.replace(other.key, mine.key)
    assert shown(certificate) == first
    certificate.load()
    assert shown(certificate) == der(mine) != first


@pytest.mark.parametrize("broken", ["rubbish", "another key", "no file", "a password"])
def test_a_broken_pair_is_refused_and_the_old_one_stays(
    mine: Identity, other: Identity, broken: str
) -> None:
    certificate = Certificate(mine.chain, mine.key)
    before = shown(certificate)
    if broken == "rubbish":
        mine.chain.write_text("-----BEGIN CERTIFICATE-----\nrubbish\n")
    elif broken == "another key":
        os.replace(other.key, mine.key)
    elif broken == "no file":
        mine.key.unlink()
    else:
        command = ["openssl", "ec", "-aes128", "-passout", "pass:secret"]
        subprocess.run([*command, "-in", mine.key, "-out", mine.key], check=True)
    with pytest.raises(CertificateError, match="mine"):
        certificate.load()
    assert shown(certificate) == before


def test_a_change_is_seen_once_both_files_have_come_to_rest(
    mine: Identity, other: Identity
) -> None:
    certificate = Certificate(mine.chain, mine.key)
    assert not certificate.has_changed()
    os.replace(other.chain, mine.chain)
    assert not certificate.has_changed(), "the key may still be on its way"
    os.replace(other.key, mine.key)
    assert not certificate.has_changed()
    assert certificate.has_changed()
    certificate.load()
    assert not certificate.has_changed()


def test_a_pair_that_was_refused_is_not_tried_again_and_again(mine: Identity) -> None:
    certificate = Certificate(mine.chain, mine.key)
    mine.key.write_text("rubbish")
    certificate.has_changed()
    assert certificate.has_changed()
    with pytest.raises(CertificateError):
        certificate.load()
    assert not certificate.has_changed()
