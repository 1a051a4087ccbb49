"""Variables of libpq lead no driver and no program elsewhere."""

import os
import subprocess

import psycopg
import pytest
from psycopg import pq

from autonama_dagster.settings import load_settings
from resources.postgres import database
from resources.postgres.connections import bulk, connect, engine
from resources.postgres.libpq_environment import COMPLETES_A_URL, MISLEADS, drop_libpq_variables
from resources.postgres.roles.clients import connection_of, program
from resources.postgres.roles.readers import find_databases, reading
from resources.postgres.urls import dagster_url

HOSTILE = {
    "PGHOSTADDR": "127.0.0.1",
    "PGHOST": "192.0.2.1",
    "PGPORT": "9",
    "PGSERVICE": "nowhere",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGCHANNELBINDING": "require",
    "PGTARGETSESSIONATTRS": "standby",
    "PGOPTIONS": "-c search_path=nowhere -c default_transaction_read_only=on",
    "PGSSLMODE": "verify-full",
    "PGGSSENCMODE": "require",
    "PGREQUIREPEER": "nobody",
    "PGUSER": "nobody",
    "PGDATABASE": "nowhere",
    "PGPASSFILE": "/nowhere",
    "PGPASSWORD": "hunter2",
    "PGCLIENTENCODING": "LATIN1",
    "PGDATESTYLE": "German",
    "PGTZ": "Asia/Kathmandu",
    "PGCONNECT_TIMEOUT": "nonsense",
}


@pytest.fixture
def hostile(monkeypatch):
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("hostile")
def test_they_change_nothing_on_the_embedded_server(postgres, monkeypatch):
    monkeypatch.setattr(database, "embedded_server", lambda: postgres)
    monkeypatch.setattr("resources.postgres.roles.readers.embedded_server", lambda: postgres)
    settings = load_settings()
    url = database.project_url(settings)
    assert not set(HOSTILE) & set(os.environ)
    with connect(url) as connection:
        connection.execute("CREATE TEMPORARY TABLE t (a int)")
    for address in (url, dagster_url(url)):
        made = engine(address)
        made.connect().close()
    bulk(url).close()
    with reading(find_databases(settings).project):
        pass
    conninfo, environment = connection_of(url)
    found = subprocess.run(
        [program("psql"), "-XAt", "-c", "SHOW search_path", conninfo],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout == '"$user", public\n'


def test_each_variable_of_libpq_is_known():
    known = {o.envvar.decode() for o in pq.Conninfo.get_defaults() if o.envvar}
    assert known <= COMPLETES_A_URL | MISLEADS


@pytest.mark.usefixtures("hostile")
def test_beside_a_url_only_what_completes_it_stays():
    drop_libpq_variables(load_settings(DATABASE_URL="postgresql://h/d"))
    assert {n for n in HOSTILE if n in os.environ} == set(HOSTILE) & COMPLETES_A_URL
    assert "PGHOSTADDR" not in os.environ


def test_a_url_wins_over_what_stays(postgres, monkeypatch):
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    monkeypatch.setenv("PGHOST", "192.0.2.1")
    monkeypatch.setenv("PGPORT", "9")
    url = database.project_url(load_settings(DATABASE_URL=postgres.url("postgres")))
    with psycopg.connect(url) as connection:
        assert connection.info.dbname == "postgres"
