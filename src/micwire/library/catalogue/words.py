"""How texts and searches are cut into words, the same for every database.

A word is a run of letters and digits, without case, width or accents. Scripts that put no
space between words are cut into pairs of characters, each overlapping the next, so that any
part of a Japanese sentence finds it, down to one character. Nothing here touches a database.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # kana and iteration marks
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_RUN = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")
MAX_WORD_CHARS = 64
MAX_TERMS = 16
"""What a search says beyond is not looked for."""


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that a text must have: these words one behind the other.

    With `is_prefix` the last word may go on.
    """

    words: tuple[str, ...]
    is_prefix: bool


def cut(texts: Iterable[str]) -> Iterator[str]:
    """Yield the words of texts, in order."""
    for text in texts:
        for run in _runs(text):
            if _IS_UNSPACED.match(run):
                # The last character stands alone: it begins no pair, and can be looked for.
                yield from (run[place : place + 2] for place in range(len(run)))
            else:
                yield run[:MAX_WORD_CHARS]


def terms(search: str) -> tuple[Term, ...]:
    """Return what a search asks for; nothing where there is no word in it."""
    found: dict[Term, None] = {}
    for run in _runs(search):
        if _IS_UNSPACED.match(run) and len(run) > 1:
            pairs = [run[place : place + 2] for place in range(len(run) - 1)]
            found[Term(tuple(pairs[:MAX_WORD_CHARS]), is_prefix=False)] = None
        else:
            found[Term((run[:MAX_WORD_CHARS],), is_prefix=True)] = None
        if len(found) == MAX_TERMS:
            break
    return tuple(found)


def has_all(texts: Iterable[str], wanted: Iterable[Term]) -> bool:
    """Tell whether a text, given in parts, has all terms: what databases do, without one."""
    words = list(cut(texts))
    return all(_has(words, term) for term in wanted)


def _has(words: list[str], term: Term) -> bool:
    *before, last = term.words
    for end in range(len(before), len(words)):
        is_last = words[end].startswith(last) if term.is_prefix else words[end] == last
        if is_last and words[end - len(before) : end] == before:
            return True
    return False


def _runs(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).casefold()
    if not plain.isascii():
        # Accents go from Latin letters only: elsewhere a mark can make another letter.
        plain = "".join(map(_without_accent, unicodedata.normalize("NFC", plain)))
    return _RUN.findall(plain)


def _without_accent(character: str) -> str:
    base = unicodedata.normalize("NFD", character)[0]
    return base if base.isascii() else character
