"""Settings: read once, checked against each other, handed on to other programs unchanged."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path

import pytest

from core.errors import SettingsError
from core.settings import Settings, read_settings


def test_the_defaults_are_safe_and_agree_with_each_other(home: Path) -> None:
    settings = read_settings(home=home)
    assert settings.database == f"sqlite:///{home}/classyard.db"
    assert settings.models_path == home / "models"
    assert settings.fetch_limits.networks == ()
    assert settings.fetch_limits.roots == ()
    assert settings.fetch_limits.schemes == {"file", "http", "https", "zip", "tar", "data"}
    chain = (
        settings.fetch_timeout, settings.stall_timeout, settings.soft_limit, settings.hard_limit,
        settings.lease, settings.visibility_timeout,
    )  # fmt: skip
    assert all(shorter < longer for shorter, longer in pairwise(chain))
    assert settings.grace + settings.heartbeat < settings.dead_after


def test_a_flag_wins_over_the_environment_and_none_means_not_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLASSYARD_CONCURRENCY", "3")
    assert read_settings().concurrency == 3
    assert read_settings(concurrency=None).concurrency == 3
    assert read_settings(concurrency=5).concurrency == 5


def test_words_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSYARD_ALLOW_NETS", " 10.0.0.0/8, fd00::/8 ,")
    monkeypatch.setenv("CLASSYARD_FORMATS", "jpeg,png")
    monkeypatch.setenv("CLASSYARD_PORTS", "443")
    settings = read_settings()
    assert settings.fetch_limits.networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.image_limits.formats == ("JPEG", "PNG")
    assert settings.fetch_limits.ports == {443}


def test_a_dot_env_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("CLASSYARD_WINDOW=7\nOTHER=1\n")
    monkeypatch.chdir(tmp_path)
    assert read_settings().window == 7


def test_other_programs_get_these_very_settings(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = read_settings(
        home=home, engine="stub", ports=("80", "8080"), preload=(), models_dir=None, lease=2000.5,
        insecure_broker=True, database_url="postgresql://u:p%40@h/d",
    )  # fmt: skip
    for name, value in given.as_environment().items():
        monkeypatch.setenv(name, value)
    assert read_settings() == given


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("lease", 10, "CLASSYARD_HARD_LIMIT must be shorter than LEASE"),
        ("fetch_timeout", 1000, "CLASSYARD_FETCH_TIMEOUT must be shorter than STALL_TIMEOUT"),
        ("heartbeat", 30, "CLASSYARD_HEARTBEAT must be less than half of DEAD_AFTER"),
        ("grace", 34, "CLASSYARD_GRACE plus HEARTBEAT must be less than DEAD_AFTER"),
        ("engine", "gpu", "CLASSYARD_ENGINE: "),
        ("max_attempts", 1, "CLASSYARD_MAX_ATTEMPTS: "),
        ("chunk_size", 10**6, "CLASSYARD_CHUNK_SIZE: "),
        ("contact", "me\r\nX: y", "CLASSYARD_CONTACT: "),
        ("broker_url", "redis://queue.example/0", "beyond this machine without a password"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: object, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(**{name: value})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1:6379/0", "redis://localhost", "redis+socket:///run/redis.sock",
     "redis://:secret@queue.example/0", "rediss://user:secret@queue.example/0"],
)  # fmt: skip
def test_a_redis_that_is_near_or_has_a_password_is_accepted(url: str) -> None:
    assert read_settings(broker_url=url).broker_url == url


def test_any_redis_is_accepted_from_those_who_insist() -> None:
    settings = read_settings(broker_url="redis://queue.example", insecure_broker=True)
    assert settings.broker_url == "redis://queue.example"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings().window = 3  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    assert [n for n, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("url", ["minio", "ftp://h", "https://", "https://me:s3cret@h"])
def test_an_endpoint_is_a_url_without_a_password(url: str) -> None:
    with pytest.raises(SettingsError, match="CLASSYARD_S3_ENDPOINT: a URL such as") as caught:
        read_settings(s3_endpoint=url)
    assert "s3cret" not in str(caught.value)


def test_an_empty_home_is_the_default_and_not_the_current_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CLASSYARD_HOME", raising=False)
    usual = read_settings().home
    monkeypatch.setenv("CLASSYARD_HOME", "")
    assert read_settings().home == usual
