"""How texts are cut into words, in English and Japanese."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micwire.library.catalogue.words import Term, cut, has_all, terms


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Interview 7, Berlin", ["interview", "7", "berlin"]),
        ("mother-in-law's", ["mother", "in", "law", "s"]),
        ("Käse CAFÉ Straße", ["kase", "cafe", "strasse"]),
        ("ＡＢＣ　ｶﾀｶﾅ", ["abc", "カタ", "タカ", "カナ", "ナ"]),
        ("がか", ["がか", "か"]),
        ("東京タワー2026", ["東京", "京タ", "タワ", "ワー", "ー", "2026"]),
        ("スター・ア", ["スタ", "ター", "ー", "ア"]),
        ("第3回", ["第", "3", "回"]),
        ("й ё", ["й", "ё"]),
        ("!? \0 _", []),
        ("x" * 100, ["x" * 64]),
    ],
)
def test_texts_are_cut_into_words(text: str, words: list[str]) -> None:
    assert list(cut([text])) == words


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("Inter", (Term(("inter",), is_prefix=True),)),
        ("東", (Term(("東",), is_prefix=True),)),
        ("東京タ", (Term(("東京", "京タ"), is_prefix=False),)),
        ("a A ａ", (Term(("a",), is_prefix=True),)),
        ("?!", ()),
    ],
)
def test_a_search_is_cut_into_terms(search: str, found: tuple[Term, ...]) -> None:
    assert terms(search) == found


def test_a_very_long_search_asks_for_its_first_words() -> None:
    assert len(terms(" ".join(map(str, range(100))))) == 16


@given(st.text())
def test_a_word_holds_nothing_that_a_database_could_read_as_its_own(text: str) -> None:
    for word in cut([text]):
        assert word.replace("\u0e31", "").isalnum() or not word.isascii()
        assert not set(word) & set("\"'\\*:&|!()<> \0")


@pytest.mark.parametrize(
    ("search", "is_found"),
    [
        ("inter 東京", True),
        ("京タワ", True),
        ("ー", True),
        ("view", False),
        ("京ワ", False),
        ("interview tower", False),
    ],
)
def test_a_text_has_what_a_search_asks_for(search: str, *, is_found: bool) -> None:
    assert has_all(["Interview 7", "東京タワー"], terms(search)) is is_found
