import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pytest
import sqlalchemy as sa

from autonama_dagster.errors import InputError
from resources.postgres.urls import (
    dagster_url,
    libpq_url,
    made_url,
    redacted,
    sqlalchemy_url,
    with_database,
)

REWRITERS = (sqlalchemy_url, dagster_url, libpq_url)
AFTER_SCHEME = (
    "me:s%40cret@db.example:6543/trading?sslmode=require",
    "me@/trading?host=/run/my%20project/s&port=5432",
    "/trading",
    "[::1]:5432/trading",
    "me@",
    "",
)


@pytest.mark.parametrize("after_scheme", AFTER_SCHEME)
@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+asyncpg", "PostgreSQL"]
)
def test_only_the_scheme_is_rewritten_once(scheme, after_scheme):
    url = f"{scheme}://{after_scheme}"
    schemes = ("postgresql+psycopg", "postgresql+psycopg2", "postgresql")
    for rewrite, new in zip(REWRITERS, schemes, strict=True):
        rewritten = rewrite(url)
        assert rewritten.startswith(f"{new}://{after_scheme}")
        assert rewrite(rewritten) == rewritten


@pytest.mark.parametrize(
    ("after_scheme", "expected"),
    [
        ("h/d", "h/d?connect_timeout=10"),
        ("h", "h/?connect_timeout=10"),
        ("h/", "h/?connect_timeout=10"),
        ("me@", "me@/?connect_timeout=10"),
        ("", "/?connect_timeout=10"),
        ("h/d?", "h/d?connect_timeout=10"),
        ("/d?host=/s", "/d?host=/s&connect_timeout=10"),
        ("h/d?connect_timeout=3&sslsni=1", "h/d?connect_timeout=3&sslsni=1"),
        ("h/d?connect%5Ftimeout=3", "h/d?connect%5Ftimeout=3"),
    ],
)
def test_connecting_has_a_time_limit_unless_the_user_set_one(after_scheme, expected):
    for rewrite in REWRITERS:
        assert rewrite(f"postgresql://{after_scheme}").partition("://")[2] == expected


def test_sqlalchemy_hands_the_time_limit_to_its_driver():
    for host in ("h", "h/d", "me@", ""):
        assert sa.make_url(sqlalchemy_url(f"postgresql://{host}")).query == {
            "connect_timeout": "10"
        }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://h", "postgresql://h/a%2Fb%20c"),
        ("postgres://u:p@h:1/old", "postgres://u:p@h:1/a%2Fb%20c"),
        ("postgresql://u@/old?host=/s%20p", "postgresql://u@/a%2Fb%20c?host=/s%20p"),
        ("postgresql://u@/?dbname=old&host=/s", "postgresql://u@/a%2Fb%20c?host=/s"),
        ("postgresql:///old?dbname=older", "postgresql:///a%2Fb%20c"),
    ],
)
def test_with_database_replaces_the_name_alone(url, expected):
    assert with_database(url, "a/b c") == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:hunter2@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@/d?host=/s", "postgresql://u@/d?host=/s"),
        (
            "postgresql://u:hunter2@h/d?password=hunter2&sslpassword=hunter2&x=1",
            "postgresql://u:***@h/d?password=***&sslpassword=***&x=1",
        ),
        ("postgresql:///d?pass%77ord=hunter2", "postgresql:///d?pass%77ord=***"),
    ],
)
def test_redacted_hides_every_password(url, expected):
    assert redacted(url) == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:hunter2@h/d", "'mysql'"),
        ("sqlite:///hunter2.db", "'sqlite'"),
        ("postgresqlx://u:hunter2@h/d", "'postgresqlx'"),
        ("u:hunter2@h/d", "no scheme"),
        ("hunter2", "no scheme"),
        ("", "no scheme"),
        ("postgresql://u:hunter2@x@h/d", "percent-encode"),
        ("postgresql://u:hun/ter2@h/d", "percent-encode"),
        ("postgresql://u:hun?ter2@h/d", "percent-encode"),
        ("postgresql://u:p@h/d\nhunter2", "percent-encode"),
    ],
)
def test_a_url_we_cannot_use_is_an_input_error_without_its_secret(url, says):
    for function in (*REWRITERS, redacted, lambda u: with_database(u, "d")):
        with pytest.raises(InputError, match=says) as raised:
            function(url)
        message = str(raised.value)
        assert "\n" not in message
        assert "hun" not in message
        assert "ter2" not in message


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:hunter2@[::1/d", "brackets"),
        ("postgresql://u:hunter2@[::1]x/d", "brackets"),
        ("postgresql://u:hunter2@[/d", "brackets"),
        ("postgresql://u:hunter2%zz@h/d", "percent-encode"),
        ("postgresql://u:p@h/d?password=hunter2%zz", "percent-encode"),
        ("postgresql://u:p@h/d?hunter2", "percent-encode"),
        ("postgresql://u:hunter2@h/d?foo=1", "option 'foo'"),
    ],
)
def test_what_libpq_cannot_read_is_not_shown_by_it(url, says):
    for function in REWRITERS:
        with pytest.raises(InputError, match=says) as raised:
            function(url)
        assert "hunter2" not in str(raised.value)
    assert "hunter2" not in redacted(url.replace("?hunter2", ""))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@h1:1,h2:2/d",
        "postgres:///d?host=h1,h2",
        "postgres:///d?h%6Fst=a%2Cb",
    ],
)
def test_one_host_is_named(url):
    with pytest.raises(InputError, match=r"has several hosts \((h1|a).*\): use one") as raised:
        libpq_url(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("::1", 5432, "d", "u"), "postgresql://u@[::1]:5432/d"),
        (("fe80::1%eth0", 5432, "d", "u"), "postgresql://u@/d?host=fe80%3A%3A1%25eth0&port=5432"),
        (("/run/my pg", 5433, "d", "u"), "postgresql://u@/d?host=/run/my%20pg&port=5433"),
        (("db.example", "6543", "a/b", "me@x", "p:@/"),
         "postgresql://me%40x:p%3A%40%2F@db.example:6543/a%2Fb"),
    ],
)  # fmt: skip
def test_a_url_is_made_of_its_parts(parts, expected):
    assert made_url(*parts) == expected
    found = psycopg.conninfo.conninfo_to_dict(expected)
    host = parts[0].strip("[]")
    assert (found["host"], found["dbname"], found["user"]) == (host, parts[2], parts[3])


@pytest.fixture(scope="module")
def awkward_url(postgres, tmp_path_factory):
    """A socket URL through a directory whose name needs percent-encoding."""
    link = tmp_path_factory.mktemp("urls") / "sp ace & ünïcode"
    link.symlink_to(postgres.socket_dir)
    escaped = str(link).replace(" ", "%20").replace("&", "%26")
    return f"postgres://autonama@/postgres?host={escaped}&port=5432"


def test_socket_url_connects_through_sqlalchemy_with_both_drivers(awkward_url):
    for rewrite, driver in ((sqlalchemy_url, "psycopg"), (dagster_url, "psycopg2")):
        engine = sa.create_engine(rewrite(awkward_url))
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT current_database()")) == "postgres"
        assert engine.driver == driver
        engine.dispose()


def test_socket_url_connects_through_libpq_and_adbc(awkward_url):
    url = libpq_url(with_database(awkward_url, "template1"))
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("template1",)
    with adbc.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == ("template1",)
