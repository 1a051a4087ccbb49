"""A run is alive for as long as the process that executes it."""

import re
import subprocess
import sys

import psycopg
import pytest
from support import HOLD

from autonama_dagster.errors import AutonamaError, DatabaseError
from resources.instance.locks import ServiceLock, alive, held, hold_to_the_end
from resources.postgres.connections import connect
from resources.postgres.urls import libpq_url


def test_a_run_is_alive_while_its_lock_is_held(database):
    assert alive(database, ["one", "two"]) == {}
    with held(database, "one"):
        assert set(alive(database, ["one", "two"])) == {"one"}
        with held(database, "two"):
            assert set(alive(database, ["one", "two", "three"])) == {"one", "two"}
    assert alive(database, ["one", "two"]) == {}


def test_ids_of_either_sign_of_hash_are_found(database):
    names = [f"run-{n}" for n in range(8)]
    for name in names:
        with held(database, name):
            assert set(alive(database, names)) == {name}


def test_nobody_asked_for_is_alive(database):
    with held(database, "one"):
        assert alive(database, []) == {}


def test_a_process_that_is_killed_holds_no_lock(database):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, database, "theirs"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == "held\n"
        assert set(alive(database, ["theirs"])) == {"theirs"}
        process.kill()
        process.wait()
    # The server ends the session when it reads that the connection closed: so the lock is free.
    with held(database, "theirs"):
        assert set(alive(database, ["theirs"])) == {"theirs"}


def test_a_database_of_another_project_does_not_count(database, postgres):
    with held(database, "ours"), psycopg.connect(libpq_url(postgres.url("postgres"))) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('theirs', 0))")
        assert set(alive(database, ["ours", "theirs"])) == {"ours"}


def test_a_database_out_of_reach_is_said_in_one_line():
    url = "postgresql://user:planted@127.0.0.1:1/nowhere"
    with pytest.raises(DatabaseError, match="cannot be reached") as raised:
        alive(url, ["one"])
    assert "planted" not in str(raised.value)


def test_the_lock_of_a_process_is_held_until_its_next_run(database):
    hold_to_the_end(database, "first")
    assert set(alive(database, ["first", "second"])) == {"first"}
    hold_to_the_end(database, "second")
    with held(database, "first"):  # waits until the server has noticed
        assert set(alive(database, ["first", "second"])) == {"first", "second"}


SERVE = """
import sys
from resources.instance.locks import ServiceLock
with ServiceLock(*sys.argv[1:]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_service_runs_once_and_says_where_until_it_is_killed(database):
    title = ["autonama up", "http://127.0.0.1:3001"]
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, database, *title],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"held\n"
        where = (
            f"autonama up at http://127.0.0.1:3001, process {process.pid} is already running on "
        )
        with pytest.raises(AutonamaError, match=re.escape(where)):
            ServiceLock(database, "autonama up", "elsewhere").__enter__()
        process.kill()
    with ServiceLock(database, "autonama up", "elsewhere") as lock:
        assert alive(database, ["autonama up"])
        cut(database)
        lock.keep()
        assert alive(database, ["autonama up"])


def test_a_service_whose_lost_connection_the_server_still_believes_in_goes_on(database):
    with ServiceLock(database, "autonama up", "here") as lock:
        title = lock._title
        cut(database)
        with connect(database, autocommit=True) as believed:
            believed.execute("SELECT set_config('application_name', %s, false)", (title,))
            believed.execute("SELECT pg_advisory_lock(hashtextextended('autonama up', 0))")
            lock.keep()
            assert set(alive(database, ["autonama up"]).values()) == {title}
        cut(database)
        lock.keep()
        assert set(alive(database, ["autonama up"]).values()) == {title}
        cut(database)
        with ServiceLock(database, "autonama up", "elsewhere"), pytest.raises(AutonamaError):
            lock.keep()


def cut(url):
    """End all connections to the database, as a restart of Postgres does."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
