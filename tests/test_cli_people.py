"""`micwire user`, `token` and `invite`, on a store that a server may have open."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

from micwire.access.store import FILE, Store
from tests.access.office import office

MICWIRE = str(Path(sys.executable).with_name("micwire"))


def run(data: Path, *words: str, password: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [MICWIRE, *words, "--data", str(data)],
        input=password,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_user_who_is_added_can_sign_in_at_a_server_that_runs(tmp_path: Path) -> None:
    async def check() -> None:
        async with office(tmp_path, has_real_hashes=True) as here:
            assert (await here.browser(client="127.0.0.1").me())["is_open"] is True
            added = await asyncio.to_thread(
                run, tmp_path, "user", "add", "Anna", "--admin", password="correct horse\n"
            )
            assert (added.returncode, added.stdout) == (0, "Anna can sign in\n"), added.stderr
            browser = here.browser()
            assert (await browser.enter(user="anna", password="correct horse")).status_code == 204
            assert (await browser.me())["is_admin"] is True
            changed = await asyncio.to_thread(
                run, tmp_path, "user", "passwd", "anna", password="battery staple\n"
            )
            assert changed.returncode == 0
            assert (await browser.me())["user"] is None

    asyncio.run(check())
    for words, role in ((("--remove",), "user"), ((), "admin")):
        assert run(tmp_path, "user", "admin", "anna", *words).returncode == 0
        assert run(tmp_path, "user", "list").stdout.split("\t")[::2] == ["Anna", role, ANY]
    assert run(tmp_path, "user", "remove", "anna").returncode == 0
    assert run(tmp_path, "user", "list").stdout == ""
    log = (tmp_path / ".micwire" / "audit.jsonl").read_text()
    assert re.findall(r'"event": "([a-z-]+)"', log) == [
        "user-added", "sign-in", "password-changed", "admin-removed", "admin-made",
        "user-removed",
    ]  # fmt: skip


def test_what_is_wrong_is_a_sentence_and_an_exit_code(tmp_path: Path) -> None:
    for words, password, said in (
        (("user", "add", "anna"), "short\n", "8 to 1000 characters"),
        (("user", "add", ""), "correct horse\n", "visible characters"),
        (("user", "remove", "anna"), None, "there is no user 'anna'"),
        (("invite", "create", "Study", "--until", "soon"), None, "is no time"),
        (("invite", "create", "Study", "--consent", "nothing.txt"), None, "nothing.txt"),
        (("token", "create", "x", "--scope", "record", "--user", "b"), None, "no user 'b'"),
    ):
        done = run(tmp_path, *words, password=password)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_a_token_and_an_invitation_are_printed_once_and_can_be_taken_back(tmp_path: Path) -> None:
    (tmp_path / "consent.txt").write_text("I agree.\n")
    token = run(tmp_path, "token", "create", "studio", "--scope", "record").stdout.strip()
    link = run(
        tmp_path, "invite", "create", "Study", "--recordings", "3", "--until", "2w",
        "--consent", str(tmp_path / "consent.txt"), "--url", "https://mic.example/",
    ).stdout.strip()  # fmt: skip
    assert re.fullmatch(r"micwire_[\w-]{43}", token)
    assert re.fullmatch(r"https://mic\.example/#invite=[\w-]{43}", link)
    kept = b"".join(path.read_bytes() for path in (tmp_path / ".micwire").iterdir())
    assert token.encode() not in kept
    assert link.partition("=")[2].encode() not in kept
    [listed] = run(tmp_path, "token", "list").stdout.splitlines()
    [invited] = run(tmp_path, "invite", "list").stdout.splitlines()
    assert listed.split("\t")[1:3] == ["studio", "record"]
    assert invited.split("\t")[1:3] == ["Study", "0 of 3"]
    for group, line in (("token", listed), ("invite", invited)):
        assert run(tmp_path, group, "remove", line.split("\t")[0]).returncode == 0
        assert run(tmp_path, group, "remove", line.split("\t")[0]).returncode == 1
        assert run(tmp_path, group, "list").stdout == ""


def test_once_there_are_users_a_token_is_somebodys(tmp_path: Path) -> None:
    Store(tmp_path / ".micwire" / FILE).add_user("anna", None)
    done = run(tmp_path, "token", "create", "studio", "--scope", "record")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--user" in done.stderr
