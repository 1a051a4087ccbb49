"""Binance's spot REST protocol over a market: parameters, payloads, error bodies. No HTTP server.

The shapes follow Binance's documentation and recorded answers.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from autonama_dagster.replay.limits import DEFAULT_LIMIT, Verdict
from autonama_dagster.replay.market.candles import (
    DAY_MS,
    Candle,
    Market,
    Series,
    merge,
    plain_decimal,
    segment,
)

SOURCE_HEADER = "X-Autonama-Source"
DEFAULT_ROWS = 500
MAX_ROWS = 1000
QUOTES = ("USDT", "FDUSD", "USDC", "BUSD", "TUSD", "BTC", "ETH", "BNB")
# Every interval of Binance: one of these that the market lacks is named as such.
INTERVALS = re.compile(r"1s|[135]m|15m|30m|[1246]h|8h|12h|[13]d|1w|1M")
SYMBOL_RANGE = r"^[\w\-._&&[^a-z]]{1,50}$"
SYMBOL = re.compile(r"[A-Z0-9_.-]{1,50}")
NUMBER_RANGE = r"^[0-9]{1,20}$"
NUMBER = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True)
class Reply:
    """An answer before it becomes HTTP."""

    body: bytes
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json;charset=UTF-8"


class RequestError(Exception):
    """A request that Binance refuses, with the code and message of its error body."""

    def __init__(self, code: int, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.code = code
        self.status = status

    def reply(self) -> Reply:
        """The error body."""
        return error_reply(self.status, self.code, str(self))


def to_json(payload: object) -> bytes:
    """JSON as Binance writes it: without spaces."""
    return json.dumps(payload, separators=(",", ":")).encode()


def error_reply(
    status: int, code: int, message: str, headers: Mapping[str, str] | None = None
) -> Reply:
    """Binance's error body."""
    return Reply(to_json({"code": code, "msg": message}), status, headers or {})


def refusal(verdict: Verdict, limit: int) -> Reply:
    """Answer to a request over the weight limit (429) or under a ban (418)."""
    headers = {"Retry-After": str(verdict.retry_after)}
    if verdict.status == HTTPStatus.IM_A_TEAPOT:
        message = (
            f"Way too much request weight used; IP banned until {verdict.banned_until_ms}."
            " Please use the websocket for live updates to avoid bans."
        )
    else:
        message = (
            f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE."
            " Please use the websocket for live updates to avoid polling the API."
        )
    return error_reply(verdict.status, -1003, message, headers)


@dataclass(frozen=True)
class Call:
    """One request: its parameters and the exchange it is put to.

    `now_ms` bounds the data; `server_ms` is what the server says the time is, and differs from it
    only under a fault.
    """

    market: Market
    params: Mapping[str, str]
    now_ms: int
    server_ms: int
    weight_limit: int = DEFAULT_LIMIT

    def accept(self, *names: str) -> None:
        """Refuse parameters other than these."""
        known = sum(name in names for name in self.params)
        if known < len(self.params):
            raise RequestError(
                -1104,
                f"Not all sent parameters were read; read '{known}' parameter(s)"
                f" but was sent '{len(self.params)}'.",
            )

    def text(self, name: str) -> str:
        """A mandatory parameter."""
        value = self.params.get(name)
        if not value:
            raise RequestError(
                -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
            )
        return value

    def whole(self, name: str) -> int | None:
        """An optional whole number."""
        value = self.params.get(name)
        if value is None:
            return None
        if not NUMBER.fullmatch(value):
            raise _illegal(name, NUMBER_RANGE)
        return int(value)

    def symbol(self, name: str | None = None) -> str:
        """A symbol that is listed by now, from the parameter `symbol` unless given."""
        value = self.text("symbol") if name is None else name
        if not SYMBOL.fullmatch(value):
            raise _illegal("symbol", SYMBOL_RANGE)
        if value not in self.market.symbols() or not self.daily(value).count_at(self.now_ms):
            raise RequestError(-1121, "Invalid symbol.")
        return value

    def daily(self, symbol: str) -> Series:
        """The daily candles that every symbol has."""
        series = self.market.series(symbol, "1d")
        if series is None:
            raise LookupError(symbol)
        return series

    def listed(self) -> list[str]:
        """Symbols with a candle by now."""
        return [name for name in self.market.symbols() if self.daily(name).count_at(self.now_ms)]


def _illegal(name: str, legal: str) -> RequestError:
    return RequestError(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    )


def ping(call: Call) -> Reply:
    """`ping`: an empty object."""
    call.accept()
    return Reply(b"{}")


def server_time(call: Call) -> Reply:
    """`time`: the server's time in milliseconds."""
    call.accept()
    return Reply(to_json({"serverTime": call.server_ms}))


def exchange_info(call: Call) -> Reply:
    """`exchangeInfo`: the symbols listed by now, all or those asked for."""
    call.accept("symbol", "symbols")
    if "symbol" in call.params:
        names = [call.symbol()]
    elif "symbols" in call.params:
        names = [call.symbol(name) for name in _symbol_list(call.params["symbols"])]
    else:
        names = call.listed()
    payload = {
        "timezone": "UTC",
        "serverTime": call.server_ms,
        "rateLimits": [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": call.weight_limit,
            }
        ],
        "exchangeFilters": [],
        "symbols": [_symbol_info(name, call) for name in names],
    }
    return Reply(to_json(payload))


def _symbol_list(text: str) -> list[str]:
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _illegal("symbols", r"^\[(\"[A-Z0-9-_.]{1,20}\"(,\"[A-Z0-9-_.]{1,20}\"){0,}){0,1}\]$")
    return names


def _symbol_info(symbol: str, call: Call) -> dict[str, Any]:
    series = call.daily(symbol)
    last_close = series.interval.end_ms(series.opens[series.count_at(call.now_ms) - 1])
    is_trading = last_close > call.now_ms - DAY_MS
    quote = next((name for name in QUOTES if symbol.endswith(name)), "")
    return {
        "symbol": symbol,
        "status": "TRADING" if is_trading else "BREAK",
        "baseAsset": symbol.removesuffix(quote),
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "isSpotTradingAllowed": is_trading,
        "isMarginTradingAllowed": False,
        "filters": [],
        "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
    }


def klines(call: Call) -> Reply:
    """`klines`: candles by open time; the header says where the rows come from."""
    call.accept("symbol", "interval", "startTime", "endTime", "limit")
    symbol = call.symbol()
    interval = call.text("interval")
    limit = call.whole("limit")
    if limit == 0:
        raise RequestError(-1130, "Data sent for parameter 'limit' is not valid.")
    if interval not in call.market.intervals:
        known = ", ".join(call.market.intervals)
        hint = f" This replay serves {known}." if INTERVALS.fullmatch(interval) else ""
        raise RequestError(-1120, f"Invalid interval.{hint}")
    series = call.market.series(symbol, interval)
    if series is None:
        return Reply(b"[]", headers={SOURCE_HEADER: _source(call.market, is_estimated=False)})
    indices = series.select(
        call.whole("startTime"),
        call.whole("endTime"),
        min(limit or DEFAULT_ROWS, MAX_ROWS),
        call.now_ms,
    )
    rows = [series.row(index, call.now_ms) for index in indices]
    source = _source(call.market, is_estimated=any(row.is_estimated for row in rows))
    return Reply(b"[" + b",".join(row.json for row in rows) + b"]", headers={SOURCE_HEADER: source})


def _source(market: Market, *, is_estimated: bool) -> str:
    if market.label == "synthetic":
        return "synthetic"
    return "replay-estimated" if is_estimated else "replay-recorded"


def ticker_price(call: Call) -> Reply:
    """`ticker/price`: the close of the newest daily candle."""
    return _ticker(call, lambda symbol: _price(symbol, call))


def ticker_24hr(call: Call) -> Reply:
    """`ticker/24hr`: the last 24 hours, put together from two daily candles."""
    return _ticker(call, lambda symbol: _day(symbol, call))


def _ticker(call: Call, describe: Callable[[str], dict[str, Any]]) -> Reply:
    call.accept("symbol")
    if "symbol" in call.params:
        return Reply(to_json(describe(call.symbol())))
    return Reply(to_json([describe(symbol) for symbol in call.listed()]))


def _last(symbol: str, call: Call) -> Candle:
    series = call.daily(symbol)
    return series.candle(series.count_at(call.now_ms) - 1, call.now_ms)


def _price(symbol: str, call: Call) -> dict[str, Any]:
    return {"symbol": symbol, "price": plain_decimal(_last(symbol, call).close)}


def _last_24_hours(series: Series, now_ms: int) -> Sequence[Candle]:
    """The end of the closed candle that is partly older than 24 hours, then the forming one."""
    parts = []
    for index in range(max(0, series.count_at(now_ms) - 2), series.count_at(now_ms)):
        candle = series.candle(index, now_ms)
        age = (now_ms - candle.close_time - 1) / DAY_MS
        if age < 0:
            parts.append(candle)
        elif age < 1:
            parts.append(segment(candle, age, 1.0))
    return parts


def _day(symbol: str, call: Call) -> dict[str, Any]:
    last = _last(symbol, call).close
    start = call.now_ms - DAY_MS
    parts = _last_24_hours(call.daily(symbol), call.now_ms)
    nothing = Candle(
        open_time=start,
        open=last,
        high=last,
        low=last,
        close=last,
        volume=0.0,
        close_time=call.now_ms,
        quote_volume=0.0,
        trades=0,
        taker_buy_volume=0.0,
        taker_buy_quote_volume=0.0,
        is_estimated=False,
    )
    day = merge(parts or [nothing], start, call.now_ms)
    change = day.close - day.open
    prices = {
        "priceChange": change,
        "weightedAvgPrice": day.quote_volume / day.volume if day.volume else 0.0,
        "prevClosePrice": day.open,
        "lastPrice": day.close,
        "bidPrice": day.close,
        "askPrice": day.close,
        "openPrice": day.open,
        "highPrice": day.high,
        "lowPrice": day.low,
        "volume": day.volume,
        "quoteVolume": day.quote_volume,
    }
    return {
        "symbol": symbol,
        "priceChangePercent": f"{100 * change / day.open:.3f}",
        **{name: plain_decimal(value) for name, value in prices.items()},
        "openTime": day.open_time,
        "closeTime": day.close_time,
        "count": day.trades,
    }


ENDPOINTS: Mapping[str, Callable[[Call], Reply]] = {
    "ping": ping,
    "time": server_time,
    "exchangeInfo": exchange_info,
    "klines": klines,
    "ticker/24hr": ticker_24hr,
    "ticker/price": ticker_price,
}


def answer(endpoint: str, call: Call) -> Reply:
    """Answer a request to one endpoint, errors included."""
    handler = ENDPOINTS.get(endpoint)
    if handler is None:
        known = ", ".join(ENDPOINTS)
        return error_reply(HTTPStatus.NOT_FOUND, -1000, f"No endpoint {endpoint}: use {known}.")
    try:
        return handler(call)
    except RequestError as error:
        return error.reply()
