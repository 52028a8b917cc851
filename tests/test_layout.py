"""Who may import whom, and what the core may not touch: the rules that keep it pure.

The rules are read from the source, not from a run: an import inside a function or under
`TYPE_CHECKING` counts like any other.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

FAMILIES = ("journal", "library", "transports", "analyzers", "access")
JOINERS = ("", "app", "cli", "__main__")
"""The parts that may import any other; "" is `micwire/__init__.py`."""
MAY_ALSO_IMPORT: dict[str, tuple[str, ...]] = {
    "testing": FAMILIES,
    "access": ("api",),
    "acks": ("link",),
    "unfinished": ("link",),
    "opening": ("events", "link", "unfinished"),
    "editing": ("events", "link", "unfinished"),
    "recorder": ("acks", "editing", "events", "link", "opening", "unfinished"),
    "api": ("formats", "library"),  # its routes are those of the library
    "webhooks": ("events",),
    "hooks": ("events",),
    "server": ("app", "api", "config", "https", "transports"),
    "retention": ("events",),
    "analysis": ("blocks", "results"),
    "analyzers": ("blocks",),
}
"""Every other part imports `core` and itself; what one may import besides stands here."""

# fmt: off
IMPURE_MODULES = frozenset({
    "asyncio", "concurrent", "fcntl", "glob", "mmap", "multiprocessing", "os", "pathlib", "random",
    "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess",
    "tempfile", "threading", "time",
})
# fmt: on
IMPURE_CALLS = frozenset({"open", "input", "print", "__import__"})
CLOCK_METHODS = frozenset({"now", "today", "utcnow", "uuid1", "uuid4"})
ASYNC_SIGNATURES = "micwire.core.interfaces"


def part_of(module: str) -> str:
    """Return the part a module belongs to: its first name below `micwire`."""
    return module.partition(".")[2].partition(".")[0]


def imports_of(tree: ast.Module, modules: Mapping[str, str]) -> Iterator[str]:
    """Yield the full names of imported modules; `from a import b` is `a.b` if that is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else str(node.module)


def wrong_imports(module: str, imported: str) -> Iterator[str]:
    """Yield what is wrong with one import."""
    part = part_of(module)
    if imported.partition(".")[0] != "micwire":
        package = imported.partition(".")[0]
        if part == "core" and package not in sys.stdlib_module_names:
            yield f"{module}: core imports {imported}, which is not in the standard library"
        if part == "core" and package in IMPURE_MODULES:
            yield f"{module}: core imports {imported}, which touches the world"
        return
    other = part_of(imported)
    if other == "cli" and part not in ("cli", "__main__"):
        yield f"{module}: nobody imports cli"
    elif part not in JOINERS and other not in ("core", part, *MAY_ALSO_IMPORT.get(part, ())):
        yield f"{module}: {part} may not import {imported}"


def impurities(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield what in a module of the core waits, reads a clock or touches a file."""
    for node in ast.walk(tree):
        match node:
            case ast.AsyncFunctionDef(name=name) if module != ASYNC_SIGNATURES:
                yield f"{module}: async def {name} in core"
            case ast.Await() | ast.AsyncFor() | ast.AsyncWith() | ast.comprehension(is_async=1):
                yield f"{module}: core waits"
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                yield f"{module}: core calls {name}()"
            case ast.Attribute(attr=name) if name in CLOCK_METHODS:
                yield f"{module}: core uses .{name}"
            case _:
                pass


def violations(modules: Mapping[str, str]) -> list[str]:
    """Return every breach of the rules in modules given as name and source."""
    found: list[str] = []
    graph: dict[str, set[str]] = {}
    for module, source in modules.items():
        tree = ast.parse(source, module)
        if any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree)):
            found.append(f"{module}: relative import")
        imports = set(imports_of(tree, modules))
        graph[module] = imports & modules.keys()
        for imported in sorted(imports):
            found += wrong_imports(module, imported)
        if part_of(module) == "core":
            found += impurities(module, tree)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"import circle: {' <- '.join(error.args[1])}")
    return found


def sources() -> dict[str, str]:
    """Return every module of micwire by its full name."""
    return {
        ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): (
            path.read_text()
        )
        for path in (SOURCE / "micwire").rglob("*.py")
    }


def test_every_module_keeps_the_import_rule() -> None:
    assert violations(sources()) == []


def test_the_checker_reads_the_real_modules() -> None:
    assert {"micwire", "micwire.core", "micwire.core.wire"} <= sources().keys()


@pytest.mark.parametrize(
    ("module", "source", "breach"),
    [
        ("core.a", "import numpy as np", "not in the standard library"),
        ("core.a", "from numpy.typing import NDArray", "not in the standard library"),
        ("core.a", "from micwire.files import LocalFiles", "core may not import micwire.files"),
        ("core.a", "import time", "touches the world"),
        ("core.a", "from os.path import join", "touches the world"),
        ("core.a", "def f():\n    from random import random", "touches the world"),
        ("core.a", "async def f(): pass", "async def f in core"),
        ("core.interfaces", "async def f(): await g()", "core waits"),
        ("core.a", "f = [x async for x in y]", "core waits"),
        ("core.a", "datetime.now(UTC)", "core uses .now"),
        ("core.a", "clock = date.today", "core uses .today"),
        ("core.a", "open('x')", "core calls open()"),
        ("core.a", "from .wire import Open", "relative import"),
        ("journal.a", "from micwire.library import b", "journal may not import micwire.library"),
        ("library.a", "import micwire.journal.b", "library may not import micwire.journal.b"),
        ("transports.a", "from micwire import recorder", "transports may not import"),
        ("analyzers.a", "import micwire", "analyzers may not import micwire"),
        (
            "analyzers.a",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import micwire.app",
            "analyzers may not import micwire.app",
        ),
        ("analyzers.a", "from micwire.analysis import Analysis", "analyzers may not import"),
        ("analysis", "from micwire.analyzers.level import level", "analysis may not import"),
        ("blocks", "from micwire.results import Results", "blocks may not import"),
        ("recorder", "from micwire.journal.b import Local", "recorder may not import"),
        ("recorder", "from micwire.analysis import Analysis", "recorder may not import"),
        ("files", "from micwire.config import Config", "files may not import micwire.config"),
        ("client", "from micwire.recorder import Recorder", "client may not import"),
        ("config", "import micwire.library.b", "config may not import micwire.library.b"),
        ("testing", "import micwire.app", "testing may not import micwire.app"),
        ("somewhere.new", "import micwire.recorder", "somewhere may not import"),
        ("app", "from micwire.cli import main", "nobody imports cli"),
        ("", "def f():\n    import micwire.cli", "nobody imports cli"),
    ],
)
def test_the_checker_finds_a_breach(module: str, source: str, breach: str) -> None:
    found = violations({"micwire.recorder": "", f"micwire.{module}".removesuffix("."): source})
    assert len(found) == 1
    assert breach in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.a", "import json\nfrom datetime import datetime\nfrom micwire.core import b"),
        ("core.interfaces", "class Link:\n    async def send(self) -> None: ..."),
        ("journal.a", "import numpy\nimport time\nfrom micwire.journal.b import Segment"),
        ("testing", "import micwire.core.b\nimport micwire.journal.b"),
        ("app", "import micwire.journal.b\nimport micwire.library.b\nimport micwire.recorder"),
        ("cli", "from micwire import app, client, config"),
        ("__main__", "from micwire.cli import main"),
        ("", "from micwire.app import create_app\nfrom micwire.client import connect"),
    ],
)
def test_the_checker_lets_pass_what_is_allowed(module: str, source: str) -> None:
    assert violations({f"micwire.{module}".removesuffix("."): source}) == []


def test_the_checker_finds_a_circle() -> None:
    found = violations(
        {
            "micwire.core.a": "from micwire.core import b",
            "micwire.core.b": "from micwire.core.c import x",
            "micwire.core.c": "def f():\n    import micwire.core.a",
        }
    )
    assert len(found) == 1
    assert "import circle" in found[0]
