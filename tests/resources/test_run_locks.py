"""A run is alive for as long as the process that executes it."""

import subprocess
import sys

import psycopg
import pytest

from autonama_dagster.errors import DatabaseError
from resources.database_urls import libpq_url
from resources.run_locks import alive, held

HOLD = """
import sys
from resources.run_locks import held
with held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def dagster_database(database, monkeypatch):
    monkeypatch.setenv("AUTONAMA_DAGSTER_DATABASE_URL", database)


def test_a_run_is_alive_while_its_lock_is_held():
    assert alive(["one", "two"]) == frozenset()
    with held("one"):
        assert alive(["one", "two"]) == {"one"}
        with held("two"):
            assert alive(["one", "two", "three"]) == {"one", "two"}
    assert alive(["one", "two"]) == frozenset()


def test_ids_of_either_sign_of_hash_are_found():
    names = [f"run-{n}" for n in range(8)]
    for name in names:
        with held(name):
            assert alive(names) == {name}


def test_nobody_asked_for_is_alive():
    with held("one"):
        assert alive([]) == frozenset()


def test_a_process_that_is_killed_holds_no_lock():
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, "theirs"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == "held\n"
        assert alive(["theirs"]) == {"theirs"}
        process.kill()
        process.wait()
    # The server ends the session when it reads that the connection closed: so the lock is free.
    with held("theirs"):
        assert alive(["theirs"]) == {"theirs"}


def test_a_database_of_another_project_does_not_count(postgres):
    with held("ours"), psycopg.connect(libpq_url(postgres.url("postgres"))) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('theirs', 0))")
        assert alive(["ours", "theirs"]) == {"ours"}


def test_a_database_out_of_reach_is_said_in_one_line(monkeypatch):
    url = "postgresql://user:planted@127.0.0.1:1/nowhere"
    monkeypatch.setenv("AUTONAMA_DAGSTER_DATABASE_URL", url)
    with pytest.raises(DatabaseError, match="out of reach") as raised:
        alive(["one"])
    assert "planted" not in str(raised.value)
