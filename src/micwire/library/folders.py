"""What lies in a data directory: its folders, and the sidecars and WAVs in them. Reads only."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from micwire.core.catalogue import Filing, filing_of

DELETING = ".micwire/deleting"
"""One note for each deletion that is not complete, named by the recording's id."""


@dataclass(slots=True)
class Folder:
    """The names in one folder; paths are below the data directory and without suffix."""

    sidecars: dict[str, str] = field(default_factory=dict)
    """Path to stamp: another stamp means another content."""
    wavs: dict[str, str] = field(default_factory=dict)
    """Path to the file's name."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that can't be put into the catalogue, and how to mend it."""

    path: str
    sentence: str


def folders(data: Path) -> list[str]:
    """Return the folders of a data directory, itself included, without hidden ones."""
    found = []
    for parent, directories, _ in os.walk(data):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        name = os.path.relpath(parent, data)
        if _is_text(name):
            found.append("" if name == "." else name)
    return found


def look(data: Path, folder: str) -> Folder:
    """Return what is in a folder; nothing if it is gone."""
    found = Folder()
    try:
        with os.scandir(data / folder) as entries:
            for entry in entries:
                stem, suffix = os.path.splitext(entry.name)
                path = f"{folder}/{stem}" if folder else stem
                if not _is_text(path) or stem.startswith("."):
                    continue
                if suffix == ".json":
                    facts = entry.stat()
                    found.sidecars[path] = f"{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ino}"
                elif suffix == ".wav" or (suffix.lower() == ".wav" and path not in found.wavs):
                    found.wavs[path] = entry.name
    except (FileNotFoundError, NotADirectoryError):
        pass
    return found


def noted(data: Path) -> list[str]:
    """Return the ids of deleted recordings of which files may be left."""
    try:
        return os.listdir(data / DELETING)
    except FileNotFoundError:
        return []


def read_filing(data: Path, path: str) -> Filing:
    """Return what the sidecar of a recording says.

    Raises:
        FileNotFoundError: There is none.
        OSError: It can't be read.
        ValueError: It is no sidecar.
    """
    with (data / f"{path}.json").open("rb") as file:
        # The stamp of the very file that is read, though another may take its place.
        facts = os.fstat(file.fileno())
        fields = json.loads(file.read())
    if not isinstance(fields, dict):
        raise ValueError("it holds no object")
    return filing_of(fields, path, f"{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ino}")


def _is_text(name: str) -> bool:
    """Tell whether a name is Unicode: others can't be said in JSON, or in a database."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
