"""Webhooks: what is told, signed as receivers check it, again after failures and restarts."""

import base64
import errno
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import standardwebhooks

from micwire.events import Event, Happening
from micwire.files import LocalFiles
from micwire.webhooks import sender
from micwire.webhooks.message import WebhookError, decode_secret, encode_secret
from micwire.webhooks.post import post as real_post
from micwire.webhooks.queue import DeliveryQueue
from micwire.webhooks.sender import Webhooks

SECRET = bytes(range(32))
FINISHED = Event(Happening.FINISHED, "7f3a9c2e-58d1-4c0b-9a55-0c1be6f6a1d4", "ada", "2026-11-24")


class Receiver:
    """A program that hears webhooks, and answers as a test wants."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        """Statuses of the next answers; 200 behind them."""
        self.heard: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.heard.append((dict(self.headers.items()), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook/secret"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def checked(self, number: int) -> dict[str, object]:
        """Return what was said, checked by a library of others."""
        headers, body = self.heard[number]
        library = standardwebhooks.Webhook(encode_secret(SECRET))
        said = library.verify(body, {name.lower(): value for name, value in headers.items()})
        assert isinstance(said, dict)
        return said


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A program that hears webhooks."""
    receiver = Receiver()
    yield receiver
    receiver.close()


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def webhooks(
    folder: Path,
    *urls: str,
    delays_s: tuple[float, ...] = (0.01,) * 5,
    files: LocalFiles | None = None,
) -> Webhooks:
    """Return webhooks that have begun."""
    found = Webhooks(
        DeliveryQueue(folder, files or LocalFiles()),
        urls,
        [Happening.FINISHED],
        SECRET,
        lambda event: {"recording": event.recording, "owner": event.owner},
        is_private_allowed=True,
        delays_s=delays_s,
    )
    found.start()
    return found


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def test_what_happened_is_told_signed_and_then_forgotten(
    tmp_path: Path, receiver: Receiver
) -> None:
    hooks = webhooks(tmp_path, receiver.url)
    hooks.take(FINISHED)
    eventually(lambda: len(receiver.heard) == 1 and not kept(tmp_path))
    assert receiver.checked(0) == {
        "type": "recording.finished",
        "timestamp": "2026-11-24",
        "data": {"recording": FINISHED.recording, "owner": "ada"},
    }
    hooks.close()


def test_a_failed_try_is_repeated_with_the_same_id_and_a_signature_of_its_own(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answers = [500, 302, 404]
    hooks = webhooks(tmp_path, receiver.url)
    hooks.take(FINISHED)
    eventually(lambda: len(receiver.heard) == 4 and not kept(tmp_path))
    assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 1
    assert [receiver.checked(number)["type"] for number in range(4)] == ["recording.finished"] * 4
    hooks.close()


def test_what_waits_is_delivered_by_the_next_process(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [503]
    hooks = webhooks(tmp_path, receiver.url, delays_s=(3_600,))
    hooks.take(FINISHED)
    eventually(lambda: bool(kept(tmp_path)) and json.loads(kept(tmp_path)[0].read_text())["tries"])
    hooks.close()
    [file] = kept(tmp_path)
    fields = json.loads(file.read_text())
    assert 3_000 < fields["due"] - time.time() < 4_200
    file.write_text(json.dumps(fields | {"due": 0}))
    (tmp_path / "half.json").write_text('{"id": "ha')
    later = webhooks(tmp_path, receiver.url)
    eventually(lambda: len(receiver.heard) == 2 and not kept(tmp_path))
    assert receiver.heard[1][0]["webhook-id"] == fields["id"]
    later.close()


@pytest.mark.parametrize("answers", [[410], [500] * 3])
def test_a_receiver_that_is_gone_or_fails_for_ever_is_given_up(
    tmp_path: Path, receiver: Receiver, answers: list[int]
) -> None:
    receiver.answers = list(answers)
    hooks = webhooks(tmp_path, receiver.url, delays_s=(0.01, 0.01))
    hooks.take(FINISHED)
    eventually(lambda: len(receiver.heard) == len(answers) and not kept(tmp_path))
    hooks.close()


def test_one_that_hangs_holds_up_no_other(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def post(url: str, *arguments: object, **options: object) -> int:
        if "hangs" in url:
            release.wait(20)
            return 200
        return real_post(url, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(sender, "post", post)
    hooks = webhooks(tmp_path, "http://hangs.example/", receiver.url)
    for _ in range(3):
        hooks.take(FINISHED)
    eventually(lambda: len(receiver.heard) == 3)
    release.set()
    eventually(lambda: not kept(tmp_path))
    hooks.close()


def test_only_what_was_asked_for_is_told(tmp_path: Path, receiver: Receiver) -> None:
    hooks = webhooks(tmp_path, receiver.url)
    hooks.take(Event(Happening.STARTED, FINISHED.recording, "", "2026-11-24"))
    hooks.take(FINISHED)
    eventually(lambda: len(receiver.heard) == 1 and not kept(tmp_path))
    assert receiver.checked(0)["type"] == "recording.finished"
    hooks.close()


def test_paths_of_receivers_are_in_no_log(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.answers = [500, 500]
    hooks = webhooks(tmp_path, receiver.url, delays_s=(0.01,))
    hooks.take(FINISHED)
    eventually(lambda: len(receiver.heard) == 2 and not kept(tmp_path))
    hooks.close()
    said = "".join(capsys.readouterr())
    assert "webhook given up" in said
    assert "secret" not in said


class NoRoom(LocalFiles):
    """A disk without room, once."""

    def __init__(self) -> None:
        self.is_full = True

    def sync(self, descriptor: int) -> None:
        if self.is_full:
            self.is_full = False
            raise OSError(errno.ENOSPC, "no room")
        super().sync(descriptor)


def test_a_full_disk_costs_one_webhook_and_not_the_next(tmp_path: Path, receiver: Receiver) -> None:
    hooks = webhooks(tmp_path, receiver.url, files=NoRoom())
    hooks.take(FINISHED)
    hooks.take(FINISHED)
    eventually(lambda: len(receiver.heard) == 1 and not kept(tmp_path))
    hooks.close()


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!", base64.b64encode(bytes(65)).decode()]
)
def test_a_weak_secret_is_refused(text: str) -> None:
    with pytest.raises(WebhookError, match="24 to 64 bytes"):
        decode_secret(text)


def test_a_secret_is_read_as_it_is_written() -> None:
    assert decode_secret(encode_secret(SECRET)) == SECRET
