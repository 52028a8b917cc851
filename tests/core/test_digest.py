"""The digest against the vectors, and against its definition in a few lines."""

import json
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micwire.core.digest import PIECE_BYTES, PieceDigest, digest_of

VECTORS = Path(__file__).parents[2] / "spec" / "vectors" / "digest.json"
DIGESTS = json.loads(VECTORS.read_text())["digests"]


def pattern(vector: dict[str, int]) -> bytes:
    multiplier, offset, modulus = vector["multiplier"], vector["offset"], vector["modulus"]
    period = bytes((i * multiplier + offset) % modulus for i in range(modulus))
    return (period * (vector["bytes"] // modulus + 1))[: vector["bytes"]]


def by_definition(data: bytes) -> str:
    pieces = (data[i : i + PIECE_BYTES] for i in range(0, len(data), PIECE_BYTES))
    return sha256(b"".join(sha256(piece).digest() for piece in pieces)).hexdigest()


@pytest.mark.parametrize(("vector", "digest"), [(vector, vector["digest"]) for vector in DIGESTS])
def test_the_digest_is_that_of_the_vectors(vector: dict[str, int], digest: str) -> None:
    assert digest_of(pattern(vector)) == digest


@given(cuts=st.lists(st.integers(0, 3 * PIECE_BYTES), max_size=6), end=st.integers(0, 99))
def test_the_digest_does_not_depend_on_how_the_bytes_are_cut(cuts: list[int], end: int) -> None:
    data = bytes(range(251)) * (2 * PIECE_BYTES // 251) + bytes(end)
    digest, edges = PieceDigest(), [0, *sorted(cuts), len(data)]
    for first, last in pairwise(edges):
        digest.update(data[first:last])
    assert digest.bytes == len(data)
    assert digest.hexdigest() == by_definition(data)


@pytest.mark.parametrize("before", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1])
def test_asking_for_the_digest_does_not_end_it(before: int) -> None:
    digest = PieceDigest()
    digest.update(b"\x05" * before)
    assert digest.hexdigest() == digest.hexdigest() == by_definition(b"\x05" * before)
    digest.update(b"more")
    assert digest.hexdigest() == by_definition(b"\x05" * before + b"more")


def test_two_pieces_swapped_have_another_digest() -> None:
    first, second = b"\x01" * PIECE_BYTES, b"\x02" * PIECE_BYTES
    assert digest_of(first + second) != digest_of(second + first)


def test_views_of_wider_items_count_in_bytes() -> None:
    samples = memoryview(bytes(range(240))).cast("h", (40, 3))
    digest = PieceDigest()
    digest.update(samples)
    assert digest.bytes == 240
    assert digest.hexdigest() == by_definition(bytes(range(240)))


@given(before=st.integers(0, 3 * PIECE_BYTES), zeros=st.integers(0, 3 * PIECE_BYTES))
@settings(max_examples=30, deadline=None)
def test_zeros_are_hashed_as_if_they_had_been_given(before: int, zeros: int) -> None:
    counted, given_whole = PieceDigest(), PieceDigest()
    for digest in (counted, given_whole):
        digest.update(b"\1" * before)
    counted.update_zeros(zeros)
    given_whole.update(bytes(zeros))
    assert counted.bytes == given_whole.bytes
    assert counted.hexdigest() == given_whole.hexdigest()
