"""What a database's user could do beyond its databases: start programs, read and write files."""

from typing import Any, Final

from psycopg import Connection

# Whoever is a member of a role can become it, whatever the session's present role is. Before
# version 16 a user with CREATEROLE could make itself a member of the roles for programs and files.
_QUERY: Final = """
    SELECT rolname::text
    FROM pg_catalog.pg_roles
    WHERE pg_catalog.pg_has_role(session_user, oid, 'MEMBER')
      AND (rolsuper
           OR rolname IN ('pg_execute_server_program', 'pg_write_server_files',
                          'pg_read_server_files')
           OR rolcreaterole AND pg_catalog.current_setting('server_version_num')::int < 160000)
    ORDER BY rolname <> session_user, rolname
    LIMIT 1
"""


def risky_role(connection: Connection[Any]) -> str | None:
    """The role that lets the session reach the server's programs or files; None if there is none.

    Everyone is a member of every role if a superuser, so then it is the user itself.
    """
    row = connection.execute(_QUERY).fetchone()
    return None if row is None else str(row[0])
