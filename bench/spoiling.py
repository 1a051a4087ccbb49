"""An exchange of a few pairs that spoils one answer at a time, and all the ways to spoil one.

Every way is a function of a source of chance and the honest body; it gives the body, or an `Answer`
where more than the body is spoiled. None of them prints a number that could be a true one.
"""

import gzip
import json
import random
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "\u5e01\u5b89USDT")
FIRST_MS: Final = 1_701_388_800_000  # 2023-12-01
DAYS: Final = 30
NOW_MS: Final = FIRST_MS + DAYS * DAY_MS + 300_000  # 00:05 of the day after the last
BOMB_MB: Final = 40  # more than any answer may have
ODD_NAMES: Final = (
    "../../../PWNUSDT", "=1+1USDT", "@SUM(1)USDT", "<img/src=x>USDT", "A\0USDT", "\ud800USDT",
    "\u202eTDSU", "BTC\u200bUSDT", "\uff22\uff34\uff23USDT", "BTC\u00b2USDT", "E\u0301USDT", "",
    "btcusdt", "A" * 33, "[red]USDT", "BTC|USDT", "BTCUSDT\n", "\x1b[2JUSDT",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """An answer as it goes out.

    Attributes
    ----------
    body
        Text, bytes, or what becomes JSON.
    status, headers
        Of HTTP.
    raw
        Written to the connection in the place of all that, which is then closed.
    pace
        Seconds between single bytes of the body; None: at once.
    """

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    pace: float | None = None

    def data(self) -> bytes:
        """The body's bytes."""
        if isinstance(self.body, bytes):
            return self.body
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return text.encode("utf-8", "surrogatepass")


Spoil = Callable[[random.Random, Any], Any]


def honest_rows(symbol: str) -> list[list[Any]]:
    """Daily candles of a pair, each different from those of the others."""
    number = SYMBOLS.index(symbol) + 1
    rows = []
    for day in range(DAYS):
        opens = FIRST_MS + day * DAY_MS
        price = 10 * number + day / 7
        prices = [f"{price + shift:.8f}" for shift in (0.0, 1.0, -1.0, 0.5)]
        volume = 100 * number + day
        amounts = [f"{volume * price:.8f}", 7 + day, f"{volume / 2:.8f}", f"{volume * 4:.8f}"]
        rows.append([opens, *prices, f"{volume:.8f}", opens + DAY_MS - 1, *amounts, "0"])
    return rows


def _cell(value: Callable[[random.Random, Any], Any], columns: tuple[int, ...]) -> Spoil:
    """Another value in one cell of one row."""

    def spoil(rng: random.Random, rows: Any) -> Any:
        rows = [list(row) for row in rows]
        if rows:
            row, column = rng.choice(rows), rng.choice(columns)
            row[column] = value(rng, row[column])
        return rows

    return spoil


def _each(change: Callable[[list[Any]], list[Any]]) -> Spoil:
    """Every row changed alike."""
    return lambda _, rows: [change(list(row)) for row in rows]


def _moved(row: list[Any], by: int) -> list[Any]:
    return [row[0] + by, *row[1:6], row[6] + by, *row[7:]]


def _lasting(row: list[Any], length: int) -> list[Any]:
    return [*row[:6], row[0] + length - 1, *row[7:]]


def _fixed(*values: Any) -> Callable[[random.Random, Any], Any]:
    return lambda rng, _: rng.choice(values)


_PRICES: Final = (1, 2, 3, 4)
_NUMBERS: Final = (1, 2, 3, 4, 5, 7, 9, 10)
_TEXTS: Final = (
    "1\0", "\0", "\ud800", "1\udc00", "", " ", "abc", "NaN", "-inf", "Infinity", "1e999", "1e30",
    "-1", "0x10", "1_0", " 1.5", "1.5\n", "\u0661\u0662", "1,5", "1.5.5", "\u202e1.5", "9" * 5000,
    "<b>1</b>", "=1+1", "\x1b[31m1",
)  # fmt: skip
_ODD_TYPES: Final = (None, True, [], {}, ["1"], {"value": "1"}, 1.5, float("nan"), 10**30, -1)
_NO_TIMES: Final = (
    NOW_MS // 1000, NOW_MS * 10**6, 10**30, 0, -1, float(NOW_MS), None, True, [NOW_MS], {}, "",
    "x", "\0", "9" * 5000,
)  # fmt: skip

OF_CANDLES: Final[dict[str, Spoil]] = {
    "hours for days": _each(lambda row: _lasting(row, HOUR_MS)),
    "minutes for days": _each(lambda row: _lasting(row, 60_000)),
    "weeks for days": _each(lambda row: _lasting(row, 7 * DAY_MS)),
    "one hour among days": lambda rng, rows: [
        _lasting(row, HOUR_MS) if n == rng.randrange(len(rows)) else row
        for n, row in enumerate(rows)
    ],
    "cut short": _cell(lambda rng, end: end - rng.randrange(1, HOUR_MS), (6,)),
    "too long": _cell(lambda rng, end: end + rng.randrange(1, 90 * DAY_MS), (6,)),
    "ends before it opens": _cell(lambda _, end: end - 2 * DAY_MS, (6,)),
    "another pair's": lambda _, rows: honest_rows("BTCUSDT")[: len(rows)],
    "shifted by days": lambda rng, rows: [
        _moved(row, DAY_MS * rng.choice((-90, -1, 1, 7)) if n else 0)
        for n, row in enumerate(rows, 1)
    ],
    "shifted by hours": lambda rng, rows: [_moved(r, HOUR_MS * rng.randrange(1, 24)) for r in rows],
    "days that were not asked for": lambda rng, rows: [
        *rows,
        *(_moved(rows[-1], DAY_MS * (n + 1)) for n in range(rng.randrange(1, 9))),
    ],
    "the day that forms": lambda _, rows: [*rows, _lasting(_moved(rows[-1], DAY_MS), HOUR_MS)],
    "more rows than asked for": lambda _, rows: rows * (1001 // len(rows) + 1),
    "two versions of a candle": lambda _, rows: [*rows, [*rows[0][:5], "1.00000000", *rows[0][6:]]],
    "a text in a number's place": _cell(_fixed(*_TEXTS), _NUMBERS),
    "another type in a number's place": _cell(_fixed(*_ODD_TYPES), _NUMBERS),
    "a time that is none": _cell(_fixed(*_NO_TIMES), (0, 6)),
    "times in seconds": _each(lambda row: [row[0] // 1000, *row[1:6], row[6] // 1000, *row[7:]]),
    "a price of nobody": _cell(_fixed("0", "-1.5", "1e300", "inf", "nan"), _PRICES),
    "high and low swapped": _each(lambda row: [*row[:2], row[3], row[2], *row[4:]]),
    "short rows": _each(lambda row: row[:11]),
    "long rows": _each(lambda row: [*row, "0"]),
    "rows of objects": _each(lambda row: dict(zip("abcdefghijkl", row, strict=True))),  # type: ignore[arg-type, return-value]
    "a list of lists of lists": lambda _, rows: [rows],
    "wrapped": lambda _, rows: {"data": rows, "success": True},
    "an empty list": lambda *_: [],
}
OF_CLOCKS: Final[dict[str, Spoil]] = {
    "a time that cannot be": lambda rng, body: dict.fromkeys(body, rng.choice(_NO_TIMES)),
    "no time": lambda *_: {},
    "a list for a time": lambda _, body: [body],
}


def _entry(rng: random.Random, like: dict[str, Any]) -> Any:
    odd = rng.choice(ODD_NAMES)
    name, base = rng.choice(((odd, "X"), ("XUSDT", odd), (None, "X"), (7, "X"), (["X"], "X")))
    entry = {**like, "symbol": name, "baseAsset": base}
    without = {k: v for k, v in like.items() if k != rng.choice(sorted(like))}
    return rng.choice((entry, entry, {**without, "symbol": odd}, odd, None, 7, [], {}))


OF_LISTS: Final[dict[str, Spoil]] = {
    "odd entries": lambda rng, body: {
        "symbols": [*body["symbols"], *(_entry(rng, body["symbols"][0]) for _ in range(20))]
    },
    "every entry twice": lambda _, body: {"symbols": body["symbols"] * 2},
    "nothing but odd entries": lambda rng, body: {
        "symbols": [{**e, "symbol": rng.choice(ODD_NAMES)} for e in body["symbols"]]
    },
    "no list of pairs": lambda rng, _: {"symbols": rng.choice((None, {}, "BTCUSDT", 7))},
}


def _packed(body: bytes) -> Answer:
    return Answer(body, headers={"Content-Encoding": "gzip"})


def _bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(b"["), *(packer.compress(b" " * (1 << 20)) for _ in range(BOMB_MB))]
    return b"".join((*parts, packer.compress(b"]"), packer.flush()))


_BOMB: Final = _bomb()
_HEADERS: Final = (
    {"X-MBX-USED-WEIGHT-1M": "9" * 30}, {"X-MBX-USED-WEIGHT-1M": "\u00b2"}, {"Date": "never"},
    {"X-MBX-USED-WEIGHT-1M": "-1"}, {"Retry-After": "x" * 5000}, {"X-Autonama-Source": "hearsay"},
    {"Content-Type": "text/html; charset=utf-32"}, {"Content-Encoding": "br"},
    {"Content-Encoding": "gzip"}, {"Date": "Mon, 01 Jan 0001 00:00:00 GMT"},
)  # fmt: skip
_WAITS: Final = ("0", "1", "-1", "1e9", "9" * 30, "\u00b2", "", "Fri, 31 Dec 9999 23:59:59 GMT")
_REFUSALS: Final = (400, 401, 403, 404, 408, 418, 429, 451, 500, 502, 503)


def _broken(body: bytes, rng: random.Random) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) + 10}\r\n\r\n".encode()
    return head + body[: rng.randrange(len(body) + 1)]


# These take the bytes of the honest body.
OF_ANY: Final[dict[str, Spoil]] = {
    "truncated JSON": lambda rng, body: body[: rng.randrange(len(body))],
    "no JSON": lambda rng, _: rng.choice(
        (b"", b"null", b"[[", b"<html>", b"\xff\xfe\0", b"7", b'"')
    ),
    "JSON without bottom": lambda *_: b"[" * 100_000 + b"]" * 100_000,
    "another encoding": lambda _, body: body.decode().encode("utf-16"),
    "a bomb of gzip": lambda *_: _packed(_BOMB),
    "gzip that is damaged": lambda rng, body: _packed(
        gzip.compress(body)[: rng.randrange(10, 30)] + b"\0" * 9
    ),
    "a connection that breaks": lambda rng, body: Answer(raw=_broken(body, rng)),
    "no HTTP": lambda rng, _: Answer(
        raw=rng.choice((b"", b"\0" * 99, b"SSH-2.0-x\r\n", b"HTTP/9"))
    ),
    "a header without end": lambda *_: Answer(raw=b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 100_000),
    "headers without number": lambda *_: Answer(
        raw=b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(500)) + b"\r\n"
    ),
    "chunks that are none": lambda *_: Answer(
        raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n0\r\n\r\n"
    ),
    "hostile headers": lambda rng, body: Answer(body, headers=rng.choice(_HEADERS)),
    "a redirect": lambda rng, _: Answer(
        status=rng.choice((301, 302, 303, 307, 308)),
        headers={"Location": rng.choice(("http://127.0.0.1:9/", "file:///etc/passwd", "//", "/"))},
    ),
    "a refusal": lambda rng, _: Answer(
        {"code": -1003, "msg": rng.choice(("no", "\0", "\ud800", "a\nb", "x" * 9999))},
        status=rng.choice(_REFUSALS),
        headers={"Retry-After": rng.choice(_WAITS)},
    ),
    "an answer that drips": lambda _, body: Answer(body, pace=0.05),
}
SLOW: Final = frozenset({"an answer that drips"})
HARMLESS: Final = frozenset({"odd entries", "every entry twice"})


def kinds() -> list[tuple[str, str]]:
    """Every endpoint and a way to spoil its answer."""
    by_endpoint = {"klines": OF_CANDLES, "time": OF_CLOCKS, "24hr": OF_CLOCKS}
    own = [(e, way) for e, ways in by_endpoint.items() for way in ways]
    of_lists = [("exchangeInfo", way) for way in OF_LISTS]
    of_any = [(e, way) for way in OF_ANY for e in (*by_endpoint, "exchangeInfo")]
    return [*own, *of_lists, *of_any]


def spoiled(way: str, rng: random.Random, body: Any) -> Answer:
    """An honest body, spoiled."""
    if way in OF_ANY:
        found = OF_ANY[way](rng, json.dumps(body).encode())
    else:
        found = {**OF_CANDLES, **OF_CLOCKS, **OF_LISTS}[way](rng, body)
    return found if isinstance(found, Answer) else Answer(found)


class SpoilingExchange:
    """Binance's protocol for `SYMBOLS`, with the answers of one endpoint, or pair, spoiled.

    It answers at `url`; what to spoil is set by `spoil`, and stays so until told otherwise.
    """

    def __init__(self) -> None:
        self._spoiled: Callable[[str, str | None, Any], Answer | None] = lambda *_: None
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                exchange._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def spoil(self, endpoint: str, way: str, seed: int, symbol: str) -> None:
        """Spoil every answer of an endpoint; of `klines`, those about one pair."""

        def find(asked: str, about: str | None, body: Any) -> Answer | None:
            if asked != endpoint or (endpoint == "klines" and about != symbol):
                return None
            return spoiled(way, random.Random(seed), body)

        self._spoiled = find

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        endpoint, query = url.path.rpartition("/")[2], dict(parse_qsl(url.query))
        body = _honest(endpoint, query)
        answer = self._spoiled(endpoint, query.get("symbol"), body) or Answer(body)
        try:
            _send(handler, answer)
        except OSError:
            handler.close_connection = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _honest(endpoint: str, query: Mapping[str, str]) -> Any:
    if endpoint == "time":
        return {"serverTime": NOW_MS}
    if endpoint == "24hr":
        return {"closeTime": NOW_MS}
    if endpoint == "exchangeInfo":
        common = {"quoteAsset": "USDT", "status": "TRADING"}
        pairs = [{"symbol": s, "baseAsset": s.removesuffix("USDT"), **common} for s in SYMBOLS]
        return {"symbols": pairs}
    start, end = int(query["startTime"]), int(query.get("endTime", 1 << 62))
    return [row for row in honest_rows(query["symbol"]) if start <= row[0] <= end]


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    if answer.raw is not None:
        handler.wfile.write(answer.raw)
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True
        return
    data = answer.data()
    handler.send_response(answer.status)
    for name, value in answer.headers.items():
        handler.send_header(name, value.encode().decode("latin-1"))
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    if answer.pace is None:
        handler.wfile.write(data)
        return
    for n in range(len(data)):
        handler.wfile.write(data[n : n + 1])
        time.sleep(answer.pace)
