"""Names of files that are sent: made by the server, and safe on every system."""

import os
import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

_NOT_A_WORD = re.compile(r"[^\w-]+")
MAX_TITLE_CHARACTERS = 60


def file_stem(path: str, fields: Mapping[str, Any]) -> str:
    """Return the name without suffix: day, time, id and title of a recording.

    Args:
        path: Where its WAV is. Somebody may have put it there under any name.
        fields: Its sidecar. Of a title, as of the rest, only letters, digits and hyphens stay.

    >>> file_stem("/data/2026-11-22/18-13-05_7f3a9c2e.wav", {"title": "../Über 3?"})
    '2026-11-22_18-13-05_7f3a9c2e_Über-3'
    """
    folder, name = os.path.split(os.path.splitext(path)[0])
    parts = (os.path.basename(folder), name, str(fields.get("title") or ""))
    return "_".join(filter(None, map(_slug, parts))) or "recording"


def _slug(text: str) -> str:
    words = _NOT_A_WORD.sub("-", unicodedata.normalize("NFC", text))
    return words[:MAX_TITLE_CHARACTERS].strip("-_")


def disposition(kind: str, name: str) -> str:
    """Return a Content-Disposition (RFC 6266) for a name of `file_stem`.

    >>> disposition("attachment", "Über.wav")
    'attachment; filename="_ber.wav"; filename*=UTF-8\\'\\'%C3%9Cber.wav'
    """
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    whole = "" if plain == name else f"; filename*=UTF-8''{quote(name)}"
    return f'{kind}; filename="{plain}"{whole}'
