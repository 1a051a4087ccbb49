"""The parameters that tables are made with, as configured."""

from dataclasses import asdict
from typing import Any

from autonama_dagster.analytics.candles.hashing import code_version, params_hash
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.quality.rules import QualityLimits
from autonama_dagster.analytics.scan.universe import load_exclusions
from autonama_dagster.errors import InputError
from autonama_dagster.settings import Settings
from resources.warehouse.ledger import Versions


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


def parameters(asset: str, settings: Settings) -> dict[str, Any]:
    """The parameters whose hash the rows of an analytic table carry."""
    if asset == "universe":
        lists = {name: sorted(values) for name, values in asdict(load_exclusions()).items()}
        # Lists that are empty leave no trace: rows of before there were any keep their hash.
        own = {"symbols": sorted(settings.symbols), "exclude": sorted(settings.exclude)}
        own = {name: pairs for name, pairs in own.items() if pairs}
        return {"universe_size": settings.universe_size, **lists, **own}
    if asset in {"indicators", "correlation_matrix"}:
        return {"lookback": settings.lookback}
    limits = asdict(quality_limits(settings))
    if asset == "data_quality":
        return {"lookback": settings.lookback, **limits}
    channel = asdict(channel_params(settings))
    return channel if asset == "regression_bands" else {**channel, **limits}


def versions(asset: str, settings: Settings) -> Versions:
    """What rows of the asset's table are made with as configured."""
    return Versions(params_hash(parameters(asset, settings)), code_version())
