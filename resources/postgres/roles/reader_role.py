"""The read-only role for dashboards: it may SELECT in the project's schema, and nothing else.

The role is the server's, the rights are the database's. On the embedded server, which asks its
owner for no password, this role is asked for one and is let into the project's database alone.
"""

import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from autonama_dagster.errors import DatabaseError, InputError
from autonama_dagster.schemas.base import SCHEMA
from resources.postgres.connections import connect
from resources.postgres.roles.roles import EVERYDAY, administrator
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.postgres.server.programs import one_line
from resources.postgres.urls import libpq_url, redacted
from resources.waiting import wait_until

_MARK: Final = "autonama: read-only, made by `autonama db reader`"
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")  # pg_hba.conf knows other names by quotes only
_RELOAD_TIMEOUT_S: Final = 10.0
_SETTINGS: Final = {
    "default_transaction_read_only": "on",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
    "search_path": SCHEMA,
}

Connection = psycopg.Connection[Any]


def ensure_reader(
    url: str,
    name: str,
    password: str,
    *,
    dagster_database: str | None,
    server: EmbeddedPostgres | None = None,
) -> None:
    """Make the role, or give the one made before this password and these rights anew.

    Parameters
    ----------
    url
        Libpq URL of the project's database, of a user who may make roles.
    name, password
        Of the role. The password reaches the server as a SCRAM verifier, so no log can show it.
    dagster_database
        Name of Dagster's database where it is on this server and not the project's own: nobody but
        its owner may connect to it any more.
    server
        The embedded server, if it is that.

    Raises
    ------
    InputError
        The name cannot be used, or is another role's.
    DatabaseError
        The database is out of reach, or its user may not do this.
    """
    if not _NAME.fullmatch(name) or name.startswith("pg_"):
        raise InputError(
            f"--name {name!r}: use at most 63 lower-case letters, digits and _, not "
            "starting with pg_"
        )
    try:
        with _maker(url, server) as connection:
            _make(connection, name, password)
            if server is not None:  # rights are the owner's to give
                connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(EVERYDAY)))
            _grant(connection, name)
            if dagster_database is not None:
                _close(connection, dagster_database)
            if server is not None:
                database = sql.Identifier(connection.info.dbname)
                connection.execute(
                    sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database)
                )
    except psycopg.Error as error:
        raise DatabaseError(
            f"cannot create role {name} on {redacted(url)}: {one_line(str(error))}; use a "
            "user who has CREATEROLE and owns the tables"
        ) from None
    if server is not None:
        _demand_password(server, url, name)


def _maker(url: str, server: EmbeddedPostgres | None) -> Connection:
    """Connected as who may make roles: on the embedded server that is its superuser."""
    if server is None:
        return connect(url)
    database = conninfo_to_dict(libpq_url(url))["dbname"]
    return administrator(server.admin_url(str(database)))


def new_password() -> str:
    """A password of 192 random bits that needs no quoting in a URL."""
    return secrets.token_urlsafe(24)


def _make(connection: Connection, name: str, password: str) -> None:
    query = (
        "SELECT shobj_description(oid, 'pg_authid') = %s FROM pg_catalog.pg_roles "
        "WHERE rolname = %s"
    )
    found = connection.execute(query, (_MARK, name)).fetchone()
    if found is not None and not found[0]:
        raise InputError(
            f"--name {name}: a role of this name exists and would lose its rights; choose "
            "another name"
        )
    role = sql.Identifier(name)
    if found is None:
        connection.execute(sql.SQL("CREATE ROLE {}").format(role))
        connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(_MARK)))
    verifier = connection.pgconn.encrypt_password(
        password.encode(), name.encode(), b"scram-sha-256"
    ).decode()
    connection.execute(
        sql.SQL("ALTER ROLE {} LOGIN CONNECTION LIMIT 20 PASSWORD {}").format(
            role, sql.Literal(verifier)
        )
    )
    for setting, value in _SETTINGS.items():
        connection.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                role, sql.Identifier(setting), sql.Literal(value)
            )
        )


def _grant(connection: Connection, name: str) -> None:
    for statement in (
        "GRANT CONNECT ON DATABASE {database} TO {role}",
        "GRANT USAGE ON SCHEMA {schema} TO {role}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {role}",
    ):
        connection.execute(
            sql.SQL(statement).format(
                database=sql.Identifier(connection.info.dbname),
                schema=sql.Identifier(SCHEMA),
                role=sql.Identifier(name),
            )
        )


def _close(connection: Connection, database: str) -> None:
    """Let nobody but its owner into a database of this server."""
    query = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s"
    if connection.execute(query, (database,)).fetchone() is not None:
        connection.execute(
            sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database))
        )


def _demand_password(server: EmbeddedPostgres, url: str, name: str) -> None:
    """Let the role into the project's database with its password, and nowhere else."""
    with _maker(url, server) as connection:
        rules = [
            f'local "{connection.info.dbname}" "{name}" scram-sha-256',
            f'local all "{name}" reject',
        ]
        file = server.data_dir / "pg_hba.conf"
        lines = file.read_text(encoding="utf-8").splitlines()
        if lines[: len(rules)] == rules:
            return
        others = [line for line in lines if f' "{name}" ' not in line]
        _replace(file, "\n".join([*rules, *others]) + "\n")
        loaded = _loaded_at(url)
        connection.execute("SELECT pg_reload_conf()")
    whom = "the embedded server, which loads its rules"
    if not wait_until(lambda: _loaded_at(url) != loaded, lambda: whom, patience=_RELOAD_TIMEOUT_S):
        raise DatabaseError(
            f"the embedded server does not load {file}: run `autonama db stop`, then "
            "`autonama db start`"
        )


def _loaded_at(url: str) -> Any:
    """When the server last read its configuration, as a new connection inherits it."""
    with connect(url) as connection:
        return connection.execute("SELECT pg_conf_load_time()").fetchone()


def _replace(file: Path, text: str) -> None:
    """Replace a file of the server's at once; owner and mode stay."""
    status = file.stat()
    descriptor, new = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        target.write(text)
        target.flush()
        os.fsync(target.fileno())
    os.chown(new, status.st_uid, status.st_gid)
    Path(new).chmod(status.st_mode & 0o777)
    Path(new).replace(file)
