"""What a driver raises becomes one line by its cause, and every hint mends what it is given for."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from support import STAMPS, bands

from autonama_dagster.errors import AutonamaError, DatabaseError, SchemaError
from resources.postgres.connections import connect
from resources.postgres.diagnosis import explained
from resources.postgres.errors import database_error
from resources.postgres.urls import libpq_url
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch, Warehouse

URL = "postgresql://u:hunter2@h/d"
SECURED = (
    "GRANT USAGE ON SCHEMA trading TO weak; GRANT ALL ON trading.quarantine TO weak;"
    "ALTER TABLE trading.quarantine ENABLE ROW LEVEL SECURITY"
)


def run(url, statement):
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        connection.execute(statement)


def sql_of(error):
    """The SQL that a message ends with."""
    return re.search(r"((?:ALTER|CREATE|GRANT|SELECT) .*)$", str(error))[1]


@pytest.fixture
def weak(database, postgres):
    """URL of a migrated database for a role that may only log in."""
    name = conninfo_to_dict(database)["dbname"]
    run(database, "CREATE ROLE weak LOGIN")
    yield database.replace("autonama@", "weak@")
    run(postgres.admin_url(name), "DROP OWNED BY weak; DROP ROLE weak")


def attempt(url, action):
    """What `action` of a connection raises, as one line; None: nothing."""
    try:
        with connect(url) as connection:
            action(connection)
    except psycopg.Error as error:
        return explained(url, error)
    except AutonamaError as error:
        return error


def write(connection):
    connection.execute("INSERT INTO trading.quarantine SELECT * FROM trading.quarantine")


def nothing(_):
    pass


@pytest.mark.parametrize(
    ("cause", "action", "says"),
    [
        ("ALTER ROLE weak CONNECTION LIMIT 0", nothing, "has no free connections: too many"),
        ("ALTER DATABASE {d} CONNECTION LIMIT 0", nothing, "has no free connections: too many"),
        ("SELECT 1", write, "denies its user permission: permission denied for schema trading"),
        ("GRANT USAGE ON SCHEMA trading TO weak", write, "permission denied for table quarantine"),
        ("REVOKE TEMPORARY ON DATABASE {d} FROM PUBLIC",
         lambda c: c.execute("CREATE TEMPORARY TABLE t (a int)"),
         "denies its user permission: permission denied to create temporary tables"),
        ("SELECT 1", lambda c: c.execute("CREATE SCHEMA IF NOT EXISTS mine"),
         "permission denied for database"),
        (SECURED,
         lambda c: c.execute("INSERT INTO trading.quarantine VALUES "
                             "('t', 's', '2024-01-01', 'why', '{}', 'r', now())"),
         "hides rows by row-level security"),
    ],
)  # fmt: skip
def test_a_right_or_a_limit_is_named_with_the_sql_that_gives_it(
    weak, database, postgres, cause, action, says
):
    name = conninfo_to_dict(database)["dbname"]
    admin = postgres.admin_url(name)  # whom no limit stops
    run(admin, cause.format(d=name))
    for _ in range(3):  # one right may show that another is missing
        told = attempt(weak, action)
        if told is None:
            break
        assert "\n" not in str(told)
        if says is not None:
            assert says in str(told)
            says = None
        run(admin, sql_of(told))
    assert attempt(weak, action) is None


def test_a_database_that_is_not_there_can_be_made_by_the_hint(postgres):
    url = postgres.url("not_there_yet")
    told = attempt(url, nothing)
    assert 'does not exist: database "not_there_yet" does not exist; create it: ' in str(told)
    run(postgres.url("postgres"), sql_of(told))
    assert attempt(url, nothing) is None
    run(postgres.url("postgres"), "DROP DATABASE not_there_yet")


def test_an_unknown_user_is_told_to_log_in_as_another(database):
    told = attempt(database.replace("autonama@", "nobody_at_all@"), nothing)
    assert 'refuses the login: role "nobody_at_all" does not exist; fix the user' in str(told)
    assert attempt(database, nothing) is None


def test_who_holds_a_lock_is_named_and_can_be_ended(database):
    reader = Warehouse(lambda: database, reads=True)
    reader._settings = {"lock_timeout": "100ms"}
    with psycopg.connect(database, application_name="someone") as holder:
        holder.execute("LOCK TABLE trading.signals IN ACCESS EXCLUSIVE MODE")
        pid = holder.info.backend_pid
        with pytest.raises(
            DatabaseError,
            match=rf"did not grant a lock in time: .*; signals is locked by process {pid} "
            r"\(autonama, someone, idle in transaction, for \d+ s\): wait for it, or run SELECT ",
        ) as raised:
            reader.read("signals")
        run(database, sql_of(raised.value))
        assert reader.read("signals").empty
        with pytest.raises(psycopg.OperationalError):  # ended, as the hint said
            holder.execute("SELECT 1")
        holder.close()
    reader.close()


def test_a_reader_gives_up_a_query_in_time(database):
    reader = Warehouse(lambda: database, reads=True)
    reader._settings = {"statement_timeout": "100ms"}
    with pytest.raises(DatabaseError, match="exceeded the time limit: canceling"):
        reader.query("SELECT pg_sleep(60)::text AS a")
    reader.close()


def test_what_readers_wait_at_most(database):
    reader = Warehouse(lambda: database, reads=True)
    found = reader.query(
        "SELECT current_setting('lock_timeout') AS a, current_setting('statement_timeout') AS b"
    )
    assert found.to_pylist() == [{"a": "5s", "b": "2min"}]
    reader.close()


def test_a_column_that_was_renamed_under_a_reader_is_named(database, warehouse):
    warehouse.read("signals")
    run(database, "ALTER TABLE trading.signals RENAME COLUMN z_score TO zz")
    with pytest.raises(SchemaError, match="changed by hand: it has no column z_score") as raised:
        warehouse.read("signals")
    run(database, sql_of(raised.value))
    assert warehouse.read("signals").empty


def test_rows_that_a_constraint_refuses_are_told(database, warehouse):
    run(database, "ALTER TABLE trading.regression_bands ADD CHECK (close < 5)")
    with pytest.raises(SchemaError, match=r"rejected the rows: new row .* violates"):
        warehouse.write(
            "regression_bands", Batch(bands(["AAA"], ["2024-01-01"])), Scope(("AAA",)), STAMPS
        )


def test_what_is_wrong_in_a_database_without_our_schema_is_not_told_of_ours(postgres):
    told = attempt(postgres.url("postgres"), lambda c: c.execute("SELECT status FROM runs"))
    assert 'failed: relation "runs" does not exist' in str(told)


def test_what_its_owner_alone_may_do_its_owner_can(weak, database):
    def alter(connection):
        connection.execute("ALTER TABLE trading.signals ADD COLUMN mine int")

    run(database, "GRANT USAGE ON SCHEMA trading TO weak")
    told = str(attempt(weak, alter))
    assert told.endswith("must be owner of table signals; connect as the owner of the tables")
    assert attempt(database, alter) is None


def test_who_is_ended_in_favour_of_another_can_do_it_again(database):
    met = threading.Barrier(2)

    def locked(first, second):
        def lock(connection):
            connection.execute(f"LOCK TABLE trading.{first}")
            met.wait(60)
            connection.execute(f"LOCK TABLE trading.{second}")

        return lock

    with ThreadPoolExecutor(2) as pool:
        orders = [("alerts", "signals"), ("signals", "alerts")]
        ends = [pool.submit(attempt, database, locked(*order)) for order in orders]
        (told,) = [end.result() for end in ends if end.result() is not None]
    assert str(told).endswith("deadlock detected; run again")
    met = threading.Barrier(1)
    assert attempt(database, locked(*orders[0])) is None


class Raised(Exception):  # noqa: N818
    """As a driver raises it."""

    def __init__(self, text, sqlstate=None):
        super().__init__(text)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("text", "state", "says", "hint"),
    [
        ("connection to server at 'h', port 9 failed: Connection refused\n\tIs it running?", None,
         "cannot be reached: ", "start it, or fix"),
        ("failed to resolve host 'nowhere': [Errno -2] Name or service not known", None,
         "cannot be reached: failed to resolve host", "fix the host in DATABASE_URL"),
        ("connection timeout expired", None, "cannot be reached: ", "start it, or fix"),
        ("x failed: FATAL:  the database system is starting up", None,
         "is starting up or shutting down: the database system is", "run again when it is up"),
        ("x failed: FATAL:  sorry, too many clients already", None, "no free connections: sorry",
         "or raise the server's max_connections"),
        ("FATAL:  remaining connection slots are reserved for roles with SUPERUSER", None,
         "has no free connections: remaining", "or raise the server's max_connections"),
        ('x failed: FATAL:  password authentication failed for user "u"', None,
         "refuses the login: password authentication failed", "fix the user and password"),
        ('x failed: FATAL:  no pg_hba.conf entry for host "::1"', None, "refuses the login", None),
        ("terminating connection due to administrator command", "57P01", "cannot be reached",
         "start"),
        ("could not extend file 'base/1': No space left on device", "53100", "has a full disk: ",
         "free space on the server's disk"),
        ("could not write file 'base/1': No space left on device", "58030", "has a full disk",
         "free space"),
        ("could not resize shared memory segment '/P': No space left on device", "53100",
         "is out of shared memory", None),
        ("out of shared memory", "53200", "is out of lock slots",
         "max_locks_per_transaction"),
        ("out of memory", "53200", "is out of memory: ", None),
        ("deadlock detected", "40P01", "because of a conflict: deadlock detected", "run again"),
        ("could not read blocks 0..0", "XX001", "has damaged files", None),
        ("character with byte sequence 0xe2", "22P05", "cannot store a character", None),
        ("anything else", "0A000", "failed: anything else", None),
        ("", None, "cannot be reached: Raised", "start it"),
    ],
)  # fmt: skip
def test_each_cause_has_its_line(text, state, says, hint):
    told = str(database_error(URL, Raised(text, state)))
    assert told.startswith("database postgresql://u:***@h/d ")
    assert says in told
    assert "\n" not in told
    assert "hunter2" not in told
    assert (hint in told) if hint else ("; " not in told)
