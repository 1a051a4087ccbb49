"""Candles from an exchange as frames: asked for in one batch, parsed, with the log of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pandas as pd

from autonama_dagster.analytics.candles.intervals import INTERVALS, Interval
from autonama_dagster.analytics.candles.klines import empty_rejected, parse
from autonama_dagster.days import DAY, last_closed_day, midnight
from autonama_dagster.errors import ConflictingCandlesError, InputError, SymbolFetchError
from autonama_dagster.schemas.tables.market import CONFLICTING
from resources.exchange.base import CandleSource, Klines, KlinesRequest, from_ms

Progress = Callable[[int, int], None]
PATIENCE = timedelta(hours=2)
"""How long after a day's close a candle may still be published; absent then, it never comes."""


@dataclass(frozen=True)
class Fetched:
    """Candles of several symbols, and what was asked for them.

    Attributes
    ----------
    frame
        Good candles in the columns of their interval's table, run_id left out.
    rejected
        Bad candles: symbol, date, reason, raw.
    log
        What was asked and said, in the columns of `fetch_log`, run_id left out: one row per symbol,
        and one more for the day of a candle that is late.
    failed
        Symbols whose request failed for good; one whose candle is late has not failed.
    exchange
        Name of the exchange that was asked.
    """

    frame: pd.DataFrame
    rejected: pd.DataFrame
    log: pd.DataFrame
    failed: tuple[str, ...]
    exchange: str

    @property
    def refusal(self) -> str:
        """What the exchange said of the first symbol that failed; empty where none did."""
        said = self.log.loc[self.log["symbol"].isin(self.failed), "message"]
        return str(said.iloc[0]) if len(said) else ""


def fetch_daily(
    exchange: CandleSource,
    symbols: Sequence[str],
    first: date,
    last: date,
    on_progress: Progress | None = None,
) -> Fetched:
    """Ask for daily candles; see `fetch_candles`."""
    return fetch_candles(exchange, symbols, "1d", first, last, on_progress)


def fetch_candles(
    exchange: CandleSource,
    symbols: Sequence[str],
    interval: str,
    first: date,
    last: date,
    on_progress: Progress | None = None,
) -> Fetched:
    """Ask for the closed candles that open from `first` to `last`, both included, of every symbol.

    See `fetch_spans`.
    """
    return fetch_spans(exchange, dict.fromkeys(symbols, (first, last)), interval, on_progress)


def fetch_spans(
    exchange: CandleSource,
    spans: Mapping[str, tuple[date, date]],
    interval: str,
    on_progress: Progress | None = None,
) -> Fetched:
    """Ask for the closed candles of every symbol that open on its days, first and last included.

    Days that have not closed at the exchange's clock are neither asked for nor logged. Nor is the
    absence of a day's last candle believed during `PATIENCE` after the day's close, if the pair
    traded in the 24 hours before: that day is logged as failed, so that it is asked for again.
    """
    grid = INTERVALS[interval]
    now = exchange.server_time()
    closed = last_closed_day(now)
    asked = {
        symbol: (first, min(last, closed))
        for symbol, (first, last) in spans.items()
        if first <= min(last, closed)
    }
    requests = [
        KlinesRequest(symbol, interval, midnight(_begin(first, last, now)), midnight(last + DAY))
        for symbol, (first, last) in asked.items()
    ]
    answers = exchange.klines_many(requests, on_progress) if requests else {}
    good: list[pd.DataFrame] = []
    bad: list[pd.DataFrame] = []
    log: list[dict[str, object]] = []
    for symbol, (first, last) in asked.items():
        answer = answers[symbol]
        opens = grid.opens_at(grid.last_step(last))
        is_late = _is_fresh(last, now) and _is_late(answer, opens)
        log += _logged(symbol, interval, first, last, now, answer, is_late=is_late)
        if isinstance(answer, Klines):
            wanted = answer.within(midnight(first), midnight(last + DAY))
            for source, rows in wanted.by_source():
                frame, rejected = parse(rows, symbol, grid)
                good.append(frame.assign(source=source, fetched_at=answer.asked_at))
                bad.append(rejected)
    found = [f for f in bad if len(f)]
    return Fetched(
        _candles(good, grid, exchange.name),
        pd.concat(found, ignore_index=True) if found else empty_rejected(),
        _log(log, exchange.name),
        tuple(s for s in asked if isinstance(answers[s], SymbolFetchError)),
        exchange.name,
    )


def refuse_mixture(stored: str | None, frame: pd.DataFrame) -> None:
    """Keep made-up candles and the market's apart: one database holds one kind.

    Raises
    ------
    InputError
        The fetched candles are synthetic and the stored ones are not, or the reverse; or some of
        the fetched ones are, as a replay exchange and the archive together give them.
    """
    given = sorted(set(frame["source"]))
    if len({source == "synthetic" for source in (*given, stored) if source}) <= 1:
        return
    held = f"the database holds candles of source {stored}, " if stored else ""
    raise InputError(
        f"{held}the exchange sends {' and '.join(given)}: synthetic and real candles must "
        "not be mixed; "
        "use another AUTONAMA_HOME or DATABASE_URL, or fix AUTONAMA_EXCHANGE_URL"
    )


def _begin(first: date, last: date, now: datetime) -> date:
    """First day to ask for: where the last candle may be late, the day before tells who trades."""
    return min(first, last - DAY) if _is_fresh(last, now) else first


def _is_fresh(day: date, now: datetime) -> bool:
    """Whether a candle of the day may still be published."""
    return now < midnight(day + DAY) + PATIENCE


def _is_late(answer: Klines | SymbolFetchError, opens: datetime) -> bool:
    """Whether a day's last candle is still to come: it is absent, and the 24 hours before have one.

    `opens` is when that candle does.
    """
    if isinstance(answer, SymbolFetchError):
        return False
    before = answer.within(opens - DAY, opens)
    return bool(before.rows) and not answer.within(opens, opens + DAY).rows


def _logged(
    symbol: str,
    interval: str,
    first: date,
    last: date,
    now: datetime,
    answer: Klines | SymbolFetchError,
    *,
    is_late: bool,
) -> list[dict[str, object]]:
    """Rows of the log for one symbol: its answer, and the day whose candle is late."""
    conflict = answer.day if isinstance(answer, ConflictingCandlesError) else None

    def row(begin: date, end: date, failure: str | None = None) -> dict[str, object]:
        given = None
        if isinstance(answer, Klines):
            given = answer.within(midnight(begin), midnight(end + DAY))
        candles = len(given.rows) if given else 0
        return {
            "symbol": symbol,
            "interval": interval,
            "from_date": begin,
            "to_date": end,
            "asked_at": answer.asked_at if isinstance(answer, Klines) else now,
            "outcome": "failed" if failure else "ok" if candles else "empty",
            "candles": candles,
            "message": failure,
            "fault": CONFLICTING if conflict else None,
            "fault_date": conflict,
            "origins": _origins(given) if given else None,
        }

    if isinstance(answer, SymbolFetchError):
        return [row(first, last, str(answer))]
    if not is_late:
        return [row(first, last)]
    late = row(last, last, f"{symbol}: no candle for {last} yet: it will be requested again")
    return [row(first, last - DAY), late] if first < last else [late]


def _origins(answer: Klines) -> str | None:
    """The answer's origins as JSON, each with the days of its candles; None without any candle."""
    found = []
    for origin in answer.origins:
        times = [r.open_time for r in answer.rows if origin.start_ms <= r.open_time < origin.end_ms]
        if times:
            about = {"call": origin.call, "file": origin.file, "sha256": origin.sha256}
            found.append(
                {
                    "source": origin.source,
                    **{name: text for name, text in about.items() if text},
                    "first": from_ms(times[0]).date().isoformat(),
                    "last": from_ms(times[-1]).date().isoformat(),
                }
            )
    return json.dumps(found) if found else None


def _log(rows: list[dict[str, object]], exchange: str) -> pd.DataFrame:
    columns = (
        "symbol", "interval", "from_date", "to_date", "asked_at", "outcome", "candles", "message",
        "fault", "fault_date", "origins",
    )  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(columns)).assign(exchange=exchange)
    texts = ("exchange", "symbol", "interval", "outcome", "message", "fault", "origins")
    days = ("from_date", "to_date", "fault_date")
    return frame.assign(
        **{c: frame[c].astype("str") for c in texts},
        **{c: pd.to_datetime(frame[c]).astype("datetime64[s]") for c in days},
        asked_at=pd.to_datetime(frame["asked_at"], utc=True).astype("datetime64[us, UTC]"),
        candles=frame["candles"].astype("int64"),
    )


def _candles(parts: list[pd.DataFrame], grid: Interval, exchange: str) -> pd.DataFrame:
    filled = [p for p in parts if len(p)]
    frame = pd.concat(filled, ignore_index=True) if filled else parse((), "", grid)[0]
    if not filled:
        frame = frame.assign(source="", fetched_at=None)
    return frame.assign(
        source=frame["source"].astype("str"),
        exchange=pd.Series([exchange] * len(frame), dtype="str"),
        fetched_at=pd.to_datetime(frame["fetched_at"], utc=True).astype("datetime64[us, UTC]"),
    )
