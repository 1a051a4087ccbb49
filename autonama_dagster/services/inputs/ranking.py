"""The ranking of days from candles that were just fetched."""

from collections.abc import Sequence
from datetime import date

import pandas as pd

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.windows import day_range
from autonama_dagster.analytics.scan.universe import SymbolInfo, rank
from autonama_dagster.days import days_of
from autonama_dagster.errors import ExchangeError
from autonama_dagster.settings import Settings
from autonama_dagster.text.labels import counted
from resources.exchange.feed import Fetched


def ranked_days(
    settings: Settings,
    symbols: Sequence[SymbolInfo],
    fetched: Fetched,
    first: date,
    last: date,
    *,
    is_complete: bool,
) -> pd.DataFrame:
    """Rows of `universe` of the days, as `universe.rank` gives them, with a member on every day.

    Raises
    ------
    ExchangeError
        A day has no member: with what the exchange said where it refused.
    """
    frame = rank(
        symbols,
        Candles.by_symbol(fetched.frame),
        day_range(first, last),
        universe_size=settings.universe_size,
        is_complete=is_complete,
        always=settings.symbols,
        never=settings.exclude,
    )
    _require_members(frame, fetched, first, last)
    return frame


def _require_members(frame: pd.DataFrame, fetched: Fetched, first: date, last: date) -> None:
    """Refuse a ranking with a day that has no member."""
    ranked = set(frame.loc[frame["is_member"], "date"].dt.date)
    missing = [day for day in days_of(first, last) if day not in ranked]
    if not missing:
        return
    of_day = frame[frame["date"] == pd.Timestamp(missing[0])]
    n_copied = int((of_day["exclusion_reason"] == "copied").sum())
    n_excluded = int(
        ((of_day["exclusion_reason"] == "excluded") & (of_day["quote_volume"] > 0)).sum()
    )
    why = "the exchange has no candles for that day; choose a later day"
    if fetched.failed:
        many = counted(len(fetched.failed), "pair")
        why = f"{many} could not be fetched; first error: {fetched.refusal}"
    elif n_copied:
        why = (
            f"{counted(n_copied, 'pair has', 'pairs have')} identical candles, so the exchange "
            "answers for the wrong pair; check AUTONAMA_EXCHANGE_URL"
        )
    elif n_excluded:
        why = f"AUTONAMA_EXCLUDE names the {counted(n_excluded, 'pair')} that traded; take one out"
    raise ExchangeError(f"no pair can be ranked on {missing[0]}: {why}")
