"""What each fault does to an answer: replies that replace it and changes of its candles."""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from http import HTTPStatus
from random import Random
from typing import Any

from autonama_dagster.analytics.candles.intervals import INTERVALS, Interval
from autonama_dagster.days import midnight
from autonama_dagster.replay.faults import Fault
from autonama_dagster.replay.market.candles import DAY_MS
from autonama_dagster.replay.protocols.binance_spot import Reply, error_reply, to_json

HTML = "text/html"
BLOCKED_PAGE = b"""<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">
<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD>
<BODY><H1>403 ERROR</H1><H2>The request could not be satisfied.</H2>Request blocked.</BODY></HTML>
"""
GATEWAY_PAGE = b"""<html><head><title>502 Bad Gateway</title></head>
<body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></body></html>
"""
MINUTE_MS = 60_000
ABSURD = {"X-MBX-USED-WEIGHT-1M": "9" * 5000, "Retry-After": "²", "Content-Type": "x; charset=zip"}
GARBAGE = bytes(range(128, 256))

Rows = list[list[Any]]


def replacement(fault: Fault, now_ms: int) -> Reply | None:
    """The reply that this fault gives instead of the answer; None if it only changes it."""
    make = _REPLACEMENTS.get(fault.kind)
    return None if make is None else make(fault, now_ms)


def _rate_limit(fault: Fault, _now_ms: int) -> Reply:
    message = "Too many requests; current request has limited."
    headers = {"Retry-After": str(fault.retry_after)}
    return error_reply(HTTPStatus.TOO_MANY_REQUESTS, -1003, message, headers)


def _ban(fault: Fault, now_ms: int) -> Reply:
    until = now_ms + 1000 * fault.retry_after
    message = (
        f"Way too much request weight used; IP banned until {until}."
        " Please use the websocket for live updates to avoid bans."
    )
    headers = {"Retry-After": str(fault.retry_after)}
    return error_reply(HTTPStatus.IM_A_TEAPOT, -1003, message, headers)


def _restricted(_fault: Fault, _now_ms: int) -> Reply:
    message = (
        "Service unavailable from a restricted location according to 'b. Eligibility' in"
        " https://www.binance.com/en/terms. Please contact customer service if you believe you"
        " received this message in error."
    )
    return error_reply(HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS, 0, message)


def _internal_error(_fault: Fault, _now_ms: int) -> Reply:
    message = "An unknown error occurred while processing the request."
    return error_reply(HTTPStatus.INTERNAL_SERVER_ERROR, -1000, message)


@cache
def _packed_spaces() -> bytes:
    return gzip.compress(b" " * 100_000_000)


def _bomb(_fault: Fault, _now_ms: int) -> Reply:
    return Reply(_packed_spaces(), headers={"Content-Encoding": "gzip"})


def _fixed(reply: Reply) -> Callable[[Fault, int], Reply]:
    return lambda _fault, _now_ms: reply


_REPLACEMENTS: Mapping[str, Callable[[Fault, int], Reply]] = {
    "429": _rate_limit,
    "418": _ban,
    "403": _fixed(Reply(BLOCKED_PAGE, HTTPStatus.FORBIDDEN, media_type=HTML)),
    "451": _restricted,
    "500": _internal_error,
    "502": _fixed(Reply(GATEWAY_PAGE, HTTPStatus.BAD_GATEWAY, media_type=HTML)),
    "503": _fixed(Reply(b"", HTTPStatus.SERVICE_UNAVAILABLE)),
    "redirect": _fixed(Reply(b"", HTTPStatus.FOUND, {"Location": "https://example.org/"})),
    "bomb": _bomb,
    "garbage": _fixed(Reply(GARBAGE)),
    "html": _fixed(Reply(GATEWAY_PAGE, media_type=HTML)),
    "empty-list": _fixed(Reply(b"[]")),
}


def corrupt(reply: Reply, fault: Fault, interval: str, now_ms: int) -> Reply:
    """The reply after a fault that changes its body; errors stay what they are."""
    if reply.status != HTTPStatus.OK:
        return reply
    if fault.kind == "truncated":
        return replace(reply, body=reply.body[: len(reply.body) // 2])
    if fault.kind == "absurd-headers":
        return replace(reply, headers={**reply.headers, **ABSURD})
    change = _ROW_CHANGES.get(fault.kind)
    if change is None:
        return reply
    rows = change(json.loads(reply.body), fault, INTERVALS[interval], now_ms)
    return replace(reply, body=to_json(rows))


def _duplicate(rows: Rows, _fault: Fault, _grid: Interval, _now_ms: int) -> Rows:
    return [row for row in rows for _ in range(2)]


def _shuffle(rows: Rows, fault: Fault, _grid: Interval, _now_ms: int) -> Rows:
    return Random(fault.seed).sample(rows, len(rows))  # noqa: S311  # reproducible, not secret


def _day_start_ms(fault: Fault) -> int | None:
    if fault.date is None:
        return None
    return int(midnight(fault.date).timestamp() * 1000)


def _drop_days(rows: Rows, fault: Fault, _grid: Interval, _now_ms: int) -> Rows:
    start = _day_start_ms(fault) or 0
    return [row for row in rows if not start <= row[0] < start + fault.days * DAY_MS]


def _drop_latest(rows: Rows, fault: Fault, grid: Interval, now_ms: int) -> Rows:
    """Withhold the candle that closed last, and the forming one with it."""

    def is_late(row: list[Any]) -> bool:
        close_ms = grid.end_ms(row[0])
        if grid.end_ms(close_ms) <= now_ms:
            return False
        last_close_ms = close_ms if close_ms <= now_ms else row[0]
        return fault.minutes is None or now_ms < last_close_ms + fault.minutes * MINUTE_MS

    return [row for row in rows if not is_late(row)]


_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME = range(1, 6)
_NONSENSE: Mapping[str, Mapping[int, str]] = {
    "nan": {_CLOSE: "NaN"},
    "negative": {_LOW: "-1.00000000", _VOLUME: "-1.00000000"},
    "zero": dict.fromkeys((_OPEN, _HIGH, _LOW, _CLOSE), "0.00000000"),
    "huge": {_HIGH: "1e30", _CLOSE: "1e30"},
}


def _of_day(rows: Rows, fault: Fault, now_ms: int) -> Rows:
    """The candles of the fault's day, or of a day from the last one that closed on."""
    start = _day_start_ms(fault)
    if start is None:
        closed = [row[0] for row in rows if row[6] < now_ms]
        start = closed[-1] if closed else now_ms
    return [row for row in rows if start <= row[0] < start + DAY_MS]


def _spoil(rows: Rows, fault: Fault, _grid: Interval, now_ms: int) -> Rows:
    for row in _of_day(rows, fault, now_ms):
        if fault.value == "high-below-low":
            row[_HIGH], row[_LOW] = row[_LOW], row[_HIGH]
        for column, text in _NONSENSE.get(fault.value, {}).items():
            row[column] = text
    return rows


def _revise(rows: Rows, fault: Fault, _grid: Interval, now_ms: int) -> Rows:
    for row in _of_day(rows, fault, now_ms):
        row[_CLOSE] = row[_HIGH]
    return rows


def _microseconds(rows: Rows, _fault: Fault, _grid: Interval, _now_ms: int) -> Rows:
    return [[1000 * row[0], *row[1:6], 1000 * row[6] + 999, *row[7:]] for row in rows]


_ROW_CHANGES: Mapping[str, Callable[[Rows, Fault, Interval, int], Rows]] = {
    "duplicate-rows": _duplicate,
    "shuffled-rows": _shuffle,
    "missing-days": _drop_days,
    "late-candle": _drop_latest,
    "bad-values": _spoil,
    "revised-candle": _revise,
    "microseconds": _microseconds,
}
