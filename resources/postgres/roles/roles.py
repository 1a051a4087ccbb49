"""Who is who on the embedded server: an administrator for setting it up, and the everyday role.

The everyday role owns the project's databases and may do nothing else on the server: start no
program, read no file, make no role and no database. So SQL from outside, be it of a backup or an
injection, is held to these databases. The administrator is the superuser that `initdb` makes; it
makes databases and roles and runs no SQL but ours.

Servers of earlier versions had one superuser for everything, under the name of the everyday role.
It is renamed, the everyday role is made, and what the superuser owned is handed over.
"""

from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg import sql

EVERYDAY: Final = "autonama"
ADMIN: Final = "autonama_admin"
_HELPER: Final = "autonama_renames"  # a role cannot rename itself

Connection = psycopg.Connection[Any]
UrlOf = Callable[[str, str], str]  # of a role and a database

_OPTIONS: Final = "-c search_path= -c lock_timeout=30s"

_IS_PREPARED: Final = """
    SELECT NOT rolsuper AND datdba = pg_roles.oid
    FROM pg_catalog.pg_roles, pg_catalog.pg_database
    WHERE rolname = current_user AND datname = %s
"""

# Databases that the administrator owns, the server's own one first.
_OTHERS: Final = """
    SELECT datname FROM pg_catalog.pg_database
    WHERE NOT datistemplate AND datallowconn
      AND datdba = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)
    ORDER BY datname <> 'postgres', datname
"""

# What the administrator owns in a database besides the system's own: kind, name in two parts.
# Sequences of columns follow their tables.
_OWNED: Final = """
    SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                        WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, nspname, relname
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE relowner = %(admin)s AND relkind IN ('r', 'p', 'v', 'm', 'S')
      AND nspname !~ '^pg_' AND nspname <> 'information_schema'
      AND NOT EXISTS (SELECT 1 FROM pg_depend
                      WHERE classid = 'pg_class'::regclass AND objid = c.oid
                        AND (deptype = 'e' OR deptype IN ('a', 'i') AND relkind = 'S'))
    UNION ALL
    SELECT 'SCHEMA', NULL, nspname
    FROM pg_namespace
    WHERE nspowner = %(admin)s AND nspname !~ '^pg_' AND nspname <> 'information_schema'
"""

# Who may read the tables to come, as `autonama db reader` arranges it.
_FUTURE_READERS: Final = """
    SELECT nspname, grantee::regrole::text
    FROM pg_default_acl JOIN pg_namespace AS n ON n.oid = defaclnamespace,
         aclexplode(defaclacl)
    WHERE defaclrole = %(admin)s AND defaclobjtype = 'r' AND privilege_type = 'SELECT'
      AND grantee NOT IN (0, defaclrole)
"""


def is_prepared(url: str, database: str) -> bool:
    """Whether the everyday role is no superuser and owns the database; False if it cannot say.

    Parameters
    ----------
    url
        Of any database of the server, for the everyday role.
    database
        Name of the database in question.
    """
    try:
        with psycopg.connect(url) as connection:
            row = connection.execute(_IS_PREPARED, (database,)).fetchone()
    except psycopg.OperationalError:  # there is no such role yet, or no server: see `prepare`
        return False
    return bool(row and row[0])


def administrator(url: str, *, autocommit: bool = False) -> Connection:
    """Connect as a superuser: nothing in the database says what a function or operator does."""
    return psycopg.connect(url, options=_OPTIONS, autocommit=autocommit)


def prepare(url_of: UrlOf, database: str) -> None:
    """Make both roles and the database; hand over what an earlier version's superuser owned.

    Callers take turns. Interrupted anywhere and called again, it goes on.

    Raises
    ------
    psycopg.Error
        The server is not running, refuses the name, or a program holds a table.
    """
    _separate(url_of)
    with administrator(url_of(ADMIN, "postgres")) as connection:
        names = [name for (name,) in connection.execute(_OTHERS).fetchall()]
        known = connection.execute(
            "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", (database,)
        ).fetchone()
    for name in names:
        _hand_over(url_of, name)
    if known is None:
        with administrator(url_of(ADMIN, "postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(database), sql.Identifier(EVERYDAY)
                )
            )


def _separate(url_of: UrlOf) -> None:
    """See to it that there is an administrator, and an everyday role that is none."""
    try:
        admin = administrator(url_of(ADMIN, "postgres"))
    except psycopg.OperationalError:  # an earlier version's server, or none
        _rename(url_of)
        admin = administrator(url_of(ADMIN, "postgres"))
    with admin as connection:
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(_HELPER)))
        known = connection.execute(
            "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", (EVERYDAY,)
        ).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(EVERYDAY)))


def _rename(url_of: UrlOf) -> None:
    """Give the only superuser of an earlier version's server the administrator's name."""
    helper, old, new = (sql.Identifier(name) for name in (_HELPER, EVERYDAY, ADMIN))
    with administrator(url_of(EVERYDAY, "postgres")) as connection:
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(helper))
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(helper))
    with administrator(url_of(_HELPER, "postgres")) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} RENAME TO {}").format(old, new))
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(old))


def _hand_over(url_of: UrlOf, database: str) -> None:
    """Give the everyday role what the administrator owns in a database, and the database."""
    new = sql.Identifier(EVERYDAY)
    with administrator(url_of(ADMIN, database)) as connection:
        row = connection.execute("SELECT current_user::regrole::oid").fetchone()
        admin = {"admin": row[0] if row else None}
        for kind, schema, name in connection.execute(_OWNED, admin).fetchall():
            parts = [name] if schema is None else [schema, name]
            connection.execute(
                sql.SQL("ALTER {} {} OWNER TO {}").format(
                    sql.SQL(kind), sql.Identifier(*parts), new
                )
            )
        for schema, reader in connection.execute(_FUTURE_READERS, admin).fetchall():
            connection.execute(
                sql.SQL(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT SELECT ON TABLES TO {}"
                ).format(new, sql.Identifier(schema), sql.Identifier(reader))
            )
        if database != "postgres":
            connection.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), new)
            )
