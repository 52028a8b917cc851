"""`micwire serve` over https: recorded bit for bit, also while the certificate is replaced."""

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from cryptography import x509

from micwire.client import connect
from micwire.core.audio import Encoding, Format
from micwire.https import keeper
from micwire.https.authority import Authority, Identity
from micwire.https.certificate import fingerprint
from tests.faults.harness import Server, ServerEndedError, Signal, wav_path
from tests.test_app import listen_on_loopback_only

STEREO = Format(Encoding.S16, 48_000, 2)
SOUND = Signal()


def look_often() -> None:
    """In a server's process: look at the files of a certificate as often as a test needs."""
    keeper.LOOK_S = 0.1


@pytest.fixture
def given(tmp_path: Path) -> Identity:
    """A certificate that somebody else looks after."""
    return Authority(tmp_path / "given").identity(["localhost", "127.0.0.1"])


def trusting(*directories: Path) -> ssl.SSLContext:
    """Return a context that trusts the authorities in these directories."""
    context = ssl.create_default_context()
    for directory in directories:
        context.load_verify_locations(directory / "ca.crt")
    return context


def shown(port: int) -> str:
    """Return the certificate that the server shows to a new connection."""
    return ssl.get_server_certificate(("127.0.0.1", port))


def eventually(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def check(server: Server, recording: str, frames: int) -> None:
    """Compare a WAV with the sound that was sent, bit for bit."""
    samples, _ = soundfile.read(wav_path(server.data, recording), dtype="int16")
    assert samples.astype("<i2").tobytes() == SOUND.data(0, frames)


def test_a_recording_over_the_local_authority_arrives_bit_for_bit(tmp_path: Path) -> None:
    async def run(server: Server) -> str:
        trust = trusting(server.data / ".micwire" / "https")
        address = f"https://localhost:{server.port}"
        async with connect(address, STEREO, trust=trust) as microphone:
            await microphone.write(SOUND.data(0, 48_000))
        async with httpx.AsyncClient(verify=trust, trust_env=False) as client:
            authority = await client.get(f"{address}/ca.crt")
            audio = await client.get(microphone.url, headers={"range": "bytes=-400"})
        assert authority.headers["content-type"] == "application/x-x509-ca-cert"
        assert authority.content == (server.data / ".micwire" / "https" / "ca.crt").read_bytes()
        assert audio.status_code == 206
        assert audio.content == SOUND.data(47_900, 100)
        return microphone.id

    with Server(tmp_path / "data", https=True) as server:
        recording = asyncio.run(run(server))
        assert server.stop() == 0
        check(server, recording, 48_000)


def test_micwire_send_trusts_the_authority_that_it_is_told(tmp_path: Path) -> None:
    tone = tmp_path / "tone.wav"
    soundfile.write(tone, np.frombuffer(SOUND.data(0, 4_800), "<i2").reshape(-1, 2), 48_000)
    program = str(Path(sys.executable).with_name("micwire"))
    send = [program, "send", str(tone), "--fast", "--url"]
    with Server(tmp_path / "data", https=True) as server:
        send.append(f"https://127.0.0.1:{server.port}")
        wary = subprocess.run(
            [*send, "--connect-timeout", "1"], capture_output=True, text=True, check=False
        )
        assert wary.returncode == 69
        assert "CERTIFICATE_VERIFY_FAILED" in wary.stderr
        send += ["--cacert", str(server.data / ".micwire" / "https" / "ca.crt")]
        sent = subprocess.run(send, capture_output=True, text=True, check=True)
        check(server, sent.stdout.split("/")[-2], 4_800)


def test_plain_http_at_the_https_port_is_closed_without_a_word_in_the_log(
    tmp_path: Path, given: Identity
) -> None:
    with Server(tmp_path / "data", tls_cert=given.chain, tls_key=given.key) as server:
        with socket.create_connection(("127.0.0.1", server.port), 5) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert plain.recv(1000) == b""
        assert httpx.get(
            f"https://localhost:{server.port}/healthz",
            verify=trusting(tmp_path / "given"),
            trust_env=False,
        ).json() == {"status": "ok"}
        assert server.stderr == ""


def test_a_stream_goes_on_while_new_connections_get_the_new_certificate(
    tmp_path: Path, given: Identity
) -> None:
    other = Authority(tmp_path / "other").identity(["localhost", "127.0.0.1"])
    states: list[str] = []

    async def run(server: Server) -> str:
        before = shown(server.port)
        async with connect(
            f"https://localhost:{server.port}",
            STEREO,
            trust=trusting(tmp_path / "given"),
            on_state=states.append,
        ) as microphone:
            await microphone.write(SOUND.data(0, 24_000))
            os.replace(other.chain, given.chain)
            os.replace(other.key, given.key)
            await asyncio.to_thread(
                eventually, lambda: shown(server.port) != before, "the new one is never shown"
            )
            await microphone.write(SOUND.data(24_000, 24_000))
        return microphone.id

    with Server(
        tmp_path / "data", prepare=look_often, tls_cert=given.chain, tls_key=given.key
    ) as server:
        recording = asyncio.run(run(server))
        assert states == ["online", "finished"], "the link broke"
        assert "certificate loaded" in server.stderr
        check(server, recording, 48_000)


def test_sighup_reads_the_files_again_and_a_broken_one_is_refused(
    tmp_path: Path, given: Identity
) -> None:
    with Server(tmp_path / "data", tls_cert=given.chain, tls_key=given.key) as server:
        before = shown(server.port)
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: "certificate loaded" in server.stderr, "SIGHUP had no effect")
        given.key.write_text("rubbish")
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: "certificate refused" in server.stderr, "rubbish was taken")
        assert shown(server.port) == before


def in_a_network() -> None:
    """In a server's process: have an address in a network, and listen on loopback all the same."""
    from micwire.https import places  # only here: another test's server has to lack it

    listen_on_loopback_only()
    places.addresses = lambda: ["192.168.1.5"]


def test_a_server_in_a_network_shows_phones_a_link_that_signs_in(tmp_path: Path) -> None:
    with Server(tmp_path / "data", https=True, host="0.0.0.0", prepare=in_a_network) as server:
        assert server.stdout.startswith(f"micwire is at https://localhost:{server.port}\n")
        link = f"https://192.168.1.5:{server.port}/#token="
        token = server.stdout.partition(f"open {link}")[2].split()[0]
        assert len(token) > 20
        certificate = ssl.get_server_certificate(("127.0.0.1", server.port))
        named = x509.load_pem_x509_certificate(certificate.encode()).extensions
        names = named.get_extension_for_class(x509.SubjectAlternativeName).value
        assert "192.168.1.5" in [str(name.value) for name in names]
        authority = server.data / ".micwire" / "https" / "ca.crt"
        assert fingerprint(authority) in server.stdout
        assert token not in server.stderr


def lack_segno() -> None:
    """In a server's process: let the package be missing."""
    sys.modules["segno"] = None  # type: ignore[assignment]  # so the import system is told


def test_a_certificate_that_cannot_be_used_is_a_sentence(tmp_path: Path, given: Identity) -> None:
    for server, words in (
        (
            Server(tmp_path / "a", tls_cert=tmp_path / "none.pem", tls_key=given.key),
            "none.pem does not exist",
        ),
        (Server(tmp_path / "b", tls_cert=given.chain), "tls_cert and tls_key belong together"),
        (
            Server(tmp_path / "c", https=True, prepare=lack_segno),
            r"the package segno.*pip install 'micwire\[https\]'",
        ),
    ):
        with pytest.raises(ServerEndedError, match=words):
            server.start()
