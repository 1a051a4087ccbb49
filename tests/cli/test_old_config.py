"""The old config.json: what it gives, and what wins over it."""

import json

import pytest

from autonama_dagster.cli.old_config import read_old_config
from autonama_dagster.settings import load_settings

OLD = {
    "binance_api_key": "file-key",
    "binance_api_secret": "file-secret",
    "database_host": "db.local",
    "database_port": 6543,
    "database_name": "old name",
    "database_user": "me",
    "database_password": "p@ss/word",
    "default_settings": {"degree": 5, "kstd": 2.5, "lookback_days": 365, "top": 50},
}
URL = "postgresql://me:p%40ss%2Fword@db.local:6543/old%20name"


@pytest.fixture
def read(tmp_path):
    def call(content):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(content))
        return read_old_config(path, load_settings())

    return call


def test_keys_database_and_default_settings_are_read(read):
    environment, flags = read(OLD)
    assert environment == {
        "BINANCE_API_KEY": "file-key",
        "BINANCE_API_SECRET": "file-secret",
        "DATABASE_URL": URL,
    }
    assert flags == {"degree": 5, "kstd": 2.5, "days": 365, "top": 50}


@pytest.mark.parametrize("secret", ["BINANCE_API_SECRET", "BINANCE_SECRET"])
def test_the_environment_wins(read, monkeypatch, secret):
    monkeypatch.setenv("BINANCE_API_KEY", "own-key")
    monkeypatch.setenv(secret, "own-secret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://own/db")
    assert read(OLD)[0] == {}


def test_the_env_file_wins_too(read, home):
    (home / ".env").write_text("BINANCE_SECRET=own-secret\n")
    assert set(read(OLD)[0]) == {"BINANCE_API_KEY", "DATABASE_URL"}


def test_empty_values_are_as_good_as_none(read, monkeypatch):
    monkeypatch.setenv("BINANCE_API_KEY", "")
    empty = {"binance_api_key": "file-key", "binance_api_secret": "", "database_host": None}
    assert read(empty) == ({"BINANCE_API_KEY": "file-key"}, {})


def test_a_whole_url_is_taken_as_it_is_and_a_host_alone_gets_defaults(read):
    assert read({"database_url": "postgresql://a/b", "database_host": "c"})[0] == {
        "DATABASE_URL": "postgresql://a/b"
    }
    url = read({"database_host": "c"})[0]["DATABASE_URL"]
    assert url == "postgresql://postgres@c:5432/autonama"
