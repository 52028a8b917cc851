"""The catalogue's tables, as the newest migration leaves them.

Where each word is kept is the databases' own affair: see `search`.
"""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, MetaData, String, Table

ROW = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts rows by itself only where the type is INTEGER."""
BYTEWISE = String().with_variant(String(collation="C"), "postgresql")
"""Texts that are sorted: in the same order everywhere, whatever the system's language."""

metadata = MetaData()

recordings = Table(
    "recordings",
    metadata,
    Column("row", ROW, primary_key=True),
    Column("recording", BYTEWISE, nullable=False, unique=True),
    Column("status", String, nullable=False),
    Column("path", BYTEWISE, nullable=False),
    Column("folder", BYTEWISE, nullable=False),
    Column("encoding", String, nullable=False),
    Column("sample_rate", Integer, nullable=False),
    Column("channels", Integer, nullable=False),
    Column("frames", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("title", String),
    Column("title_key", BYTEWISE, nullable=False),
    Column("notes", String, nullable=False),
    Column("owner", BYTEWISE, nullable=False),
    Column("take", String),
    Column("part", BigInteger),
    Column("started_at", String, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("gaps", BigInteger, nullable=False),
    Column("gap_frames", BigInteger, nullable=False),
    Column("marks", BigInteger, nullable=False),
    Column("clipped", BigInteger, nullable=False),
    Column("verifiable", Boolean),
    Column("hold", Boolean, nullable=False),
    Column("stamp", String, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    Column("row", ROW, ForeignKey("recordings.row"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("tag", BYTEWISE, nullable=False),
)
