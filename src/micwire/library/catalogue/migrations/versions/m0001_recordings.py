"""Recordings, their tags, and the words in their texts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ROW = sa.BigInteger().with_variant(sa.Integer, "sqlite")
BYTEWISE = sa.String().with_variant(sa.String(collation="C"), "postgresql")
ORDERS = {"started": "started_us", "duration": "duration_us", "title": "title_key"}


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "recordings",
        sa.Column("row", ROW, primary_key=True),
        sa.Column("recording", BYTEWISE, nullable=False, unique=True),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("path", BYTEWISE, nullable=False),
        sa.Column("folder", BYTEWISE, nullable=False),
        sa.Column("encoding", sa.String, nullable=False),
        sa.Column("sample_rate", sa.Integer, nullable=False),
        sa.Column("channels", sa.Integer, nullable=False),
        sa.Column("frames", sa.BigInteger, nullable=False),
        sa.Column("duration_us", sa.BigInteger, nullable=False),
        sa.Column("title", sa.String),
        sa.Column("title_key", BYTEWISE, nullable=False),
        sa.Column("notes", sa.String, nullable=False),
        sa.Column("owner", BYTEWISE, nullable=False),
        sa.Column("take", sa.String),
        sa.Column("part", sa.BigInteger),
        sa.Column("started_at", sa.String, nullable=False),
        sa.Column("started_us", sa.BigInteger, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("gaps", sa.BigInteger, nullable=False),
        sa.Column("gap_frames", sa.BigInteger, nullable=False),
        sa.Column("marks", sa.BigInteger, nullable=False),
        sa.Column("clipped", sa.BigInteger, nullable=False),
        sa.Column("verifiable", sa.Boolean),
        sa.Column("hold", sa.Boolean, nullable=False),
        sa.Column("stamp", sa.String, nullable=False),
    )
    # A list is read in order out of one index, also one person's, and one of one status.
    for order, column in ORDERS.items():
        op.create_index(f"by_{order}", "recordings", [column, "recording"])
        for narrow in ("owner", "status"):
            op.create_index(f"by_{narrow}_{order}", "recordings", [narrow, column, "recording"])
    for name in ("take", "folder", "created_us"):
        op.create_index(f"by_{name}", "recordings", [name])
    op.create_table(
        "tags",
        sa.Column("row", ROW, sa.ForeignKey("recordings.row"), primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True),
        sa.Column("tag", BYTEWISE, nullable=False),
    )
    op.create_index("by_tag", "tags", ["tag", "row"])
    # A recording may have several texts: 0 is what its sidecar says.
    if op.get_bind().dialect.name == "sqlite":
        # The words are cut before: `ascii` leaves all else as it is. Short prefixes have an
        # index of their own, for a search while somebody types.
        op.execute("CREATE VIRTUAL TABLE words USING fts5(body, tokenize='ascii', prefix='1 2 3')")
    else:
        op.execute(
            "CREATE TABLE words (row BIGINT REFERENCES recordings (row), text INTEGER,"
            " body TSVECTOR NOT NULL, PRIMARY KEY (row, text))"
        )
        op.execute("CREATE INDEX by_word ON words USING gin (body) WITH (fastupdate = off)")
