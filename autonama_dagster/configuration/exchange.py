"""Settings of the exchange: where candles come from, and how fast they are asked for."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, BaseModel, Field, SecretStr, field_validator


class ExchangeSettings(BaseModel):
    """The source of candles."""

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
    revision_checks: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=20,
        description="Stored daily candles to request again each day, at most one per pair, to "
        "notice revisions; 0: none.",
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

    @field_validator("exchange_url")
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
