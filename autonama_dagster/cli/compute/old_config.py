"""`--config`: reads the `config.json` of the scripts this project replaces."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autonama_dagster.configuration.files import read_text
from autonama_dagster.errors import InputError
from autonama_dagster.settings import Settings
from resources.postgres.urls import made_url

# Key in `default_settings`, and the flag it stands for.
_DEFAULTS = {
    "interval": "interval",
    "degree": "degree",
    "polynomial_degree": "degree",
    "kstd": "kstd",
    "days": "days",
    "lookback_days": "days",
    "top": "top",
    "top_n": "top",
    "output_directory": "output",
}
_TEXTS = {"interval", "output_directory"}


def read_old_config(path: Path, settings: Settings) -> tuple[dict[str, str], dict[str, Any]]:
    """Read an old config file; what `settings` hold already wins over the file.

    Returns
    -------
    environment
        Keys and database URL by the name of their environment variable.
    flags
        The file's `default_settings` by the name of the flag they stand for.

    Raises
    ------
    InputError
        The file is missing, not JSON, or holds an unknown key or a value of the wrong type. The
        values of keys that may be secret are never shown.
    """
    content = _content(path)
    defaults = content.pop("default_settings", {})
    if not isinstance(defaults, dict):
        raise InputError(f"--config {path}: default_settings: expected an object")
    unknown = [k for k in content if k not in _KEYS]
    unknown += [f"default_settings.{k}" for k in defaults if k not in _DEFAULTS]
    if unknown:
        raise InputError(
            f"--config {path}: unknown key {', '.join(sorted(map(_printable, unknown)))}; known: "
            f"{', '.join(sorted(_KEYS))}, default_settings ({', '.join(sorted(_DEFAULTS))})"
        )
    values = {k: v for k, v in content.items() if v not in (None, "")}
    flags = {f"default_settings.{k}": v for k, v in defaults.items() if v is not None}
    for key, value in (*values.items(), *flags.items()):
        expected = _KEYS.get(key, _flag_fault)(value)
        if key.rpartition(".")[2] in _TEXTS:
            expected = _text_fault(value)
        if expected is not None:
            shown = "" if key in _SECRET else f" {_printable(json.dumps(value))}"
            raise InputError(f"--config {path}: {key}{shown}: expected {expected}")
    found = {
        "BINANCE_API_KEY": (settings.binance_api_key, _own_key(values.get("binance_api_key"))),
        "BINANCE_API_SECRET": (
            settings.binance_api_secret,
            _own_key(values.get("binance_api_secret")),
        ),
        "DATABASE_URL": (settings.database_url, _database_url(values)),
    }
    environment = {n: str(new) for n, (own, new) in found.items() if own is None and new}
    return environment, {_DEFAULTS[k.rpartition(".")[2]]: v for k, v in flags.items()}


def _content(path: Path) -> dict[str, Any]:
    text = read_text(path, f"--config {path}")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"--config {path}: not valid JSON; fix the file") from None
    if not isinstance(content, dict):
        raise InputError(f"--config {path}: expected an object with settings")
    return content


def _text_fault(value: Any) -> str | None:
    """What is expected in place of the value; None: it can be part of a URL."""
    if not isinstance(value, str):
        return "a string"
    is_whole = "\0" not in value and not re.search("[\ud800-\udfff]", value)
    return None if is_whole else "a string without NUL and lone surrogates"


def _name_fault(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):  # a name of digits
        return None
    return _text_fault(value)


def _host_fault(value: Any) -> str | None:
    if (fault := _text_fault(value)) is not None:
        return fault
    is_host = value.isprintable() and not re.search(r"[\s,@]", value)
    return None if is_host else "a host name, an address or a socket folder"


def _port_fault(value: Any) -> str | None:
    is_written = isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value) is not None
    is_number = is_written or (isinstance(value, int) and not isinstance(value, bool))
    is_port = is_number and 1 <= int(value) <= 65535  # noqa: PLR2004
    return None if is_port else "a whole number from 1 to 65535"


def _flag_fault(value: Any) -> str | None:
    is_one = isinstance(value, int | float | str) and not isinstance(value, bool)
    return None if is_one else "a number or a string"


# What is wrong with a key's value.
_KEYS: Mapping[str, Callable[[Any], str | None]] = {
    "binance_api_key": _text_fault,
    "binance_api_secret": _text_fault,
    "database_host": _host_fault,
    "database_port": _port_fault,
    "database_name": _name_fault,
    "database_user": _name_fault,
    "database_password": _name_fault,
    "database_url": _text_fault,
}
_SECRET = {"binance_api_key", "binance_api_secret", "database_password", "database_url"}


def _printable(text: str) -> str:
    """The text as a terminal can show it, cut to what a line can hold."""
    shown = text.encode("unicode_escape" if not text.isprintable() else "utf-8", "replace")
    return shown.decode()[:60]


def _own_key(value: str | None) -> str | None:
    """The key, unless it is the placeholder of the example."""
    return None if value is None or value.startswith("your_") else value


def _database_url(content: Mapping[str, Any]) -> str | None:
    if content.get("database_url"):
        return str(content["database_url"])
    if not content.get("database_host"):
        return None
    password = content.get("database_password")
    return made_url(
        str(content["database_host"]),
        content.get("database_port", 5432),
        str(content.get("database_name", "autonama")),
        str(content.get("database_user", "postgres")),
        None if password is None else str(password),
    )
