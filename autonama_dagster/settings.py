"""Settings: every value a user may choose, its default, its range, and where it is read from.

Precedence: environment, then `.env` in the project folder, then the file named by
`AUTONAMA_SETTINGS_FILE` (same `NAME=value` lines). Nothing is read at import.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from autonama_dagster.configuration.database import DatabaseSettings
from autonama_dagster.configuration.exchange import ExchangeSettings
from autonama_dagster.configuration.files import (
    NOT_OURS,
    PLACES,
    SettingFile,
    faults,
    read_file,
    require_text,
)
from autonama_dagster.configuration.quality import QualitySettings
from autonama_dagster.configuration.scan import ScanSettings
from autonama_dagster.configuration.service import LogFormat, ServiceSettings
from autonama_dagster.errors import InputError
from autonama_dagster.system.private_files import is_open_to_others
from autonama_dagster.text.escaping import without_login

CORE_MOVERS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")

_WARNED = "AUTONAMA_WARNED"  # names the faults that were printed, to this process and its children


def project_dir() -> Path:
    """The checkout this code runs from, or `AUTONAMA_HOME`: holds `.env`, results and the data."""
    if home := os.environ.get("AUTONAMA_HOME"):
        return user_path(home).absolute()
    return Path(__file__).resolve().parents[1]


def user_path(text: str | Path) -> Path:
    """A path as the user wrote it; `~` of nobody stays as it is."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  (Path.expanduser fails on it)


# The last is the first in docs/settings.md.
class Settings(
    ServiceSettings, DatabaseSettings, ExchangeSettings, QualitySettings, ScanSettings, BaseSettings
):
    """Validated settings; field `x` is read from `AUTONAMA_X` unless an alias is given."""

    model_config = SettingsConfigDict(
        env_prefix="AUTONAMA_", extra="ignore", env_ignore_empty=True, frozen=True
    )

    @property
    def results_path(self) -> Path:
        """`results_dir`, relative to the project folder unless absolute."""
        return project_dir() / user_path(self.results_dir)

    @property
    def anchor_path(self) -> Path | None:
        """`anchor_file`, relative to the project folder unless absolute."""
        return None if self.anchor_file is None else project_dir() / user_path(self.anchor_file)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Explicit values win over the environment, the environment over files."""
        return init_settings, env_settings, dotenv_settings


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; explicit `overrides` win.

    Raises
    ------
    InputError
        A value is missing, malformed or out of range; the message names it and never shows secrets.
    """
    require_text([*_names(), *(name for name, _, _ in PLACES)])
    files = setting_files()
    logging.getLogger("dotenv.main").setLevel(logging.ERROR)  # what it warns of, we say once
    try:
        settings = Settings(_env_file=tuple(file.path for file in files), **overrides)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(_describe(str(first["loc"][0]), first)) from None
    _warn(files, settings.log_format)
    return settings


def setting_files() -> list[SettingFile]:
    """The files that settings are read from, the ones that win last.

    Raises
    ------
    InputError
        A file cannot be read.
    """
    found = [read_file(project_dir() / ".env")]
    if extra := os.environ.get("AUTONAMA_SETTINGS_FILE"):
        path = user_path(extra)
        if not path.is_file():
            raise InputError(f"AUTONAMA_SETTINGS_FILE={extra}: no such file; create it or unset it")
        found.insert(0, read_file(path))
    return found


def origins() -> dict[str, str]:
    """Where each field that is set was set: the environment, or the path of a file."""
    environment: dict[str, str | None] = {k.upper(): v for k, v in os.environ.items()}
    places = [("environment", environment)]
    places += [(str(file.path), dict(file.values)) for file in reversed(setting_files())]
    return {
        field: next(where for where, values in places if any(map(values.get, env_names(field))))
        for field in Settings.model_fields
        if any(values.get(name) for _, values in places for name in env_names(field))
    }


def _names() -> set[str]:
    """Every name that a setting is read from."""
    return {name for field in Settings.model_fields for name in env_names(field)}


def _warn(files: list[SettingFile], form: LogFormat) -> None:
    """Tell each fault in the names of settings once."""
    names = _names()
    places = {name for name, _, _ in PLACES}
    printed = os.environ.get(_WARNED, "").split("\n")
    found = [
        *faults(files, os.environ.keys() - {_WARNED, *NOT_OURS}, names | places, places),
        *_open_secrets(files),
    ]
    for fault in found:
        if fault not in printed:
            printed.append(fault)
            text = f"warning: {fault}"
            line = json.dumps({"level": "warning", "message": fault}) if form == "json" else text
            print(line, file=sys.stderr)  # noqa: T201
    if printed != [""]:
        os.environ[_WARNED] = "\n".join(printed)


def _open_secrets(files: list[SettingFile]) -> Iterator[str]:
    """A line for the project's `.env` where it holds a secret and others may read it."""
    path = project_dir() / ".env"
    secret = {
        name
        for field, info in Settings.model_fields.items()
        if info.annotation == SecretStr | None
        for name in env_names(field)
    }
    for file in files:
        held = sorted(secret & {name for name, value in file.values.items() if value})
        if file.path == path and held and is_open_to_others(path):
            yield f"{path}: other users may read {held[0]} in it; chmod 600 {path}"


def env_name(field: str) -> str:
    """The environment variable a setting is read from."""
    return env_names(field)[0]


def env_names(field: str) -> tuple[str, ...]:
    """Every environment variable a setting is read from; the first one wins."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(map(str, alias.choices))
    return (f"AUTONAMA_{field.upper()}",)


def _describe(location: str, error: Any) -> str:
    name = env_name(location) if location in Settings.model_fields else location
    message = str(error["msg"]).removeprefix("Value error, ")
    secret = any(word in name.upper() for word in ("URL", "KEY", "SECRET", "WEBHOOK"))
    shown = "" if secret else f"={without_login(' '.join(str(error['input']).split()))[:200]}"
    return f"{name}{shown}: {message[0].lower()}{message[1:]}; fix it and try again"
