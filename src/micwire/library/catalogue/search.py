"""Where words are kept and found: FTS5 in SQLite, a tsvector in Postgres.

What is asked of both is the same, and so is how texts are cut: see `words`. A recording may
have several texts, each searched by itself: what its sidecar says; in time, what was spoken.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from sqlalchemy import (
    BigInteger,
    Integer,
    Select,
    String,
    cast,
    column,
    delete,
    insert,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR
from sqlalchemy.ext.asyncio import AsyncConnection

from micwire.library.catalogue.words import Term, cut

TEXT_WORDS = 8_000
"""What has more words is more than one text: Postgres counts no place beyond 16,383."""


class Words(Protocol):
    """The words of all texts."""

    async def put(self, connection: AsyncConnection, texts: Mapping[int, Sequence[str]]) -> None:
        """Replace the words of recordings, given by their rows."""
        ...

    async def forget(self, connection: AsyncConnection, rows: Sequence[int]) -> None:
        """Remove the words of recordings."""
        ...

    def matching(self, terms: Sequence[Term]) -> Select[int]:
        """Return the query for the rows of recordings that have a text with all terms."""
        ...


def _texts(texts: Mapping[int, Sequence[str]]) -> Iterator[tuple[int, int, list[str]]]:
    """Yield row, number and words of each text."""
    for row, parts in texts.items():
        words = list(cut(parts))
        for number, first in enumerate(range(0, len(words), TEXT_WORDS)):
            yield row, number, words[first : first + TEXT_WORDS]


class SqliteWords:
    """Words in an FTS5 table.

    A text's rowid holds its recording's row and its own number, so that a search reads
    nothing but the index of words.
    """

    _SHIFT = 20
    _table = table("words", column("rowid", Integer), column("body", String))

    async def put(self, connection: AsyncConnection, texts: Mapping[int, Sequence[str]]) -> None:
        """Replace the words of recordings, given by their rows."""
        await self.forget(connection, list(texts))
        values = [
            {"rowid": row << self._SHIFT | number, "body": " ".join(words)}
            for row, number, words in _texts(texts)
        ]
        if values:
            await connection.execute(insert(self._table), values)

    async def forget(self, connection: AsyncConnection, rows: Sequence[int]) -> None:
        """Remove the words of recordings."""
        rowid = self._table.c.rowid
        for row in rows:
            first = row << self._SHIFT
            await connection.execute(
                delete(self._table).where(rowid >= first, rowid < first + (1 << self._SHIFT))
            )

    def matching(self, terms: Sequence[Term]) -> Select[int]:
        """Return the query for the rows of recordings that have a text with all terms."""
        # Words are letters and digits: nothing in them needs an escape.
        match = " ".join(
            f'"{" ".join(term.words)}"{"*" if term.is_prefix else ""}' for term in terms
        )
        row = self._table.c.rowid.op(">>", return_type=Integer())(self._SHIFT)
        return select(row).where(literal_column("words").op("MATCH")(match))


class PostgresWords:
    """Words in tsvectors, with a GIN index."""

    _table = table(
        "words", column("row", BigInteger), column("text", Integer), column("body", TSVECTOR)
    )

    async def put(self, connection: AsyncConnection, texts: Mapping[int, Sequence[str]]) -> None:
        """Replace the words of recordings, given by their rows."""
        await self.forget(connection, list(texts))
        values = [
            {
                "row": row,
                "text": number,
                "body": " ".join(f"'{word}':{place + 1}" for place, word in enumerate(words)),
            }
            for row, number, words in _texts(texts)
        ]
        if values:
            await connection.execute(insert(self._table), values)

    async def forget(self, connection: AsyncConnection, rows: Sequence[int]) -> None:
        """Remove the words of recordings."""
        await connection.execute(delete(self._table).where(self._table.c.row.in_(rows)))

    def matching(self, terms: Sequence[Term]) -> Select[int]:
        """Return the query for the rows of recordings that have a text with all terms."""
        match = " & ".join(
            "("
            + " <-> ".join(f"'{word}'{':*' if term.is_prefix else ''}" for word in term.words)
            + ")"
            for term in terms
        )
        return select(self._table.c.row).where(self._table.c.body.op("@@")(cast(match, TSQUERY)))
