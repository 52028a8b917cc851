"""`micwire verify`, `repair`, `export` and `list`: recordings as they lie on the disk."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from micwire.cli.exits import OK, USAGE, WRONG
from micwire.core.audio import Format
from micwire.core.catalogue import filing_of
from micwire.core.errors import UnsupportedFormatError
from micwire.formats import Compressed, encode
from micwire.library.catalogue.words import Term, has_all, terms
from micwire.library.folders import folders, look
from micwire.library.inspect import Report, verify_all
from micwire.library.repair import (
    export,
    read_complete,
    refuse_to_overwrite,
    repair,
    write_whole,
)

PIPED_WIDTH = 1_000


def verify_paths(paths: list[Path]) -> int:
    """Verify files and directories; tell each on a line of its own."""
    missing = [path for path in paths if not path.exists() and not _sidecar_of(path).exists()]
    if missing:
        typer.echo(f"micwire: {missing[0]}: there is no such file or directory", err=True)
        return USAGE
    checked = failed = 0
    with _Bar("verifying") as bar:
        for report in verify_all(paths, bar.show):
            checked += 1
            failed += not report.ok
            for line in _lines(report):
                typer.echo(line)
    typer.echo(f"{checked} checked, {failed} with problems", err=True)
    return WRONG if failed else OK


def _lines(report: Report) -> Iterator[str]:
    words = "ok" if report.ok else "WRONG"
    yield f"{words:5}  {report.path}  {report.seconds:.3f} s  {report.frames} frames"
    for problem in report.problems:
        yield f"       problem: {problem}"
    for note in report.notes:
        yield f"       note: {note}"


def repair_file(path: Path, assume: str | None) -> int:
    """Mend a WAV in place and say what was done."""
    assumed = None
    if assume is not None:
        try:
            encoding, sample_rate, channels = assume.split(":")
            assumed = Format.parse(encoding, int(sample_rate), int(channels))
        except (ValueError, UnsupportedFormatError) as error:
            typer.echo(
                f"micwire: {assume!r} is no format, such as pcm_s16le:48000:2: {error}", err=True
            )
            return USAGE
    with _Bar("copying") as bar:
        done = repair(path, assumed, bar.show)
    for sentence in done:
        typer.echo(sentence)
    return OK


def export_file(source: Path, target: Path, *, is_tagged: bool, overwrite: bool) -> int:
    """Copy a WAV with another header, or encode it as the target's suffix says."""
    suffix = target.suffix.lower().removeprefix(".")
    if suffix not in ("wav", *(kind.value for kind in Compressed)):
        typer.echo(f"micwire: {target}: it ends in .wav, .flac, .opus or .mp3", err=True)
        return USAGE
    if suffix == "wav":
        with _Bar("copying") as bar:
            export(source, target, is_tagged=is_tagged, overwrite=overwrite, progress=bar.show)
    else:
        with _Bar("encoding") as bar:
            _export_encoded(source, target, Compressed(suffix), bar.show, overwrite=overwrite)
    typer.echo(target)
    return OK


def _export_encoded(
    source: Path,
    target: Path,
    kind: Compressed,
    progress: Callable[[int, int], None],
    *,
    overwrite: bool,
) -> None:
    refuse_to_overwrite(target, overwrite=overwrite)
    with source.open("rb") as file:
        info, sidecar = read_complete(source, file)
        title = None if sidecar is None else sidecar.fields.get("title")
        frame_bytes = info.format.frame_bytes

        def read(first: int, frames: int) -> bytes:
            file.seek(info.data_offset + first * frame_bytes)
            progress(first * frame_bytes, info.data_bytes)
            return file.read(frames * frame_bytes)

        tags = {"title": str(title)} if title else {}
        write_whole(target, encode(kind, info.format, info.frames, read, tags))


class _Bar:
    """Progress in bytes on standard error, where that is a terminal."""

    def __init__(self, words: str) -> None:
        self._progress = Progress(
            TextColumn(words),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not Console(stderr=True).is_terminal,
        )

    def __enter__(self) -> "_Bar":
        self._progress.start()
        self._task = self._progress.add_task("")
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)


# ---- list ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Listed:
    """One recording as its sidecar describes it."""

    path: Path
    fields: dict[str, Any]  # as JSON has it
    format: Format

    @property
    def seconds(self) -> float:
        return self.format.seconds(self.fields["frames"])

    def has(self, words: tuple[Term, ...], tags: list[str]) -> bool:
        filing = filing_of(self.fields, "")
        return set(tags) <= set(filing.entry.tags) and has_all(filing.texts, words)


def print_list(data: Path, *, search: str, tags: list[str], as_json: bool) -> int:
    """List the recordings of a data directory that have all words and tags, the newest first."""
    if not data.is_dir():
        typer.echo(f"micwire: {data} is no directory of recordings; name one with --data", err=True)
        return USAGE
    words = terms(search)
    listed = list(_recordings(data))
    if words or tags:
        listed = [one for one in listed if one.has(words, tags)]
    elif search.strip():
        listed = []  # as on the page: there is no word in it, so nothing has it
    if as_json:
        facts = [
            {"path": str(one.path), "seconds": round(one.seconds, 6), **one.fields}
            for one in listed
        ]
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=2))
    elif listed:
        console = Console(markup=False, emoji=False, highlight=False)
        if not console.is_terminal:
            console.width = PIPED_WIDTH  # one recording a line, for programs that read lines
        console.print(_table(listed))
    else:
        what = "such recordings" if search or tags else "recordings"
        typer.echo(f"there are no {what} in {data} yet", err=True)
    return OK


def _recordings(data: Path) -> Iterator[_Listed]:
    """Yield what sidecars say; names begin with the server's clock, so they sort by time."""
    paths = [path for folder in folders(data) for path in look(data, folder).sidecars]
    for path in sorted(paths, reverse=True):
        sidecar = data / f"{path}.json"
        try:
            fields = json.loads(sidecar.read_bytes())
            audio_format = Format.parse(**fields["format"])
            listed = _Listed(data / f"{path}.wav", fields, audio_format)
            if type(fields["frames"]) is not int:
                raise ValueError("its frames are no count")
        except (OSError, ValueError, KeyError, TypeError, UnsupportedFormatError) as error:
            typer.echo(f"micwire: {sidecar} is no sidecar of a recording: {error}", err=True)
            continue
        yield listed


def _table(listed: list[_Listed]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("started", "title", "status"):
        table.add_column(name)
    table.add_column("length", justify="right")
    table.add_column("format")
    table.add_column("gaps", justify="right")
    table.add_column("path", overflow="fold")
    for one in listed:
        fields = one.fields
        table.add_row(
            _printable(fields.get("started_at", ""))[:19].replace("T", " "),
            _printable(fields.get("title") or ""),
            _printable(fields.get("status", "")),
            _clock(one.seconds),
            f"{one.format.encoding} {one.format.sample_rate} Hz {one.format.channels} ch",
            str(len(fields.get("gaps", ()))),
            str(one.path),
        )
    return table


def _printable(value: object) -> str:
    """Return a text of a client without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}"


def _sidecar_of(path: Path) -> Path:
    return path.with_suffix(".json")
