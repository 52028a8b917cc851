"""`micwire reindex`: make the catalogue anew from WAVs and sidecars."""

import asyncio
import time
from functools import partial
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from micwire.cli.exits import OK, USAGE
from micwire.core.catalogue import CatalogueDamagedError
from micwire.core.errors import DataDirectoryError
from micwire.files import LocalFiles
from micwire.library.adopt import Adoption
from micwire.library.catalogue.keeper import FILE, move_aside
from micwire.library.catalogue.scan import Comparison, Tally
from micwire.library.catalogue.store import Store, database_url
from micwire.library.folders import Problem
from micwire.lock import DataLock

LINE_S = 2.0
"""Where there is no terminal, a line is printed so often."""


def reindex(data: Path, catalogue: str) -> int:
    """Take in what was copied by hand, and put everything into the catalogue."""
    if not data.is_dir():
        typer.echo(f"micwire: {data} is no directory of recordings; name one with --data", err=True)
        return USAGE
    try:
        lock = DataLock(data)
    except DataDirectoryError as error:
        raise DataDirectoryError(
            f"{error}. A server that runs keeps its catalogue up to date by itself"
        ) from None
    try:
        return asyncio.run(_reindex(data, catalogue))
    finally:
        lock.release()


async def _reindex(data: Path, catalogue: str) -> int:
    url = database_url(catalogue, data / FILE)
    with _Bar() as bar:
        adoption = Adoption(data, LocalFiles(), bar.tell, partial(bar.show, "files"))
        taken = adoption.run()
        try:
            store = await Store.open(url)
        except CatalogueDamagedError:
            if url.get_backend_name() != "sqlite":
                raise
            move_aside(str(url.database))
            store = await Store.open(url)
        try:
            tally = await Comparison(
                store,
                data,
                adoption.register.get,
                on_problem=bar.tell,
                between=bar.between,
                is_forced=True,
            ).run()
        finally:
            await store.close()
    typer.echo(
        f"{tally.put} recordings are in the catalogue; {taken} were taken in,"
        f" {tally.removed} are gone, {bar.problems} were left out"
    )
    return OK


class _Bar:
    """Progress on standard error: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._is_silent = not console.is_terminal
        self._last_line = time.monotonic()
        self.problems = 0

    def __enter__(self) -> "_Bar":
        self._progress.start()
        self._task = self._progress.add_task("")
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, words: str, done: int, total: int) -> None:
        """Say how far a step is."""
        self._progress.update(self._task, description=words, completed=done, total=total)
        now = time.monotonic()
        if self._is_silent and now - self._last_line >= LINE_S:
            self._last_line = now
            typer.echo(f"{words}: {done} of {total}", err=True)

    async def between(self, tally: Tally) -> None:
        """Say how far the comparison is."""
        self.show("catalogue", tally.seen, tally.total)

    def tell(self, problem: Problem) -> None:
        """Name a file that is left out."""
        self.problems += 1
        self._progress.console.print(
            f"micwire: {problem.path}: {problem.sentence}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
