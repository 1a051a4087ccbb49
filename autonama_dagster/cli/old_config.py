"""`--config`: reads the `config.json` of the scripts this project replaces."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from autonama_dagster.errors import InputError

# Key in `default_settings`, and the flag it stands for.
_DEFAULTS = {
    "degree": "degree",
    "polynomial_degree": "degree",
    "kstd": "kstd",
    "days": "days",
    "lookback_days": "days",
    "top": "top",
    "top_n": "top",
}
_DATABASE_KEYS = ("host", "port", "name", "user", "password", "url")


def read_old_config(
    path: Path, environment: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read an old config file; keys and URLs in the environment win over the file's.

    Returns
    -------
    connection
        Keys and database URL, as overrides for `load_settings`.
    flags
        The file's `default_settings` by the name of the flag they stand for.

    Raises
    ------
    InputError
        The file is missing, not JSON, or holds a key nobody knows.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {path}: {error.strerror}; name an existing file") from None
    except ValueError:
        raise InputError(f"--config {path}: not valid JSON; correct the file") from None
    if not isinstance(content, dict):
        raise InputError(f"--config {path}: an object with settings is expected")
    defaults = content.pop("default_settings", {})
    known = {"binance_api_key", "binance_api_secret", *(f"database_{k}" for k in _DATABASE_KEYS)}
    unknown = [k for k in content if k not in known] + [k for k in defaults if k not in _DEFAULTS]
    if unknown:
        raise InputError(
            f"--config {path}: unknown key {', '.join(sorted(unknown))}; known: "
            f"{', '.join(sorted(known))}, default_settings ({', '.join(sorted(_DEFAULTS))})"
        )
    overrides: dict[str, Any] = {}
    if content.get("binance_api_key") and not environment.get("BINANCE_API_KEY"):
        overrides["BINANCE_API_KEY"] = content["binance_api_key"]
    has_secret = environment.get("BINANCE_API_SECRET") or environment.get("BINANCE_SECRET")
    if content.get("binance_api_secret") and not has_secret:
        overrides["BINANCE_API_SECRET"] = content["binance_api_secret"]
    url = _database_url(content)
    if url and not environment.get("DATABASE_URL"):
        overrides["DATABASE_URL"] = url
    return overrides, {_DEFAULTS[k]: v for k, v in defaults.items()}


def _database_url(content: dict[str, Any]) -> str | None:
    if content.get("database_url"):
        return str(content["database_url"])
    if not content.get("database_host"):
        return None
    user = quote(str(content.get("database_user", "postgres")), safe="")
    password = content.get("database_password")
    login = f"{user}:{quote(str(password), safe='')}" if password else user
    port = content.get("database_port", 5432)
    name = quote(str(content.get("database_name", "autonama")), safe="")
    return f"postgresql://{login}@{content['database_host']}:{port}/{name}"
