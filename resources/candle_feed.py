"""Daily candles from an exchange as frames: asked for in one batch, parsed, with the log of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import pandas as pd

from autonama_dagster.analytics.candles import parse
from autonama_dagster.errors import InputError, SymbolFetchError
from resources.exchange.base import Exchange, Klines, KlinesRequest
from resources.frames import empty_rejected

Progress = Callable[[int, int], None]
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Fetched:
    """Candles of several symbols, and what was asked for them.

    Attributes
    ----------
    frame
        Good candles in the columns of `ohlcv_1d`, run_id left out.
    rejected
        Bad candles: symbol, date, reason, raw.
    log
        One row per symbol in the columns of `fetch_log`, run_id left out.
    failed
        Symbols whose request failed for good.
    """

    frame: pd.DataFrame
    rejected: pd.DataFrame
    log: pd.DataFrame
    failed: tuple[str, ...]


def midnight(day: date) -> datetime:
    """00:00 UTC of a day."""
    return datetime.combine(day, time(), UTC)


def last_closed_day(now: datetime) -> date:
    """The latest UTC day that has closed at `now`."""
    return now.date() - DAY


def fetch_daily(
    exchange: Exchange,
    symbols: Sequence[str],
    first: date,
    last: date,
    on_progress: Progress | None = None,
) -> Fetched:
    """Ask for the closed daily candles of `first` to `last`, both included, of every symbol.

    Days that have not closed at the exchange's clock are neither asked for nor logged.
    """
    now = exchange.server_time()
    last = min(last, last_closed_day(now))
    if last < first or not symbols:
        return Fetched(_candles([]), empty_rejected(), _log([]), ())
    requests = [KlinesRequest(s, "1d", midnight(first), midnight(last + DAY)) for s in symbols]
    answers = exchange.klines_many(requests, on_progress)
    good: list[pd.DataFrame] = []
    bad: list[pd.DataFrame] = []
    log: list[dict[str, object]] = []
    for symbol in symbols:
        answer = answers[symbol]
        log.append(_logged(symbol, first, last, now, answer))
        if isinstance(answer, Klines):
            frame, rejected = parse(answer.rows, symbol)
            good.append(frame.assign(source=answer.source, fetched_at=answer.asked_at))
            bad.append(rejected)
    failed = tuple(s for s in symbols if isinstance(answers[s], SymbolFetchError))
    found = [f for f in bad if len(f)]
    rejected = pd.concat(found, ignore_index=True) if found else empty_rejected()
    return Fetched(_candles(good), rejected, _log(log), failed)


def refuse_mixture(stored: str | None, frame: pd.DataFrame) -> None:
    """Keep made-up candles and the market's apart: one database holds one kind.

    Raises
    ------
    InputError
        The fetched candles are synthetic and the stored ones are not, or the reverse.
    """
    made_up = frame["source"].eq("synthetic")
    if stored is None or frame.empty or (made_up == (stored == "synthetic")).all():
        return
    raise InputError(
        f"the database holds candles of source {stored}, the exchange gives "
        f"{frame['source'].iloc[0]}: made-up and real candles must not meet; use another "
        "AUTONAMA_HOME or DATABASE_URL, or correct AUTONAMA_EXCHANGE_URL"
    )


def _logged(
    symbol: str, first: date, last: date, now: datetime, answer: Klines | SymbolFetchError
) -> dict[str, object]:
    failed = isinstance(answer, SymbolFetchError)
    rows = 0 if isinstance(answer, SymbolFetchError) else len(answer.rows)
    outcome = "failed" if failed else "ok" if rows else "empty"
    return {
        "symbol": symbol,
        "interval": "1d",
        "from_date": first,
        "to_date": last,
        "asked_at": answer.asked_at if isinstance(answer, Klines) else now,
        "outcome": outcome,
        "candles": rows,
        "message": str(answer) if failed else None,
    }


def _log(rows: list[dict[str, object]]) -> pd.DataFrame:
    columns = (
        "symbol", "interval", "from_date", "to_date", "asked_at", "outcome", "candles", "message",
    )  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(columns))
    return frame.assign(
        **{c: frame[c].astype("str") for c in ("symbol", "interval", "outcome", "message")},
        from_date=pd.to_datetime(frame["from_date"]).astype("datetime64[s]"),
        to_date=pd.to_datetime(frame["to_date"]).astype("datetime64[s]"),
        asked_at=pd.to_datetime(frame["asked_at"], utc=True).astype("datetime64[us, UTC]"),
        candles=frame["candles"].astype("int64"),
    )


def _candles(parts: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [p for p in parts if len(p)]
    frame = pd.concat(filled, ignore_index=True) if filled else parse((), "")[0]
    if not filled:
        frame = frame.assign(source="", fetched_at=None)
    return frame.assign(
        source=frame["source"].astype("str"),
        fetched_at=pd.to_datetime(frame["fetched_at"], utc=True).astype("datetime64[us, UTC]"),
    )
