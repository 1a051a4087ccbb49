"""Settings: every value a user may choose, its default, its range, and where it is read from.

Precedence: environment, then `.env` in the project folder, then the file named by
`AUTONAMA_SETTINGS_FILE` (same `NAME=value` lines). Nothing is read at import.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from autonama_dagster.configuration.files import (
    NOT_OURS,
    PLACES,
    SettingFile,
    can_be_resolved,
    faults,
    read_file,
    require_text,
)
from autonama_dagster.days import FIRST_DAY
from autonama_dagster.errors import InputError
from autonama_dagster.system.private_files import is_open_to_others
from autonama_dagster.text.escaping import without_login
from autonama_dagster.text.pair_names import pair_name, parse_symbols

PriceScale = Literal["log", "linear"]
LogFormat = Literal["text", "json"]
CORE_MOVERS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")

_WARNED = "AUTONAMA_WARNED"  # names the faults that were told, to this process and its children


def project_dir() -> Path:
    """The checkout this code runs from, or `AUTONAMA_HOME`: holds `.env`, results and the data."""
    if home := os.environ.get("AUTONAMA_HOME"):
        return user_path(home).absolute()
    return Path(__file__).resolve().parents[1]


def user_path(text: str | Path) -> Path:
    """A path as the user wrote it; `~` of nobody stays as it is."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  (Path.expanduser fails on it)


class Settings(BaseSettings):
    """Validated settings; field `x` is read from `AUTONAMA_X` unless an alias is given."""

    model_config = SettingsConfigDict(
        env_prefix="AUTONAMA_", extra="ignore", env_ignore_empty=True, frozen=True
    )

    start_date: date = Field(
        default=date(2025, 1, 1), description="First daily partition (UTC day)."
    )
    universe_size: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=100, description="Members of the universe per day."
    )
    symbols: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Pairs that are always scanned, whatever their rank, e.g. BTCUSDT,ETHUSDT.",
    )
    exclude: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Pairs that are never members, e.g. PAXGUSDT."
    )
    lookback: Annotated[int, Field(ge=30, le=1000)] = Field(
        default=720, description="Length of the window in calendar days."
    )
    degree: Annotated[int, Field(ge=2, le=10)] = Field(
        default=4, description="Degree of the regression polynomial."
    )
    kstd: Annotated[float, Field(ge=1, le=3)] = Field(
        default=2.0, description="Half-width of the channel, in residual standard deviations."
    )
    price_scale: PriceScale = Field(default="log", description="Scale of the fit: log or linear.")
    intraday_symbols: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Pairs with 15m, 1h, 4h and 1w candles, e.g. BTCUSDT,ETHUSDT.",
    )

    quality_jump_ratio: Annotated[float, Field(ge=1.1, le=100)] = Field(
        default=2.0,
        description="Price jump: the close changes by more than this factor in a day, up or down, "
        "or a wick is as far from the candle's body.",
    )
    quality_open_gap_pct: Annotated[float, Field(ge=0.1, le=200)] = Field(
        default=10.0,
        description="Price jump: the open differs by more than this from the previous close.",
    )
    quality_stale_days: Annotated[int, Field(ge=2, le=30)] = Field(
        default=3, description="Stale: consecutive days with the same open, high, low and close."
    )
    quality_volume_pct: Annotated[float, Field(ge=0, le=100)] = Field(
        default=5.0,
        description="Warn if a candle's volume differs by more than this between two sources.",
    )
    quality_vwap_pct: Annotated[float, Field(ge=0, le=50)] = Field(
        default=1.0,
        description="Warn if quote volume / volume lies further than this outside low to high.",
    )
    quality_churn_pct: Annotated[float, Field(ge=0, le=100)] = Field(
        default=10.0,
        description="Warn if more than this share of members leaves from one day to the next.",
    )
    quality_coverage_pct: Annotated[float, Field(ge=0, le=100)] = Field(
        default=95.0,
        description="Warn if fewer members than this have a candle and a complete window on a day.",
    )

    exchange: Literal["binance", "archive", "binance+archive"] = Field(
        default="binance",
        description="Source of candles: the REST API, the bulk archive, or closed months from the "
        "archive and the rest from the API.",
    )
    exchange_url: str | None = Field(
        default=None,
        description="Base URL of the exchange API, e.g. of the replay exchange or a gateway.",
        pattern=r"^https?://[^/\s]+",
    )
    exchange_tld: Literal["com", "us"] = Field(
        default="com", description="Binance's domain: com, or us for Binance.US."
    )
    archive_location: str = Field(
        default="https://data.binance.vision",
        description="Bulk archive: its URL, or the folder of a local mirror.",
    )
    exchange_concurrency: Annotated[int, Field(ge=1, le=32)] = Field(
        default=8, description="Maximum concurrent requests to the exchange."
    )
    exchange_weight_per_minute: Annotated[int, Field(ge=50, le=100_000)] = Field(
        default=4800, description="Request weight to use per minute (Binance's limit is 6000)."
    )
    binance_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("BINANCE_API_KEY"),
        description="Accepted but never sent: public market data needs no key.",
    )
    binance_api_secret: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("BINANCE_API_SECRET", "BINANCE_SECRET"),
        description="Accepted but never sent: public market data needs no key.",
    )

    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL"),
        description="Postgres to use instead of the embedded server.",
    )
    dagster_database_url: SecretStr | None = Field(
        default=None,
        description="Database of Dagster's own tables; default: <name>_dagster on the same server.",
    )
    automation: bool = Field(
        default=False,
        description="Start schedules and sensors automatically; `autonama up` sets it.",
    )
    ui_url: str = Field(
        default="http://127.0.0.1:3000",
        description="URL of the Dagster UI, for links to runs.",
        pattern=r"^https?://[^/\s]+",
    )
    pictures_url: str = Field(
        default="http://127.0.0.1:9464",
        description="URL of `autonama metrics`, or of the metrics of `autonama up`, for links to "
        "signal pictures.",
        pattern=r"^https?://[^/\s]+",
    )
    alert_webhook: SecretStr | None = Field(
        default=None,
        description="URL that failed runs are posted to as JSON, e.g. a chat webhook.",
    )
    retention_alerts_days: Annotated[int, Field(ge=7, le=36_500)] | None = Field(
        default=None, description="Days of `alerts` to keep, e.g. 30; unset: all."
    )
    retention_summaries_days: Annotated[int, Field(ge=7, le=36_500)] | None = Field(
        default=None, description="Days of `analysis_summary` to keep, e.g. 7; unset: all."
    )
    retention_events_days: Annotated[int, Field(ge=1, le=36_500)] | None = Field(
        default=None, description="Days of Dagster's event log to keep, e.g. 30; unset: all."
    )
    log_format: LogFormat = Field(
        default="text",
        description="Format of logs and progress: text, or json (one object per line).",
    )
    results_dir: Path = Field(
        default=Path("results"), description="Folder for exported results and charts."
    )

    @field_validator("start_date")
    @classmethod
    def _start_has_begun(cls, value: date) -> date:
        if value > datetime.now(UTC).date():
            raise ValueError("is in the future")
        if value < FIRST_DAY:
            raise ValueError(f"is before {FIRST_DAY}, earlier than any candle")
        return value

    @field_validator("symbols", "exclude", "intraday_symbols", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return parse_symbols(value) if isinstance(value, str) else value

    @field_validator("symbols", "exclude", "intraday_symbols")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(pair_name(name) for name in value)

    @field_validator("exclude")
    @classmethod
    def _not_both(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if both := [name for name in value if name in info.data.get("symbols", ())]:
            raise ValueError(f"contains {both[0]}, also in AUTONAMA_SYMBOLS; remove it from one")
        return value

    @field_validator("database_url", "dagster_database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("postgres"):
            raise ValueError("is not a postgresql:// URL")
        if value is not None and not can_be_resolved(value.get_secret_value()):
            raise ValueError("its host cannot be a name: a part of it is longer than 63 characters")
        return value

    @field_validator("exchange_url", "ui_url", "pictures_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        _ = urlsplit(value or "").port  # its ValueError says what is wrong
        return value

    @field_validator("archive_location")
    @classmethod
    def _is_url_or_folder(cls, value: str) -> str:
        scheme, separator, _ = value.partition("://")
        if separator and scheme not in ("http", "https"):
            raise ValueError("is neither an http:// or https:// URL nor a folder")
        return value

    @field_validator("alert_webhook")
    @classmethod
    def _is_http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"https?://[^/\s]+", value.get_secret_value()):
            raise ValueError("is not an http:// or https:// URL")
        return value

    @property
    def max_members(self) -> int:
        """Most members that a day can have."""
        return self.universe_size + len(self.symbols)

    @property
    def results_path(self) -> Path:
        """`results_dir`, relative to the project folder unless absolute."""
        return project_dir() / user_path(self.results_dir)

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
    told = os.environ.get(_WARNED, "").split("\n")
    found = [
        *faults(files, os.environ.keys() - {_WARNED, *NOT_OURS}, names | places, places),
        *_open_secrets(files),
    ]
    for fault in found:
        if fault not in told:
            told.append(fault)
            text = f"warning: {fault}"
            line = json.dumps({"level": "warning", "message": fault}) if form == "json" else text
            print(line, file=sys.stderr)  # noqa: T201
    if told != [""]:
        os.environ[_WARNED] = "\n".join(told)


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
