"""The recipes of the daily scan: how each of its tables follows from candles and other tables.

A new table of the scan gets its line in `RECIPES`: it is planned, made, proved, compared and
explained from then on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles import rows
from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.hashing import Json
from autonama_dagster.analytics.candles.run_windows import (
    RunWindows,
    answered_candles,
    known_days,
)
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.analytics.scan import summary
from autonama_dagster.analytics.scan.chance import expectations, pair_chances
from autonama_dagster.analytics.scan.channel import OK, ChannelParams, fit_channels
from autonama_dagster.analytics.scan.correlation import RETURN_DAYS, pairs, window_days
from autonama_dagster.analytics.scan.correlation import summary as summarise_pairs
from autonama_dagster.analytics.scan.indicators import levels
from autonama_dagster.analytics.scan.indicators.indicators import compute
from autonama_dagster.analytics.scan.input_hashes import signal_hashes, summary_hash
from autonama_dagster.analytics.scan.quality.quality import judge
from autonama_dagster.analytics.scan.quality.rules import QualityLimits
from autonama_dagster.analytics.scan.recipe import (
    RESULT,
    DayScope,
    Reader,
    Recipe,
    keys_and_hashes,
)
from autonama_dagster.analytics.scan.signals import decide
from autonama_dagster.analytics.scan.universe import (
    WINDOW_DAYS,
    load_exclusions,
    measure,
    ranked_again,
)

_MEASURED = (
    "symbol", "date", "quote_volume", "quote_volume_median_30d", "volatility_30d_pct",
    "n_candles_30d", "rank", "is_eligible", "exclusion_reason", "is_member", "input_hash",
)  # fmt: skip
_IS_MEMBER = ("date", "symbol", "is_member")


@dataclass(frozen=True)
class ScanParams:
    """What a scan is computed with.

    Attributes
    ----------
    channel
        Degree, width, scale and lookback of the channels.
    limits
        Thresholds of the rules of data quality.
    universe_size
        Members of a day.
    always, never
        Pairs that are members on every day, and on none.
    """

    channel: ChannelParams
    limits: QualityLimits
    universe_size: int
    always: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    @property
    def lookback(self) -> int:
        """Calendar days of a window."""
        return self.channel.lookback


def _of_universe(params: ScanParams) -> dict[str, Json]:
    lists: dict[str, Any] = {n: sorted(of) for n, of in asdict(load_exclusions()).items()}
    # Lists that are empty leave no trace: rows of before there were any keep their hash.
    own = {"symbols": sorted(params.always), "exclude": sorted(params.never)}
    own = {name: names for name, names in own.items() if names}
    return {"universe_size": params.universe_size, **lists, **own}


def _of_window(params: ScanParams) -> dict[str, Json]:
    return {"lookback": params.lookback}


def _of_quality(params: ScanParams) -> dict[str, Json]:
    return {"lookback": params.lookback, **asdict(params.limits)}


def _of_channel(params: ScanParams) -> dict[str, Json]:
    return asdict(params.channel)


def _of_decision(params: ScanParams) -> dict[str, Json]:
    return {**asdict(params.channel), **asdict(params.limits)}


def _measured(reader: Reader, scope: DayScope) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """Figures of candidates whose candles are all stored, and the keys of the others."""
    symbols = scope.symbols or sorted(reader.rows("universe", scope)["symbol"].unique())
    candles = reader.candles(symbols, scope.first - timedelta(days=WINDOW_DAYS), scope.last)
    answered = reader.answered(symbols)
    days = np.array(scope.days, dtype="datetime64[D]").astype(np.int64)
    known = {
        s: np.ones(len(days), dtype=bool)
        if answered is None
        else known_days(answered.get(s, ()), days, WINDOW_DAYS + 1)
        for s in symbols
    }
    unknown = pd.DataFrame(
        {
            "symbol": pd.Series(
                np.repeat([*known], [(~k).sum() for k in known.values()]), dtype="str"
            ),
            "date": np.concatenate([days[:0], *(days[~k] for k in known.values())])
            .astype("datetime64[D]")
            .astype("datetime64[s]"),
        }
    )
    if not candles:
        return None, unknown
    return measure([*candles.values()], [days[known[s]] for s in candles]), unknown


def _universe_hashes(reader: Reader, scope: DayScope, _: ScanParams) -> pd.DataFrame:
    measured, unknown = _measured(reader, scope)
    unknown = unknown.assign(input_hash=pd.Series([None] * len(unknown), dtype="str"))
    if measured is None:
        return unknown
    return pd.concat([keys_and_hashes(measured), unknown], ignore_index=True)


def _universe(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    """The days' rankings, of the symbols whose candles are stored measured anew.

    Who is a candidate, and of which base asset, is what the exchange said on the day.
    """
    stored = reader.rows("universe", scope)
    measured, _ = _measured(reader, scope)
    again = ranked_again(stored, measured, params.universe_size, params.always, params.never)
    return again[[*_MEASURED]]


def _quality(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    run = reader.windows(scope, params.lookback)
    first = scope.first - timedelta(days=params.lookback - 1)
    beside = reader.evidence(scope.symbols or (), first, scope.last)
    return judge(run.candles, run.windows, run.known, beside, params.limits, params.lookback)


def _quality_hashes(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    return keys_and_hashes(_quality(reader, scope, params))


def _indicators(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    run = reader.windows(scope, params.lookback)
    hashes = _indicator_hashes(reader, scope, params)["input_hash"]
    return compute(run.candles, run.windows).assign(input_hash=hashes)


def _indicator_hashes(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    run = reader.windows(scope, params.lookback)
    return _hashed(run)[run.has_candle()].reset_index(drop=True)


def _bands(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    run = reader.windows(scope, params.lookback)
    hashes = _band_hashes(reader, scope, params)["input_hash"]
    return fit_channels(run.candles, run.windows, params.channel).assign(input_hash=hashes)


def _band_hashes(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    return _hashed(reader.windows(scope, params.lookback))


def _hashed(run: RunWindows) -> pd.DataFrame:
    """symbol, date and the hash of the window of every symbol and day."""
    names = [c.symbol for c in run.candles]
    steps = np.concatenate([np.empty(0, np.int64), *(w.day for w in run.windows)])
    return pd.DataFrame(
        {
            "symbol": pd.array(names, dtype="str").repeat([len(w) for w in run.windows]),
            **rows.times(rows.interval_of(run.candles), steps),
            "input_hash": pd.Series(run.hashes(), dtype="str"),
        }
    )


def _signals(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    bands = reader.rows("regression_bands", scope)
    indicators = reader.rows("indicators", scope)
    quality = reader.rows("data_quality", scope)
    universe = reader.rows("universe", scope.everyone)
    frame = decide(bands, indicators, universe, quality, kstd=params.channel.kstd)
    return frame.assign(input_hash=_signal_hashes(reader, scope, params)["input_hash"])


def _signal_hashes(reader: Reader, scope: DayScope, _: ScanParams) -> pd.DataFrame:
    bands = reader.hashes("regression_bands", scope)
    universe = reader.hashes("universe", scope)
    quality = reader.hashes("data_quality", scope)
    hashes = signal_hashes(bands, bands, universe, quality)
    return bands.assign(input_hash=pd.Series(hashes, dtype="str"))


def _chain_of_signals(reader: Reader, scope: DayScope) -> list[pd.DataFrame]:
    made_from = ("regression_bands", "indicators", "data_quality", "universe")
    return [reader.rows(of, scope, RESULT) for of in made_from]


def _asset_analytics(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    signals = reader.rows("signals", scope)
    indicators = reader.rows("indicators", scope)
    bands = reader.rows("regression_bands", scope)
    run = reader.windows(scope, params.lookback)
    found = levels.compute(run.candles, run.windows, indicators["natr_14"].to_numpy())
    frame = summary.asset_analytics(signals, indicators, bands, found, params.channel)
    return frame.assign(input_hash=_hashes_of_signals(reader, scope, params)["input_hash"])


def _alerts(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    signals = reader.rows("signals", scope)
    indicators = reader.rows("indicators", scope)
    bands = reader.rows("regression_bands", scope)
    frame = summary.alerts(signals, indicators, bands, params.channel)
    return frame.assign(input_hash=_hashes_of_signals(reader, scope, params)["input_hash"])


def _hashes_of_signals(reader: Reader, scope: DayScope, _: ScanParams) -> pd.DataFrame:
    return reader.hashes("signals", scope)


def _correlations(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    universe = reader.rows("universe", scope, _IS_MEMBER)
    members = universe[universe["is_member"]]
    candles = _candles_of_returns(reader, members["symbol"].unique().tolist(), scope)
    ranked = dict(iter(members.groupby("date")["symbol"]))
    frames = []
    for day in sorted(ranked) or [pd.Timestamp(scope.first)]:
        names = list(ranked.get(day, ()))
        step = reader.step(day.date())
        known = _known(reader, candles, step, params)
        frames.append(pairs(names, known, step, lookback=params.lookback))
    return pd.concat(frames, ignore_index=True)


def _correlation_hashes(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    return keys_and_hashes(_correlations(reader, scope, params))


def _candles_of_returns(
    reader: Reader, symbols: Sequence[str], scope: DayScope
) -> Mapping[str, Candles]:
    return reader.candles(symbols, scope.first - timedelta(days=RETURN_DAYS), scope.last)


def _known(
    reader: Reader, candles: Mapping[str, Candles], step: int, params: ScanParams
) -> Mapping[str, Candles]:
    """Candles of the symbols whose window of the returns was answered entirely."""
    answered = reader.answered([*candles])
    if answered is None:
        return candles
    return answered_candles(candles, answered, step, window_days(params.lookback))


def drawn_pairs(
    reader: Reader, members: Sequence[str], day: date, params: ScanParams
) -> NDArray[np.int64] | None:
    """What `chance.pair_chances` says of a day's members."""
    candles = _candles_of_returns(reader, members, DayScope(None, day, day))
    return _drawn(reader, members, candles, day, params)


def _drawn(
    reader: Reader,
    members: Sequence[str],
    candles: Mapping[str, Candles],
    day: date,
    params: ScanParams,
) -> NDArray[np.int64] | None:
    if not members:
        return None
    step = reader.step(day)
    known = _known(reader, candles, step, params)
    return pair_chances(members, known, step, lookback=params.lookback)


def _summary(reader: Reader, scope: DayScope, params: ScanParams) -> pd.DataFrame:
    signals = summary.members(reader.rows("signals", scope))
    by_day = dict(iter(signals.groupby("date")))
    matrix = reader.rows("correlation_matrix", scope)
    pairs_by_day = dict(iter(matrix.groupby("date")))
    hashes = _summary_hashes(reader, scope, params)["input_hash"]
    decided = signals.loc[signals["status"] == OK, ["symbol", "date"]]
    chances = reader.chances(decided, params.channel)
    candles = _candles_of_returns(reader, signals["symbol"].unique().tolist(), scope)
    made = []
    for day in map(pd.Timestamp, scope.days):
        of_day = by_day.get(day, signals.iloc[:0])
        drawn = _drawn(reader, of_day["symbol"].tolist(), candles, day.date(), params)
        expected = expectations(chances[chances["date"] == day], drawn)
        linked = summarise_pairs(pairs_by_day.get(day, matrix.iloc[:0]))
        made.append(summary.analysis_summary(of_day, linked, day_number(day), expected))
    return pd.concat(made, ignore_index=True).assign(input_hash=hashes)


def _summary_hashes(reader: Reader, scope: DayScope, _: ScanParams) -> pd.DataFrame:
    columns = ("symbol", "date", "is_member", "input_hash")
    signals = summary.members(reader.rows("signals", scope, columns))
    pairs_of = reader.hashes("correlation_matrix", scope)
    by_day, pairs_by_day = (dict(iter(frame.groupby("date"))) for frame in (signals, pairs_of))
    days = pd.date_range(scope.first, scope.last).as_unit("s")
    hashes = [
        summary_hash(by_day.get(day, signals.iloc[:0]), pairs_by_day.get(day, pairs_of.iloc[:0]))
        for day in days
    ]
    return pd.DataFrame({"date": days, "input_hash": pd.Series(hashes, dtype="str")})


def _chain_of_summary(reader: Reader, scope: DayScope) -> list[pd.DataFrame]:
    signals = summary.members(reader.rows("signals", scope, (*RESULT, "is_member")))
    pairs_of = reader.rows("correlation_matrix", scope, RESULT[1:])
    return [signals[[*RESULT[1:]]], pairs_of]


RECIPES = (
    Recipe("universe", _of_universe, _universe, _universe_hashes),
    Recipe("data_quality", _of_quality, _quality, _quality_hashes),
    Recipe("indicators", _of_window, _indicators, _indicator_hashes),
    Recipe("regression_bands", _of_channel, _bands, _band_hashes),
    Recipe(
        "signals",
        _of_decision,
        _signals,
        _signal_hashes,
        made_from=("regression_bands", "indicators", "data_quality"),
        chain=_chain_of_signals,
    ),
    Recipe(
        "asset_analytics",
        _of_decision,
        _asset_analytics,
        _hashes_of_signals,
        made_from=("signals", "indicators", "regression_bands"),
    ),
    Recipe(
        "alerts",
        _of_decision,
        _alerts,
        _hashes_of_signals,
        made_from=("signals", "indicators", "regression_bands"),
    ),
    Recipe("correlation_matrix", _of_window, _correlations, _correlation_hashes),
    Recipe("analysis_summary", _of_decision, _summary, _summary_hashes, chain=_chain_of_summary),
)
"""Each after those that it is made from."""
