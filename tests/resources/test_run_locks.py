"""A run is alive for as long as the process that executes it."""

import subprocess
import sys

import psycopg
import pytest
from support import HOLD

from autonama_dagster.errors import DatabaseError
from resources.database_urls import libpq_url
from resources.run_locks import alive, held, hold_to_the_end


def test_a_run_is_alive_while_its_lock_is_held(database):
    assert alive(database, ["one", "two"]) == frozenset()
    with held(database, "one"):
        assert alive(database, ["one", "two"]) == {"one"}
        with held(database, "two"):
            assert alive(database, ["one", "two", "three"]) == {"one", "two"}
    assert alive(database, ["one", "two"]) == frozenset()


def test_ids_of_either_sign_of_hash_are_found(database):
    names = [f"run-{n}" for n in range(8)]
    for name in names:
        with held(database, name):
            assert alive(database, names) == {name}


def test_nobody_asked_for_is_alive(database):
    with held(database, "one"):
        assert alive(database, []) == frozenset()


def test_a_process_that_is_killed_holds_no_lock(database):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, database, "theirs"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == "held\n"
        assert alive(database, ["theirs"]) == {"theirs"}
        process.kill()
        process.wait()
    # The server ends the session when it reads that the connection closed: so the lock is free.
    with held(database, "theirs"):
        assert alive(database, ["theirs"]) == {"theirs"}


def test_a_database_of_another_project_does_not_count(database, postgres):
    with held(database, "ours"), psycopg.connect(libpq_url(postgres.url("postgres"))) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('theirs', 0))")
        assert alive(database, ["ours", "theirs"]) == {"ours"}


def test_a_database_out_of_reach_is_said_in_one_line():
    url = "postgresql://user:planted@127.0.0.1:1/nowhere"
    with pytest.raises(DatabaseError, match="out of reach") as raised:
        alive(url, ["one"])
    assert "planted" not in str(raised.value)


def test_the_lock_of_a_process_is_held_until_its_next_run(database):
    hold_to_the_end(database, "first")
    assert alive(database, ["first", "second"]) == {"first"}
    hold_to_the_end(database, "second")
    with held(database, "first"):  # waits until the server has noticed
        assert alive(database, ["first", "second"]) == {"first", "second"}
