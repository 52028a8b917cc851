"""The documentation is built, its sessions are typed, and its commands are those of the program."""

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from micwire.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [DOCS / "tutorial.md", *sorted(DOCS.glob("how-to/*.md"))]
ADDRESS = "http://127.0.0.1:8000"
PROGRAMS = Path(sys.executable).parent
_VARIES = (
    (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
    (r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d_[0-9a-f]{8}", "NAME"),
    (r"http://127\.0\.0\.1:\d+", "ADDRESS"),
    (r" +", " "),
    (r" \n", "\n"),
)


def fenced(page: Path, language: str) -> list[str]:
    """Return the blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def without_what_varies(text: str) -> str:
    for pattern, name in _VARIES:
        text = re.sub(pattern, name, text)
    return text


class Terminal:
    """Types a session in a folder, with its servers on free ports."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = os.environ | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
        self._server: subprocess.Popen[str] | None = None
        self._address = ""

    def type(self, command: str) -> str:
        """Run one command; return what it prints. A server goes on until the next one."""
        if command == "# stop the server":
            self.stop()
            return ""
        if "micwire serve" in command:
            self.stop()
            return self._serve(command)
        if command.startswith("micwire send"):
            command += f" --url {self._address}"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def _serve(self, command: str) -> str:
        self._server = subprocess.Popen(
            ["bash", "-c", f"exec env {command} --port 0"],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        self._address = line.split()[-1]
        return line

    def stop(self) -> None:
        """End the server, as Ctrl+C does."""
        if self._server is not None:
            self._server.terminate()
            self._server.communicate(timeout=30)
            assert self._server.returncode == 0
            self._server = None


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in an empty folder but for the scripts of the tutorial, and their tone."""
    for script in fenced(DOCS / "tutorial.md", "python"):
        (tmp_path / script.partition("\n")[0].removeprefix("# ")).write_text(script)
    subprocess.run([sys.executable, "tone.py"], cwd=tmp_path, check=True)
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.stop()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if fenced(page, "console")], ids=lambda page: page.stem
)
def test_what_is_typed_on_a_page_prints_what_it_says(page: Path, terminal: Terminal) -> None:
    session = "".join(fenced(page, "console"))
    for part in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        printed = terminal.type(command)
        if expected:
            assert without_what_varies(printed) == without_what_varies(expected), command


def parsed(words: list[str]) -> None:
    """Let the command line read a command, and do nothing; it raises if that is none of its."""
    command: Any = typer.main.get_command(app)  # of a click inside typer, without names
    context = None
    while True:
        context = command.make_context(words[0], words[1:], parent=context)
        if not hasattr(command, "commands"):
            return
        left = context._protected_args + context.args
        name, command, rest = command.resolve_command(context, left)
        words = [name, *rest]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_on_a_page_is_one_of_the_program(page: Path) -> None:
    for line in "".join(fenced(page, "sh")).splitlines():
        words = shlex.split(line)
        assert words[0] in ("micwire", "pip"), line
        if words[0] == "micwire":
            parsed(words)


def test_a_command_that_is_none_is_found() -> None:
    for line in ("micwire serve --publik-url x", "micwire invite made X", "micwire nothing"):
        with pytest.raises(Exception, match=r"No such (option|command)"):
            parsed(shlex.split(line))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_script_on_a_page_is_python(page: Path) -> None:
    for script in fenced(page, "python"):
        ast.parse(script)


def test_the_snippets_about_embedding_run(tmp_path: Path) -> None:
    for script in fenced(DOCS / "how-to" / "embed.md", "python"):
        subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=tmp_path, check=True)


def test_a_receiver_that_checks_as_the_page_says_knows_us() -> None:
    from micwire.webhooks.message import Delivery, encode_secret, headers_of

    [script] = fenced(DOCS / "how-to" / "webhooks.md", "python")
    names: dict[str, object] = {}
    exec(script, names)
    is_genuine = names["is_genuine"]
    assert callable(is_genuine)
    headers = headers_of(Delivery("1", "", '{"a": 1}'), bytes(32), 1_700_000_000)
    assert is_genuine(headers, b'{"a": 1}', encode_secret(bytes(32)))
    assert not is_genuine(headers, b'{"a": 2}', encode_secret(bytes(32)))


def test_one_command_builds_it_without_a_complaint(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    commands = (tmp_path / "reference" / "cli.html").read_text()
    assert "micwire token create" in commands
    assert "--public-url" in commands
    assert "/api/v1/recordings/{recording}" in (tmp_path / "reference" / "api.html").read_text()
    assert "micwire.v1" in (tmp_path / "reference" / "wire.html").read_text()
    assert "proxy_pass" in (tmp_path / "how-to" / "proxy.html").read_text()
    assert "MICWIRE_WEBHOOK" in (tmp_path / "reference" / "settings.html").read_text()
