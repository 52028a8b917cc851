"""The README says what is so: its commands run, its snippets run, its tables are the code's."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import soundfile
from pydantic_core import PydanticUndefined

from micwire.cli.exits import EXIT_CODES, INTERRUPTED
from micwire.config import Config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MICWIRE = str(Path(sys.executable).with_name("micwire"))
ADDRESS = "http://127.0.0.1:8000"
MADE = {"api.md", "cli.md", "index.md", "journal.md", "settings.md", "wire.md"}
"""Pages that exist once the documentation is built, which checks the links to them."""
FOR_TESTS = {"failpoint"}
"""Settings that are nobody's business but the tests'."""


def fenced(language: str) -> list[str]:
    """Return the blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def rows_below(heading: str) -> list[list[str]]:
    """Return the cells of the first table behind a text."""
    lines = README[README.index(heading) :].splitlines()
    table = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[table + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server in an empty folder, as the README starts it but for the port."""
    server = subprocess.Popen(
        [MICWIRE, "serve", "--port", "0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    with server.stdout:
        says = server.stdout.readline()
        match = re.fullmatch(r"micwire is at (http://127\.0\.0\.1:\d+)\n", says)
        assert match is not None, says
        yield match[1]
        server.terminate()
        assert server.wait(30) == 0


def shown() -> dict[str, str]:
    """Return the commands of the tour, and what the README says that they print."""
    session = "".join(fenced("console"))
    parts = [part.partition("\n") for part in session.split("$ ")[1:]]
    return {command: output for command, _, output in parts}


def run(command: str, folder: Path) -> str:
    """Run a command of the README in a folder; return what it prints."""
    program, *words = shlex.split(command)
    assert program == "micwire"
    done = subprocess.run(
        [MICWIRE, *words], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def one_spaced(text: str) -> str:
    """Return a text without what aligns its columns."""
    return re.sub(r" +\n", "\n", re.sub(r" +", " ", text))


def test_the_tour_prints_what_the_readme_says(address: str, tmp_path: Path) -> None:
    samples = np.arange(144_000, dtype=np.int16).reshape(-1, 1)
    soundfile.write(tmp_path / "speech.wav", samples, 48_000, subtype="PCM_16")
    (serve, ready), (send, url), *rest = shown().items()
    assert (serve, ready) == ("micwire serve", f"micwire is at {ADDRESS}\n")

    printed = run(f"{send} --url {address}", tmp_path)
    facts = json.loads(next((tmp_path / "recordings").glob("*/*.json")).read_text())
    recording = facts["recording"]
    example = url.split("/")[-2]
    assert printed.replace(address, ADDRESS).replace(recording, example) == url
    with urlopen(printed.strip()) as answer:
        assert answer.read()[-samples.nbytes :] == samples.tobytes()

    [wav] = (path.relative_to(tmp_path) for path in tmp_path.glob("recordings/*/*.wav"))
    example = next(word for word in rest[1][1].split() if word.endswith(".wav"))
    started = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
    assert [command.split()[1] for command, _ in rest] == ["list", "verify", "export"]
    for command, output in rest:
        printed = run(command.replace(example, str(wav)), tmp_path).replace(str(wav), example)
        assert one_spaced(started.sub("DATE", printed)) == one_spaced(started.sub("DATE", output))
    assert (tmp_path / "plain.wav").stat().st_size == 44 + samples.nbytes


def test_the_snippets_run(address: str, tmp_path: Path) -> None:
    client, embed = fenced("python")
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    for snippet in (client, embed):
        done = subprocess.run(
            [sys.executable, "-c", snippet.replace(ADDRESS, address)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        if snippet is client:
            with urlopen(done.stdout.strip()) as answer:
                sound = np.frombuffer(answer.read()[-96_000:], dtype="<i2")
            tone = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000).astype(np.float32)
            assert np.array_equal(sound, np.clip(np.rint(tone * 32_768), -32_768, 32_767))


def test_the_settings_are_those_of_the_program() -> None:
    told = subprocess.run(
        [MICWIRE, "serve", "--help"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    flags = set(re.findall(r"^  (--[a-z-]+)", told, re.MULTILINE)) - {"--help"}
    fields = {name: field for name, field in Config.model_fields.items() if name not in FOR_TESTS}
    assert flags <= {_flag(name) for name in fields}
    expected = []
    for name, field in fields.items():
        assert field.default is not PydanticUndefined
        default = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
        expected.append(
            [
                f"`{_flag(name)}`" if _flag(name) in flags else "",
                f"`MICWIRE_{name.upper()}`",
                f"`{name}`",
                f"`{default}`" if default not in ("", None) else "",
                str(field.description),
            ]
        )
    assert rows_below("## Settings of the server") == expected


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def test_the_commands_are_those_of_the_program() -> None:
    told = subprocess.run([MICWIRE, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    commands = re.findall(r"^  ([a-z]+)  ", told[told.index("Commands:") :], re.MULTILINE)
    assert {row[0].split()[1].strip("`") for row in rows_below("## Commands")} == set(commands)


def test_the_exit_codes_are_those_of_the_program() -> None:
    codes = {int(row[0]) for row in rows_below("Exit codes:")}
    assert codes == {0, 1, *EXIT_CODES.values(), INTERRUPTED}


def test_every_link_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "examples" / "README.md", *ROOT.glob("docs/**/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            if Path(target).name not in MADE:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_ci_runs_the_command_that_the_readme_names() -> None:
    assert re.search(r"^ {4}make test\b", README, re.MULTILINE)
    assert "grep -m 1 -oE '^ *make test\\b' README.md" in (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
