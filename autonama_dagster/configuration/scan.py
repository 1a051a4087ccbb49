"""Settings of the scan: which pairs, since when, and the channel's parameters."""

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from autonama_dagster.days import FIRST_DAY
from autonama_dagster.text.pair_names import pair_name, parse_symbols

PriceScale = Literal["log", "linear"]


class ScanSettings(BaseModel):
    """What is scanned, and how."""

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

    @property
    def max_members(self) -> int:
        """Most members that a day can have."""
        return self.universe_size + len(self.symbols)
