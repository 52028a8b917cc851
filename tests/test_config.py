"""Settings: which source beats which, and what is refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from micwire.config import Config


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Config.model_fields:
        monkeypatch.delenv(f"MICWIRE_{name.upper()}", raising=False)


def test_flags_beat_the_environment_beats_the_file_beats_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (Config().port, Config().host) == (8000, "127.0.0.1")
    (tmp_path / "micwire.toml").write_text('port = 1\nhost = "a"\nsegment_mb = 8\n')
    assert (Config().port, Config().host, Config().segment_mb) == (1, "a", 8)
    monkeypatch.setenv("MICWIRE_PORT", "2")
    monkeypatch.setenv("MICWIRE_HOST", "b")
    assert (Config().port, Config().host, Config().segment_mb) == (2, "b", 8)
    assert (Config(port=3).port, Config(port=3).host) == (3, "b")


def test_settings_never_change() -> None:
    config = Config()
    with pytest.raises(ValidationError):
        setattr(config, "port", 1)  # noqa: B010  # type checkers refuse it as well


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "-1"),
        ("port", "65536"),
        ("port", "http"),
        ("min_free_mb", "-1"),
        ("max_recordings", "0"),
        ("unfinished_days", "0"),
        ("keep_days", "-1"),
        ("keep_days_tag", "pilot"),
        ("keep_days_user", "ana=-1"),
        ("segment_mb", "3"),
        ("segment_mb", "1025"),
        ("public_url", "mic.example"),
        ("public_url", "https://user@mic.example"),
        ("public_url", "https://mic.example/?a"),
        ("metrics", "9100"),
        ("metrics", "127.0.0.1:metrics"),
        ("metrics", "127.0.0.1:65536"),
        ("allow_origin", "app.example"),
        ("allow_origin", "https://app.example/"),
        ("allow_origin", "https://"),
        ("allow_origin", "ftp://app.example"),
        ("allow_origin", "*"),
        ("allow_origin", "null"),
    ],
)
def test_a_value_out_of_range_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MICWIRE_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Config()


def test_origins_are_split_and_compared_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICWIRE_ALLOW_ORIGIN", "https://App.Example, http://b.example:8080 ")
    assert Config().allow_origin == ("https://app.example", "http://b.example:8080")
    monkeypatch.setenv("MICWIRE_ALLOW_ORIGIN", "")
    assert Config().allow_origin == ()


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Config.model_fields.values())


def test_rules_for_tags_are_split_at_commas_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICWIRE_KEEP_DAYS_TAG", "pilot study=30, x=0,")
    assert Config().keep_rules.by_tag == {"pilot study": 30, "x": 0}
