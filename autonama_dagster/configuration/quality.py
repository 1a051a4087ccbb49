"""Settings of the quality rules: from where on something counts as a fault of the data."""

from typing import Annotated

from pydantic import BaseModel, Field


class QualitySettings(BaseModel):
    """Thresholds of docs/quality.md."""

    quality_jump_ratio: Annotated[float, Field(ge=1.1, le=100)] = Field(
        default=2.0,
        description="Price jump: the close changes by more than this factor in a day, up or down, "
        "or a wick is as far from the candle's body.",
    )
    quality_open_gap_pct: Annotated[float, Field(ge=0.1, le=200)] = Field(
        default=3.0,
        description="Price jump: the open differs by more than this from the previous close. "
        "After 30 days of continuous trading, less is a finding, see docs/quality.md.",
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
