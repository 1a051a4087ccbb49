"""The old config.json: what it gives, and what wins over it."""

import json

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import make_url

from autonama_dagster.cli.compute.old_config import read_old_config
from autonama_dagster.settings import load_settings
from resources.postgres.urls import libpq_url, sqlalchemy_url

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


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("::1", "[::1]:5432/autonama"),
        ("[2001:db8::7]", "[2001:db8::7]:5432/autonama"),
        ("/var/run/postgresql", "/autonama?host=/var/run/postgresql&port=5432"),
        ("fe80::1%eth0", "/autonama?host=fe80%3A%3A1%25eth0&port=5432"),
    ],
)
def test_addresses_and_sockets_are_where_drivers_read_them(read, host, place):
    url = read({"database_host": host})[0]["DATABASE_URL"]
    assert url == f"postgresql://postgres@{place}"
    found = conninfo_to_dict(libpq_url(url))
    assert (found["host"], found["port"]) == (host.strip("[]"), "5432")
    parsed = PGDialect_psycopg().create_connect_args(make_url(sqlalchemy_url(url)))[1]
    assert (parsed["host"], parsed["dbname"]) == (host.strip("[]"), "autonama")


@pytest.mark.parametrize("odd", ["a b", "ä@:/?#[]", "%41", "'\"\\", "\n", 12])
def test_odd_names_and_passwords_arrive_as_they_are(read, odd):
    parts = ("user", "password", "name")
    url = read({"database_host": "h", **{f"database_{part}": odd for part in parts}})[0]
    found = conninfo_to_dict(libpq_url(url["DATABASE_URL"]))
    assert [found[part] for part in ("user", "password", "dbname")] == [str(odd)] * 3
    parsed = make_url(sqlalchemy_url(url["DATABASE_URL"]))
    assert (parsed.username, parsed.password, parsed.database) == (str(odd),) * 3


def test_a_byte_order_mark_is_read_over(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(OLD), encoding="utf-8-sig")
    assert read_old_config(path, load_settings())[1]["degree"] == 5


def test_the_placeholders_of_the_example_are_no_keys(read):
    keys = {"binance_api_key": "your_api_key", "binance_api_secret": "your_actual_api_secret"}
    assert read(keys) == ({}, {})
