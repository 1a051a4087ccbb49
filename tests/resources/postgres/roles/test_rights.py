"""Which users could start programs on the server, or read and write its files."""

from contextlib import contextmanager

import psycopg
import pytest

from resources.postgres.roles import rights
from resources.postgres.roles.rights import risky_role


@contextmanager
def role_of(postgres, how, **options):
    """A connection as a new role that is made like that."""
    with psycopg.connect(postgres.admin_url("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE somebody LOGIN {how}")
        try:
            url = postgres.url("postgres").replace("autonama@", "somebody@")
            with psycopg.connect(url, **options) as connection:
                yield connection
        finally:
            admin.execute("DROP ROLE somebody")


@pytest.mark.parametrize(
    ("how", "role"),
    [
        ("", None),
        ("CREATEDB CREATEROLE", None),
        ("IN ROLE pg_read_all_data, pg_monitor", None),  # rows and figures, no file
        ("SUPERUSER", "somebody"),
        ("IN ROLE pg_execute_server_program", "pg_execute_server_program"),
        ("IN ROLE pg_write_server_files", "pg_write_server_files"),
        ("IN ROLE pg_read_server_files", "pg_read_server_files"),
        ("NOINHERIT IN ROLE pg_read_server_files", "pg_read_server_files"),
        ("IN ROLE autonama_admin", "autonama_admin"),
    ],
)
def test_a_role_that_reaches_programs_or_files_is_named(postgres, how, role):
    with role_of(postgres, how) as connection:
        assert risky_role(connection) == role


def test_a_role_that_was_put_on_hides_no_superuser(postgres):
    options = "-c role=pg_read_all_data"
    with role_of(postgres, "SUPERUSER", options=options) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("pg_read_all_data",)
        assert risky_role(connection) == "somebody"


@pytest.mark.parametrize(("how", "role"), [("CREATEROLE", "somebody"), ("CREATEDB", None)])
def test_who_makes_roles_could_become_any_before_version_16(postgres, monkeypatch, how, role):
    assert rights._QUERY.count("< 160000") == 1
    monkeypatch.setattr(rights, "_QUERY", rights._QUERY.replace("< 160000", "< 990000"))
    with role_of(postgres, how) as connection:
        assert risky_role(connection) == role
