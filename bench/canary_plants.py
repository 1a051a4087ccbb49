"""What is planted, which detector must notice it, and what that must call it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from autonama_dagster.services.inputs.parameters import OF_SYMBOLS
from bench.canary_lab import LAST, SYMBOL, Lab
from bench.canary_leaks import LEAKS, leaking

DAYS = timedelta(days=1)
EARLIER = LAST - 30 * DAYS
ROW = f"symbol = '{SYMBOL}' AND date = '{LAST}'"
DAY = f"date = '{LAST}'"
CANDLE = f"symbol = '{SYMBOL}' AND date = '{EARLIER}'"
EDIT = f"UPDATE trading.ohlcv_1d SET close = close * 0.999 WHERE {CANDLE}"
SIGNAL = f"{SYMBOL} {LAST}"
OTHER = "ETHUSDT"


@dataclass(frozen=True)
class Canary:
    """Something planted.

    Attributes
    ----------
    group
        leak, forgery, candle, log, deletion or insertion.
    name
        What it is, in words.
    plant
        Plants it; under a leak, makes the rows again.
    caught_by
        By detector what it must say.
    leak
        The code in which it is planted and looked for.
    """

    group: str
    name: str
    plant: Callable[[Lab], object]
    caught_by: Mapping[str, str]
    leak: Callable[[], AbstractContextManager[Any]] = nullcontext

    @property
    def asks(self) -> tuple[str, ...]:
        """Detectors that are asked."""
        return tuple(self.caught_by)


def _by_hand(group: str, name: str, *statements: str, **caught_by: str) -> Canary:
    return Canary(group, name, lambda lab: lab.change(*statements), caught_by)


def _leak(name: str) -> Canary:
    *_, table = LEAKS[name]
    caught_by = {"verify": f"{table} look_ahead", "check": table}
    return Canary("leak", name, lambda lab: lab.again(), caught_by, partial(leaking, name))


_forged = partial(_by_hand, "forgery")
_edited = partial(_by_hand, "candle")
_deleted = partial(_by_hand, "deletion")
_inserted = partial(_by_hand, "insertion")


def _copy(table: str, changes: str, where: str) -> str:
    """A row that is inserted as a copy of another, with some columns changed."""
    return (
        f"INSERT INTO trading.{table} SELECT (jsonb_populate_record(t, '{changes}')).* "
        f"FROM trading.{table} AS t WHERE {where} LIMIT 1"
    )


CANARIES: tuple[Canary, ...] = (
    *map(_leak, LEAKS),
    _forged(
        "a decision changed to BUY, strength 100",
        f"UPDATE trading.signals SET signal = 'BUY', signal_strength = 100 WHERE {ROW}",
        verify="signals row", explain="signals", view=SIGNAL,
    ),
    Canary(
        "forgery", "a decision changed, and its result hash with it",
        lambda lab: lab.forge_decision(),
        {"verify": "signals row", "explain": "signals"},
    ),
    _forged(
        "a band moved",
        f"UPDATE trading.regression_bands SET upper_band = upper_band * 1.01 WHERE {ROW}",
        verify="regression_bands row", explain="regression_bands",
    ),
    _forged(
        "an indicator changed",
        f"UPDATE trading.indicators SET rsi_14 = rsi_14 + 1 WHERE {ROW}",
        verify="indicators row", explain="indicators",
    ),
    _forged(
        "a number inside the JSON of an alert",
        "UPDATE trading.alerts SET technical_indicators = "
        f"jsonb_set(technical_indicators, '{{rsi_14}}', '1') WHERE {ROW}",
        verify="alerts row", explain="alerts",
    ),
    _forged(
        "a price in asset_analytics",
        f"UPDATE trading.asset_analytics SET current_price = current_price * 2 WHERE {ROW}",
        verify="asset_analytics row", explain="asset_analytics",
    ),
    _forged(
        "a quality of ERROR on a clean day",
        f"UPDATE trading.data_quality SET severity = 'ERROR' WHERE {ROW}",
        verify="data_quality row", explain="data_quality",
    ),
    _forged(
        "a member made ineligible",
        "UPDATE trading.universe SET is_eligible = false, exclusion_reason = 'zero_volume' "
        f"WHERE {ROW}",
        verify="universe row", explain="universe",
    ),
    _forged(
        "a base asset renamed to a stablecoin's",
        f"UPDATE trading.universe SET base_asset = 'USDC' WHERE {ROW}",
        verify="universe row",
    ),
    _forged(
        "a pair called highly correlated",
        "UPDATE trading.correlation_matrix SET is_high = NOT is_high "
        f"WHERE symbol_a = '{SYMBOL}' AND {DAY}",
        verify="correlation_matrix row",
    ),
    _forged(
        "a count of the summary",
        f"UPDATE trading.analysis_summary SET hold_signals = hold_signals + 1 WHERE {DAY}",
        verify="analysis_summary row",
    ),
    _forged(
        "a row passed off as other parameters'",
        "UPDATE trading.indicators SET rsi_14 = rsi_14 + 1, params_hash = repeat('a', 64) "
        f"WHERE {ROW}",
        verify="indicators parameters",
    ),
    _forged(
        "a row passed off as an older version's",
        f"UPDATE trading.indicators SET rsi_14 = rsi_14 + 1, code_version = 'old' WHERE {ROW}",
        verify="indicators code",
    ),
    _edited(
        "a close changed",
        EDIT,
        verify="regression_bands data", explain="regression_bands", view=SIGNAL, anchor="ohlcv_1d",
    ),
    _edited(
        "the number of trades changed",
        f"UPDATE trading.ohlcv_1d SET trades = trades + 1 WHERE {CANDLE}",
        verify="regression_bands data", explain="regression_bands", view=SIGNAL, anchor="ohlcv_1d",
    ),
    _edited(
        "taker volume changed",
        f"UPDATE trading.ohlcv_1d SET taker_buy_volume = volume / 3 WHERE {CANDLE}",
        verify="regression_bands data", explain="regression_bands", view=SIGNAL, anchor="ohlcv_1d",
    ),
    _edited(
        "synthetic candles called the exchange's own",
        f"UPDATE trading.ohlcv_1d SET source = 'binance' WHERE {CANDLE}",
        verify="regression_bands data", explain="regression_bands", view=SIGNAL, anchor="ohlcv_1d",
    ),
    _edited(
        "the hash of the exchange's strings replaced",
        f"UPDATE trading.ohlcv_1d SET row_hash = repeat('0', 64) WHERE {CANDLE}",
        verify="regression_bands data", explain="regression_bands", view=SIGNAL, anchor="ohlcv_1d",
    ),
    _edited(
        "a candle moved to the empty day before",
        f"DELETE FROM trading.ohlcv_1d WHERE symbol = '{SYMBOL}' AND date = '{EARLIER - DAYS}'",
        f"UPDATE trading.ohlcv_1d SET date = date - 1 WHERE {CANDLE}",
        verify="regression_bands data", explain="regression_bands", view=SIGNAL, anchor="ohlcv_1d",
    ),
    _edited(
        "two pairs' candles exchanged",
        f"UPDATE trading.ohlcv_1d SET symbol = 'AWAY' WHERE symbol = '{SYMBOL}'",
        f"UPDATE trading.ohlcv_1d SET symbol = '{SYMBOL}' WHERE symbol = '{OTHER}'",
        f"UPDATE trading.ohlcv_1d SET symbol = '{OTHER}' WHERE symbol = 'AWAY'",
        verify="regression_bands data", explain="regression_bands", view=SIGNAL, anchor="ohlcv_1d",
    ),
    _edited(
        "a candle gone",
        f"DELETE FROM trading.ohlcv_1d WHERE {CANDLE}",
        verify="regression_bands data", explain="regression_bands", view=SIGNAL, anchor="ohlcv_1d",
    ),
    _edited(
        "a weekly candle changed",
        f"UPDATE trading.ohlcv_1w SET close = close * 1.01 WHERE symbol = '{SYMBOL}'",
        verify="ohlcv_1w row",
    ),
    Canary(
        "candle", "a close changed, and everything that follows made again",
        lambda lab: (lab.change(EDIT), lab.again()),
        {"anchor": "ohlcv_1d"},
    ),
    Canary(
        "candle", "a close changed, and a backfill of everything, candles too",
        lambda lab: lab.change_and_make_again(EDIT),
        {"anchor": "ohlcv_1d"},
    ),
    Canary(
        "log", "a line of the anchor log rewritten",
        lambda lab: lab.edit_log(lambda of: [of[0].replace('"rows":', '"rows":1'), *of[1:]]),
        {"anchor": '"finding": "line"'},
    ),
    Canary(
        "log", "a line of the anchor log removed",
        lambda lab: lab.edit_log(lambda lines: lines[1:]),
        {"anchor": '"finding": "chain"'},
    ),
    _deleted(
        "a day's pairs",
        f"DELETE FROM trading.correlation_matrix WHERE {DAY}",
        verify="correlation_matrix missing",
    ),
    _deleted(
        "a day's alerts", f"DELETE FROM trading.alerts WHERE {DAY}", verify="alerts missing"
    ),
    _deleted("one signal", f"DELETE FROM trading.signals WHERE {ROW}", verify="signals missing"),
    _deleted(
        "a day's signals", f"DELETE FROM trading.signals WHERE {DAY}", verify="signals missing"
    ),
    _deleted(
        "a day's summary",
        f"DELETE FROM trading.analysis_summary WHERE {DAY}",
        verify="analysis_summary missing",
    ),
    _deleted(
        "one pair's row of the ledger",
        f"DELETE FROM trading.data_quality WHERE {ROW}",
        verify="data_quality missing",
    ),
    _deleted(
        "an indicator's row",
        f"DELETE FROM trading.indicators WHERE {ROW}",
        verify="indicators missing",
    ),
    _deleted(
        "a candidate of the universe",
        f"DELETE FROM trading.universe WHERE {ROW}",
        verify="universe missing",
    ),
    _deleted(
        "everything of a pair on a day",
        *(f"DELETE FROM trading.{name} WHERE {ROW}" for name in OF_SYMBOLS if name != "universe"),
        verify="signals missing",
    ),
    _deleted(
        "everything of a day but its ranking",
        *(f"DELETE FROM trading.{name} WHERE {DAY}" for name in OF_SYMBOLS if name != "universe"),
        verify="signals missing",
    ),
    _inserted(
        "a signal of a pair that nobody scans",
        _copy("signals", '{"symbol": "FAKEUSDT"}', ROW),
        verify="signals extra",
    ),
    _inserted(
        "a pair with a stranger",
        _copy("correlation_matrix", '{"symbol_b": "ZZZUSDT"}', f"symbol_a = '{SYMBOL}' AND {DAY}"),
        verify="correlation_matrix extra",
    ),
    _inserted(
        "a candidate that was never ranked",
        _copy("universe", '{"symbol": "FAKEUSDT"}', ROW),
        verify="universe row",
    ),
    _inserted(
        "a summary of a day that has nothing else",
        _copy("analysis_summary", f'{{"date": "{LAST + DAYS}"}}', DAY),
        verify="signals missing",
    ),
)  # fmt: skip
