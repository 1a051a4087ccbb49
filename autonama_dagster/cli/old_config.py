"""`--config`: reads the `config.json` of the scripts this project replaces."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from autonama_dagster.errors import InputError
from autonama_dagster.settings import Settings

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
_KEYS = {
    *("binance_api_key", "binance_api_secret"),
    *(f"database_{part}" for part in ("host", "port", "name", "user", "password", "url")),
}


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
        The file is missing, not JSON, or holds a key nobody knows; values are never shown.
    """
    content = _content(path)
    defaults = content.pop("default_settings", {})
    if not isinstance(defaults, dict):
        raise InputError(f"--config {path}: default_settings: an object is expected")
    unknown = [k for k in content if k not in _KEYS]
    unknown += [f"default_settings.{k}" for k in defaults if k not in _DEFAULTS]
    if unknown:
        raise InputError(
            f"--config {path}: unknown key {', '.join(sorted(unknown))}; known: "
            f"{', '.join(sorted(_KEYS))}, default_settings ({', '.join(sorted(_DEFAULTS))})"
        )
    for key, value in content.items():
        if not isinstance(value, str | int | None):
            raise InputError(f"--config {path}: {key}: a text is expected")
    found = {
        "BINANCE_API_KEY": (settings.binance_api_key, content.get("binance_api_key")),
        "BINANCE_API_SECRET": (settings.binance_api_secret, content.get("binance_api_secret")),
        "DATABASE_URL": (settings.database_url, _database_url(content)),
    }
    environment = {n: str(new) for n, (own, new) in found.items() if own is None and new}
    return environment, {_DEFAULTS[k]: v for k, v in defaults.items()}


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {path}: {error.strerror}; name an existing file") from None
    except ValueError:
        raise InputError(f"--config {path}: not valid JSON; correct the file") from None
    if not isinstance(content, dict):
        raise InputError(f"--config {path}: an object with settings is expected")
    return content


def _database_url(content: dict[str, Any]) -> str | None:
    if content.get("database_url"):
        return str(content["database_url"])
    if not content.get("database_host"):
        return None
    user = quote(str(content.get("database_user") or "postgres"), safe="")
    password = content.get("database_password")
    login = f"{user}:{quote(str(password), safe='')}" if password else user
    port = content.get("database_port") or 5432
    name = quote(str(content.get("database_name") or "autonama"), safe="")
    return f"postgresql://{login}@{content['database_host']}:{port}/{name}"
