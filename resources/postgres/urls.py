"""Postgres URLs: the one that the user gave, as each of our drivers wants to read it.

SQLAlchemy picks a driver by the scheme, dagster-postgres works with psycopg2 only, and libpq's own
parser (psql, ADBC) knows no driver at all. Everything after the scheme is passed on as it came, so
a socket URL (`postgresql://user@/db?host=/path`) survives every rewriting; only a time limit for
connecting is added, as libpq has none. Pure functions: nothing here connects or reads a setting.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import quote, unquote

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from autonama_dagster.errors import InputError

# The parts that libpq and SQLAlchemy read alike. A raw "/", "?" or "@" in a password is read
# differently by the two, and would be taken for a piece of the host, which is shown in messages:
# so the login ends with the only raw "@" of a URL.
_POSTGRES_URL: Final = re.compile(
    r"postgres(?:ql)?(?:\+\w+)?://"
    r"(?P<login>(?P<user>[^:/?@]*)(?::(?P<password>[^/?@]*))?@)?"
    r"(?P<hosts>[^/?@]*)"
    r"(?:/(?P<database>[^?@]*))?"
    r"(?:\?(?P<query>[^@]*))?",
    re.IGNORECASE,
)
# Characters that need no other place than the host of a URL, and no quoting there.
_HOST: Final = re.compile(r"[\w.-]+", re.ASCII)
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]{0,30})://", re.IGNORECASE)
# Seconds for each host; a server that drops packets would block for minutes.
_CONNECT_TIMEOUT: Final = "connect_timeout=10"
_EXPECTED: Final = "postgresql://user:password@host:5432/database"
_UNREADABLE: Final = (
    "the database URL cannot be parsed: percent-encode special characters in its user and "
    f"password, and put an IPv6 address in brackets, as in {_EXPECTED}"
)


def made_url(
    host: str, port: int | str, database: str, user: str, password: str | None = None
) -> str:
    """URL of its parts: an IPv6 address in brackets, a socket's folder as an option."""
    login = quote(user, safe="") + ("" if password is None else f":{quote(password, safe='')}")
    name = quote(database, safe="")
    if _HOST.fullmatch(host):
        return f"postgresql://{login}@{host}:{port}/{name}"
    if _is_address(host):
        return f"postgresql://{login}@[{host.strip('[]')}]:{port}/{name}"
    return f"postgresql://{login}@/{name}?host={quote(host, safe='/')}&port={port}"


def _is_address(host: str) -> bool:
    """Whether it is an IPv6 address without a zone, in brackets or not."""
    try:
        return "%" not in host and ipaddress.ip_address(host.strip("[]")).version == 6  # noqa: PLR2004
    except ValueError:
        return False


def sqlalchemy_url(url: str) -> str:
    """URL for SQLAlchemy with psycopg 3, the driver of the project's own tables.

    Raises
    ------
    InputError
        If `url` is not a Postgres URL, here and in every function below. The message never shows
        more of it than its scheme.
    """
    return _with_scheme(url, "postgresql+psycopg")


def dagster_url(url: str) -> str:
    """URL for dagster-postgres, which sends SQL that only psycopg2 understands."""
    return _with_scheme(url, "postgresql+psycopg2")


def libpq_url(url: str) -> str:
    """URL for whatever hands it to libpq: ADBC, psql, `psycopg.connect`."""
    return _with_scheme(url, "postgresql")


def with_database(url: str, name: str) -> str:
    """Return `url` with the database `name`, on the same server with the same login and options.

    A `dbname` option is dropped: libpq would prefer it to the path.
    """
    parts = _parsed(url)
    options = [o for o in (parts["query"] or "").split("&") if o and _option_name(o) != "dbname"]
    server = url[: parts.end("hosts")]
    return f"{server}/{quote(name, safe='')}" + (f"?{'&'.join(options)}" if options else "")


def dagster_sibling(url: str) -> str:
    """Name of Dagster's database beside the project's at `url`.

    Raises
    ------
    InputError
        The URL names no database.
    """
    database = conninfo_to_dict(libpq_url(url)).get("dbname")
    if not database:
        raise InputError(f"DATABASE_URL {redacted(url)} has no database: add /NAME to it")
    return f"{database}_dagster"


def redacted(url: str) -> str:
    """Return `url` with its passwords hidden, to be shown in messages.

    The time limit that the functions above add is left out: the user did not write it.
    """
    parts = _parsed(url)
    shown = url
    if parts["query"] is not None:
        options = [
            f"{o.partition('=')[0]}=***" if _option_name(o).endswith("password") else o
            for o in parts["query"].split("&")
            if o != _CONNECT_TIMEOUT
        ]
        shown = url[: parts.start("query") - 1] + (f"?{'&'.join(options)}" if options else "")
    if parts["password"] is not None:
        shown = f"{shown[: parts.start('password')]}***{shown[parts.end('password') :]}"
    return shown


def _with_scheme(url: str, scheme: str) -> str:
    parts = _parsed(url)
    _check_libpq(url)
    rewritten = f"{scheme}://{url.partition('://')[2]}"
    query = parts["query"]
    if any(_option_name(option) == "connect_timeout" for option in (query or "").split("&")):
        return rewritten
    if query is not None:
        joint = "&" if query else ""
    else:  # SQLAlchemy wants a path before the options, be it empty
        joint = "/?" if parts["database"] is None else "?"
    return f"{rewritten}{joint}{_CONNECT_TIMEOUT}"


def _check_libpq(url: str) -> None:
    """Refuse what libpq cannot read: its own message would show the URL, password and all."""
    try:
        conninfo_to_dict(f"postgresql://{url.partition('://')[2]}")
    except ProgrammingError as error:
        if option := re.fullmatch(r'invalid URI query parameter: "(.*)"\n?', str(error)):
            raise InputError(
                f"the database URL has option {option[1]!r}, which Postgres does not know: "
                "remove it"
            ) from None
        raise InputError(_UNREADABLE) from None


def _option_name(option: str) -> str:
    return unquote(option.partition("=")[0]).lower()


def _check_hosts(parts: re.Match[str]) -> None:
    """Refuse several hosts: two connections could reach two servers, and share no lock."""
    options = [o.partition("=")[::2] for o in (parts["query"] or "").split("&")]
    hosts = [unquote(v) for n, v in options if unquote(n).lower() in {"host", "hostaddr"}]
    for text in (parts["hosts"] or "", *hosts):
        if "," in text:
            raise InputError(
                f"the database URL has several hosts ({text}): use one, e.g. a virtual "
                "address that follows the primary"
            )


def _parsed(url: str) -> re.Match[str]:
    """Parts of a Postgres URL, still percent-encoded."""
    parts = _POSTGRES_URL.fullmatch(url)
    if parts is not None and url.isprintable():
        ports = re.findall(r":([^:,/\]@]*)(?=,|$)", parts["hosts"] or "")
        if wrong := [port for port in ports if port and not port.isdecimal()]:
            raise InputError(f"the database URL has port {wrong[0]!r}: expected a number")
        _check_hosts(parts)
        return parts
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise InputError(f"the database URL has no scheme: expected {_EXPECTED}")
    if _POSTGRES_URL.match(url) is None:
        raise InputError(
            f"the database URL has scheme {scheme[1]!r}, which is not Postgres: "
            f"expected {_EXPECTED}"
        )
    raise InputError(_UNREADABLE)
