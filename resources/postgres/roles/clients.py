"""Calls of Postgres' client programs (psql, pg_dump, pg_restore), with passwords kept out of sight.

Every user of a machine sees the arguments of its programs, so a password goes through the
environment, which only the own user and root can read.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from autonama_dagster.errors import DatabaseError, InputError
from resources.postgres.connections import connect
from resources.postgres.server.programs import (
    PROGRAMS_VARIABLE,
    find_programs,
    last_meaningful_line,
)
from resources.postgres.urls import libpq_url, redacted

_UNSPEAKABLE: Final = "sslpassword"  # libpq has no variable for it


def program(name: str) -> Path:
    """A client program beside the embedded server's.

    Raises
    ------
    DatabaseError
        The folder in use lacks it.
    """
    found = find_programs() / name
    if not found.is_file():
        raise DatabaseError(
            f"{found.parent} has no program {name}: set {PROGRAMS_VARIABLE} to the folder of a "
            "complete PostgreSQL installation"
        )
    return found


def connection_of(url: str) -> tuple[str, dict[str, str]]:
    """Conninfo to show in arguments, and the environment that completes it with the password.

    Raises
    ------
    InputError
        The URL is none, or holds a secret that can only be given as an argument.
    """
    parameters = conninfo_to_dict(libpq_url(url))
    if _UNSPEAKABLE in parameters:
        raise InputError(
            f"{redacted(url)}: {_UNSPEAKABLE} would show in the arguments of a program; "
            "use a key without a password that only you can read"
        )
    environment = {k: v for k, v in os.environ.items() if k != "PGPASSWORD"}
    password = parameters.pop("password", None)
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    return make_conninfo(**{k: str(v) for k, v in parameters.items()}), environment


def check_client(name: str, url: str) -> str:
    """Version of the server at `url`, e.g. 18.6, which the client program must not be older than.

    Raises
    ------
    DatabaseError
        The server is out of reach, or of a newer major version than the program.
    """
    with connect(url) as connection:
        server = connection.info.server_version
    done = subprocess.run([program(name), "--version"], capture_output=True, text=True, check=False)
    client = re.search(r"(\d+)(?:\.\d+)?", done.stdout)
    if done.returncode != 0 or client is None:
        raise DatabaseError(f"{program(name)} does not run: {last_meaningful_line(done.stderr)}")
    if int(client[1]) < server // 10_000:
        raise DatabaseError(
            f"{name} is of PostgreSQL {client[0]} and the server of {redacted(url)} of "
            f"{server // 10_000}: set {PROGRAMS_VARIABLE} to the programs of PostgreSQL "
            f"{server // 10_000}"
        )
    return f"{server // 10_000}.{server % 10_000}"
