"""Errors of a database as one line by their cause: what happened, and what mends it where we know.

The cause is read from the SQLSTATE. libpq keeps none of a connection that was refused: there it is
read from the text. A hint is given only where following it helps; a test follows each.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from autonama_dagster.errors import DatabaseError
from autonama_dagster.schemas.base import SCHEMA
from resources.postgres.urls import libpq_url, redacted


@dataclass(frozen=True)
class _Cause:
    """A kind of error.

    Attributes
    ----------
    states
        SQLSTATEs, or what they begin with.
    words
        A pattern of the text; where there are states too, both must fit.
    says
        What happened; `{reason}` is the server's or libpq's own line.
    hint
        What to do; None: nothing that is sure to help.
    """

    says: str
    states: tuple[str, ...] = ()
    words: str | None = None
    hint: str | None = None

    def fits(self, state: str, text: str) -> bool:
        """Whether an error is of this kind."""
        if self.states:
            known = state.startswith(self.states) if state else self.states[0] in _CONNECTING
            if not known:
                return False
        return re.search(self.words or "", text, re.IGNORECASE) is not None


_CONNECTING: Final = ("53300", "57P03", "3D000", "28")  # libpq tells these by their text alone
# The first that fits. {user}, {database} are quoted names, {table} is of the text.
_CAUSES: Final = (
    _Cause(
        "has no free connections: {reason}",
        ("53300",),
        r"connections for role",
        "end programs that hold connections, or: ALTER ROLE {user} CONNECTION LIMIT -1",
    ),
    _Cause(
        "has no free connections: {reason}",
        ("53300",),
        r"connections for database",
        "end programs that hold connections, or: ALTER DATABASE {database} CONNECTION LIMIT -1",
    ),
    _Cause(
        "has no free connections: {reason}",
        ("53300",),
        r"too many clients|remaining connection slots|too many connections",
        "end programs that hold connections, or raise the server's max_connections",
    ),
    _Cause("is out of shared memory: {reason}", ("53100",), r"shared memory segment"),
    _Cause(
        "has a full disk: {reason}",
        ("53100", "58030"),
        r"No space left on device|disk full|quota exceeded",
        "free space on the server's disk (see df, and df -i for inodes), then run again",
    ),
    _Cause(
        "is out of lock slots: {reason}",
        ("53200",),
        r"out of shared memory",
        "raise the server's max_locks_per_transaction and restart it",
    ),
    _Cause("is out of memory: {reason}", ("53200",), r"out of memory"),
    _Cause("is short of resources: {reason}", ("53",)),
    _Cause(
        "is starting up or shutting down: {reason}",
        ("57P03",),
        r"the database system is|not yet accepting connections|not accepting connections",
        "run again when it is up",
    ),
    _Cause(
        "did not grant a lock in time: {reason}",
        ("55P03",),
        None,
    ),
    _Cause("exceeded the time limit: {reason}", ("57014",), r"timeout|user request"),
    _Cause(
        "does not exist: {reason}",
        ("3D000",),
        r'database ".*" does not exist',
        "create it: CREATE DATABASE {database} ENCODING 'UTF8' TEMPLATE template0",
    ),
    _Cause(
        "refuses the login: {reason}",
        ("28",),
        r"authentication failed|no password supplied|role \".*\" does not exist|certificate",
        "fix the user and password in DATABASE_URL",
    ),
    _Cause(
        "refuses the login: {reason}",
        ("28",),
        r"no pg_hba.conf entry|pg_hba.conf rejects|not permitted to log in|authentication method",
    ),
    _Cause(
        "is read-only: {reason}",
        ("25006",),
        r"read-only",
    ),
    _Cause(
        "hides rows by row-level security: {reason}",
        ("42501",),
        r"row-level security policy for table",
        f"ALTER TABLE {SCHEMA}.{{table}} DISABLE ROW LEVEL SECURITY",
    ),
    _Cause(
        "denies its user permission: {reason}",
        ("42501",),
        r"permission denied for schema",
        "as its owner: GRANT USAGE, CREATE ON SCHEMA {object} TO {user}",
    ),
    _Cause(
        "denies its user permission: {reason}",
        ("42501",),
        r"permission denied for (table|view)",
        f"as its owner: GRANT ALL ON ALL TABLES IN SCHEMA {SCHEMA} TO {{user}}",
    ),
    _Cause(
        "denies its user permission: {reason}",
        ("42501",),
        r"permission denied for database|temporary tables in database",
        "as its owner: GRANT CREATE, TEMPORARY ON DATABASE {database} TO {user}",
    ),
    _Cause(
        "denies its user permission: {reason}",
        ("42501",),
        r"must be owner",
        "connect as the owner of the tables",
    ),
    _Cause("denies its user permission: {reason}", ("42501",)),
    _Cause("cannot store a character: {reason}", ("22021", "22P05"), None),
    _Cause(
        "aborted a transaction because of a conflict: {reason}",
        ("40001", "40P01"),
        None,
        "run again",
    ),
    _Cause("has damaged files: {reason}", ("XX001", "XX002", "58"), None),
    _Cause(
        "cannot be reached: {reason}",
        (),
        r"could not translate host|failed to resolve host|Name or service not known",
        "fix the host in DATABASE_URL",
    ),
)
_LOST: Final = ("08", "57")
_OF_THE_DRIVER: Final = {"ProgrammingError", "DataError", "NotSupportedError", "ArgumentError"}
_START: Final = "start it, or fix DATABASE_URL (unset it for the embedded server)"


def database_error(url: str | None, error: BaseException) -> DatabaseError:
    """The one line for what a driver raised: psycopg, psycopg2, SQLAlchemy or ADBC.

    Without `url` where the database is not known: at the last door, the command line's.
    """
    state, reason = sqlstate(error), reason_of(error)
    for cause in _CAUSES:
        if cause.fits(state, reason):
            hint = cause.hint and _filled(cause.hint, url, reason)
            return _line(url, cause.says.format(reason=reason), hint, state)
    is_lost = not state and type(error).__name__ not in _OF_THE_DRIVER
    if is_lost or state.startswith(_LOST):
        return _line(url, f"cannot be reached: {reason}", _START, state)
    return _line(url, f"failed: {reason}", None, state)


def sqlstate(error: BaseException) -> str:
    """SQLSTATE of a driver's error; empty where the driver has none."""
    origin: Any = getattr(error, "orig", None) or error
    return str(getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None) or "")


def reason_of(error: BaseException) -> str:
    """The line of the error's text that says most."""
    text = str(getattr(error, "orig", None) or error)
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    said = (
        re.search(r"\b(?:ERROR|FATAL|PANIC): (.+?)(?:\. SQLSTATE: \w+)?$", line) for line in lines
    )
    return next((found[1] for found in said if found), lines[0])


def is_environment(error: BaseException) -> bool:
    """Whether the server, the disk or the rights are to blame, and not the statement."""
    return sqlstate(error).startswith(("08", "25006", "28", "3D", "42501", "53", "57", "58", "XX"))


def _line(url: str | None, says: str, hint: str | None, state: str) -> DatabaseError:
    which = f"database {redacted(libpq_url(url))}" if url else "the database"
    error = DatabaseError(f"{which} {says}" + (f"; {hint}" if hint else ""))
    error.sqlstate = state
    return error


def _filled(hint: str, url: str | None, reason: str) -> str:
    parts = conninfo_to_dict(libpq_url(url)) if url else {}
    table = re.search(r'table "(\w+)"', reason)
    object_ = re.search(r"for schema (\w+)", reason)
    return hint.format(
        user=_name(parts.get("user")),
        database=_name(parts.get("dbname")),
        table=table[1] if table else "",
        object=object_[1] if object_ else SCHEMA,
    )


def _name(value: Any) -> str:
    return sql.Identifier(str(value)).as_string() if value else "CURRENT_USER"
