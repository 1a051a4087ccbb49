"""Stored candles asked for again, to see whether the exchange still sends what is stored.

Nothing else asks for a stored candle, so a revision would not be noticed. A few are drawn a day.
"""

import pandas as pd

from autonama_dagster.analytics.candles.comparison import differences
from autonama_dagster.errors import ExchangeError
from autonama_dagster.schemas.registry import table
from autonama_dagster.schemas.tables.candle_checks import CONFIRMED, FAILED, MISSING, REVISED
from resources.exchange.base import CandleSource
from resources.exchange.feed import Fetched, fetch_spans, refuse_mixture
from resources.warehouse.candle_checks import drawn_candles, left_to_ask
from resources.warehouse.candle_queries import any_source
from resources.warehouse.statements import Scope, said_columns
from resources.warehouse.warehouse import Batch, Warehouse


def check_candles(
    exchange: CandleSource, warehouse: Warehouse, daily: int, run_id: str
) -> pd.DataFrame:
    """Ask again for what is left of the day's candles, and store what came out.

    A candle that the exchange has changed is stored as in any other fetch: the old one becomes a
    revision. An answer that is no candle changes nothing.

    Parameters
    ----------
    exchange
        Without a memory of its own, which would answer with what was fetched before.
    warehouse
        The project's tables.
    daily
        How many candles are asked for in a day of the exchange's clock.
    run_id
        The run that asks.

    Returns
    -------
    pandas.DataFrame
        The new rows of `candle_checks`.

    Raises
    ------
    ExchangeError
        The exchange does not give its time.
    InputError
        It sends made-up candles and the stored ones are real, or the reverse.
    """
    now = exchange.server_time()
    stored = drawn_candles(warehouse, now, left_to_ask(warehouse, now, daily))
    days = zip(stored["symbol"], stored["date"].dt.date, strict=True)
    spans = {symbol: (day, day) for symbol, day in days}
    try:
        fetched = fetch_spans(exchange, spans, "1d")
    except ExchangeError as error:  # it is down, or refuses all of them
        failed: tuple[str, str | None] = FAILED, str(error)
        outcomes = dict.fromkeys(spans, failed)
    else:
        refuse_mixture(any_source(warehouse), fetched.frame)
        outcomes = _outcomes(stored, fetched)
    stamps = {"run_id": run_id, "computed_at": pd.Timestamp(now).as_unit("us")}
    for symbol, (outcome, _) in outcomes.items():
        if outcome == REVISED:
            frame, log = (of[of["symbol"] == symbol] for of in (fetched.frame, fetched.log))
            batch = Batch(frame, fetches=log, exchange=fetched.exchange)
            warehouse.write("ohlcv_1d", batch, Scope((symbol,), *spans[symbol]), stamps)
    rows = pd.DataFrame(
        {
            "asked_at": pd.Series([now] * len(stored), dtype="datetime64[us, UTC]"),
            "symbol": stored["symbol"],
            "date": stored["date"],
            "outcome": pd.Series([outcome for outcome, _ in outcomes.values()], dtype="str"),
            "message": pd.Series([message for _, message in outcomes.values()], dtype="str"),
            "run_id": pd.Series([run_id] * len(stored), dtype="str"),
        }
    )
    warehouse.keep("candle_checks", rows)
    return rows


def _outcomes(stored: pd.DataFrame, fetched: Fetched) -> dict[str, tuple[str, str | None]]:
    """Outcome and message of each symbol, in the order of the stored candles."""
    sent, key = fetched.frame, ["symbol", "date"]
    columns = [*key, *said_columns(table("ohlcv_1d"))]
    both = stored.loc[stored["symbol"].isin(sent["symbol"]), columns]
    revised = set(differences(both, sent[columns], key)["symbol"])
    log, unusable = fetched.log[fetched.log["outcome"] == "failed"], fetched.rejected
    failed = dict(zip(log["symbol"], log["message"], strict=True))
    for symbol, reason in zip(unusable["symbol"], unusable["reason"], strict=True):
        failed[symbol] = f"{symbol}: the answer is not a candle: {reason}"
    found = {}
    for symbol in stored["symbol"]:
        if symbol in failed:
            found[symbol] = (FAILED, failed[symbol])
        elif symbol in revised:
            found[symbol] = (REVISED, None)
        else:
            found[symbol] = (CONFIRMED if symbol in set(sent["symbol"]) else MISSING, None)
    return found
