"""The parameters that tables are made with, as configured."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from autonama_dagster.analytics.candles.hashing import Versions, code_version, params_hash
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.quality.rules import QualityLimits
from autonama_dagster.analytics.scan.universe import load_exclusions
from autonama_dagster.errors import InputError
from autonama_dagster.settings import Settings


def channel_params(settings: Settings) -> ChannelParams:
    """The channel's parameters as configured.

    Raises
    ------
    InputError
        They do not go together: the window is shorter than the degree needs.
    """
    try:
        return ChannelParams(
            degree=settings.degree,
            kstd=settings.kstd,
            price_scale=settings.price_scale,
            lookback=settings.lookback,
        )
    except ValueError as error:
        raise InputError(f"{error}; choose more days or a lower degree") from None


def quality_limits(settings: Settings) -> QualityLimits:
    """Thresholds of the rules of data quality as configured."""
    return QualityLimits(
        jump_ratio=settings.quality_jump_ratio,
        open_gap_pct=settings.quality_open_gap_pct,
        stale_days=settings.quality_stale_days,
        volume_pct=settings.quality_volume_pct,
        vwap_pct=settings.quality_vwap_pct,
    )


def _universe(settings: Settings) -> dict[str, Any]:
    lists = {name: sorted(values) for name, values in asdict(load_exclusions()).items()}
    # Lists that are empty leave no trace: rows of before there were any keep their hash.
    own = {"symbols": sorted(settings.symbols), "exclude": sorted(settings.exclude)}
    own = {name: pairs for name, pairs in own.items() if pairs}
    return {"universe_size": settings.universe_size, **lists, **own}


def _lookback(settings: Settings) -> dict[str, Any]:
    return {"lookback": settings.lookback}


def _quality(settings: Settings) -> dict[str, Any]:
    return {"lookback": settings.lookback, **asdict(quality_limits(settings))}


def _channel(settings: Settings) -> dict[str, Any]:
    return asdict(channel_params(settings))


def _decision(settings: Settings) -> dict[str, Any]:
    return {**_channel(settings), **asdict(quality_limits(settings))}


PARAMETERS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "universe": _universe,
    "data_quality": _quality,
    "indicators": _lookback,
    "regression_bands": _channel,
    "signals": _decision,
    "correlation_matrix": _lookback,
    "asset_analytics": _decision,
    "alerts": _decision,
    "analysis_summary": _decision,
}
"""The parameters whose hash the rows of each analytic table carry."""


def versions(name: str, settings: Settings) -> Versions:
    """What rows of the table are made with as configured."""
    return Versions(params_hash(PARAMETERS[name](settings)), code_version())
