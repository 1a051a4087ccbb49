"""The parameters that tables are made with, as configured, and the recipes of all systems."""

from typing import Final

import pandas as pd

from autonama_dagster.analytics.candles.hashing import Versions, params_hash
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.quality.rules import QualityLimits
from autonama_dagster.analytics.scan.recipe import Followed, followed
from autonama_dagster.analytics.scan.tables import RECIPES, ScanParams
from autonama_dagster.errors import InputError
from autonama_dagster.schemas.registry import table
from autonama_dagster.services.inputs.versions import code_version
from autonama_dagster.settings import Settings

SYSTEMS: Final = {recipe.table: "scan" for recipe in RECIPES}
"""The system of every analytic table, by the name of its folder."""
ANALYTIC: Final = tuple(SYSTEMS)
"""The analytic tables, each after those that it is made from."""
OF_SYMBOLS: Final = tuple(name for name in ANALYTIC if table(name).partitions == "date_symbol")
OF_DAYS: Final = tuple(name for name in ANALYTIC if table(name).partitions == "date")


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


def scan_params(settings: Settings) -> ScanParams:
    """What a scan is computed with as configured.

    Raises
    ------
    InputError
        As `channel_params`.
    """
    return ScanParams(
        channel=channel_params(settings),
        limits=quality_limits(settings),
        universe_size=settings.universe_size,
        always=tuple(settings.symbols),
        never=tuple(settings.exclude),
    )


def recipes(settings: Settings) -> dict[str, Followed]:
    """The recipes of all analytic tables, with the parameters as configured.

    Raises
    ------
    InputError
        As `channel_params`.
    """
    return followed(RECIPES, scan_params(settings))


def follows_from(*tables: str) -> frozenset[str]:
    """These tables, and those by date and symbol that their rows follow from."""
    made_from = {recipe.table: recipe.made_from for recipe in RECIPES}
    more = [follows_from(*made_from[name]) for name in tables if made_from.get(name)]
    return frozenset(tables).union(*more)


def versions(name: str, settings: Settings) -> Versions:
    """What rows of an analytic table are made with as configured."""
    parameters = recipes(settings)[name].parameters
    return Versions(params_hash(parameters), code_version(SYSTEMS[name]))


def with_provenance(frame: pd.DataFrame, name: str, settings: Settings) -> pd.DataFrame:
    """Add the hash of the parameters and the version of the code; `input_hash` is there already."""
    made = versions(name, settings)
    return frame.assign(params_hash=made.params_hash, code_version=made.code_version)
