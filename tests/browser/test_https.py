"""A browser that trusts a server's own authority records over https, by a name of the network."""

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Error, Playwright

from micwire.https.authority import Authority
from tests.browser.chrome import Chromium, fake_microphone
from tests.browser.harness import Server
from tests.browser.recorder_page import RecorderPage, assert_whole
from tests.test_cli import free_port

NAME = "studio.local"
"""Not loopback: over plain http a browser gives no microphone to a page from there."""


def trust(home: Path, certificate: Path) -> None:
    """Let a person's Chromium trust an authority, as its settings would."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil = ["certutil", "-d", f"sql:{database}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True)
    subprocess.run([*certutil, "-A", "-t", "C,,", "-n", "micwire", "-i", certificate], check=True)


def test_a_browser_that_trusts_the_authority_records_without_a_warning(
    playwright: Playwright,
    microphone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority = Authority(tmp_path / "authority")
    identity = authority.identity(["localhost", "127.0.0.1", NAME])
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))  # for the checker
    port = free_port()
    address = f"https://{NAME}:{port}"
    arguments = ["--port", str(port), "--public-url", address, "--access", "open"]
    certificate = ["--tls-cert", str(identity.chain), "--tls-key", str(identity.key)]
    flags = [*fake_microphone(microphone), f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
    with Server.micwire(tmp_path / "data", *arguments, *certificate) as server:
        stranger = {"HOME": str(tmp_path / "stranger")}
        with (
            Chromium(playwright, tmp_path / "stranger", *flags, environment=stranger) as chromium,
            pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"),
        ):
            chromium.open(address)
        home = tmp_path / "home"
        trust(home, authority.certificate)
        with Chromium(
            playwright, tmp_path / "profile", *flags, environment={"HOME": str(home)}
        ) as chromium:
            page = RecorderPage(chromium.open("about:blank")).open(address)
            assert page.page.evaluate("isSecureContext")
            page.begin("pcm_s16le", 2)
            page.talk(1)
            receipt = page.stop()
            assert receipt["url"].startswith(f"{address}/api/v1/recordings/")
            assert_whole(server, receipt, tmp_path)
