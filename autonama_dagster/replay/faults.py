"""Faults that the replay exchange commits on demand: what may go wrong, where and how often.

A fault is written `KIND:key=value,key=value`, for example `429:every=10` or
`http-500:symbol=BTCUSDT,count=2`. What a fault does to an answer is in `corruption` and `app`.
"""

import datetime as dt
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Self

from autonama_dagster.errors import InputError

COMMON_KEYS = ("symbol", "interval", "path", "every", "count", "probability", "seed")
BAD_VALUES = ("nan", "negative", "zero", "huge", "high-below-low")
KLINES = ("klines",)
CLOCKS = ("time", "exchangeInfo")


@dataclass(frozen=True)
class Kind:
    """What a kind of fault does, the keys of its own, and the endpoints it is limited to."""

    does: str
    keys: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "429": Kind("rate limit, with Retry-After", ("retry_after",)),
    "418": Kind("ban, with Retry-After", ("retry_after",)),
    "403": Kind("blocked by the firewall, an HTML page"),
    "451": Kind("restricted location"),
    "500": Kind("internal error, Binance's JSON body"),
    "502": Kind("bad gateway, an HTML page"),
    "503": Kind("service unavailable, no body"),
    "timeout": Kind("the answer comes `seconds` late", ("seconds",)),
    "reset": Kind("the connection ends in the middle of the body"),
    "drip": Kind("one byte a second"),
    "bomb": Kind("100 MB of spaces, compressed to 100 kB"),
    "redirect": Kind("a redirect to another address"),
    "absurd-headers": Kind("a used weight of 5,000 digits, and other headers that are not numbers"),
    "truncated": Kind("JSON cut in half"),
    "garbage": Kind("bytes that are not text"),
    "html": Kind("an HTML page with status 200"),
    "empty-list": Kind("[] instead of the answer"),
    "duplicate-rows": Kind("every candle twice", paths=KLINES),
    "shuffled-rows": Kind("candles out of order", ("seed",), KLINES),
    "missing-days": Kind("no candle from `date` for `days` days", ("date", "days"), KLINES),
    "late-candle": Kind(
        "the latest closed candle is missing  for the first `requests` of a symbol, or until"
        " `minutes` after its close",
        ("requests", "minutes"),
        KLINES,
    ),
    "bad-values": Kind(
        "an invalid `value` in the candle of `date`, or in the last one", ("value", "date"), KLINES
    ),
    "revised-candle": Kind(
        "the candle of `date`, or the last one, closes at its high", ("date",), KLINES
    ),
    "microseconds": Kind("times in microseconds", paths=KLINES),
    "clock": Kind("the server's time is `seconds` ahead, behind if negative", ("seconds",), CLOCKS),
}


@dataclass(frozen=True)
class Fault:
    """One fault: its kind, the requests it applies to, and how often.

    Parameters
    ----------
    kind
        One of `KINDS`; a leading `http-` is dropped.
    symbol, interval, path
        Only requests with this symbol, interval or endpoint (`klines`, `ticker/24hr`).
    every, count, probability, seed
        Every n-th of these requests, at most `count` times, with a probability (seeded).
    retry_after
        Seconds in the header Retry-After.
    seconds
        Delay of a `timeout`, offset of a `clock`.
    requests, minutes
        How long a `late-candle` is late.
    date, days
        Which days are missing, bad or revised.
    value
        One of `BAD_VALUES`.

    Raises
    ------
    InputError
        If the kind is unknown or a value makes no sense.
    """

    kind: str
    symbol: str | None = None
    interval: str | None = None
    path: str | None = None
    every: int = 1
    count: int | None = None
    probability: float = 1.0
    seed: int = 0
    retry_after: int = 1
    seconds: float = 30.0
    requests: int | None = None
    minutes: float | None = None
    date: dt.date | None = None
    days: int = 1
    value: str = "nan"

    def __post_init__(self) -> None:
        kind = _known_kind(self.kind)
        object.__setattr__(self, "kind", kind)
        if self.every < 1 or not 0 <= self.probability <= 1 or not math.isfinite(self.seconds):
            raise InputError(
                f"fault {kind}: every={self.every}, probability={self.probability},"
                f" seconds={self.seconds} is invalid: every is 1 or more, probability 0 to 1"
            )
        if self.value not in BAD_VALUES:
            raise InputError(
                f"fault {kind}: unknown value {self.value!r}: use one of {', '.join(BAD_VALUES)}"
            )
        if kind == "missing-days" and self.date is None:
            raise InputError("fault missing-days needs a day: add date=2023-12-15")
        if kind == "late-candle" and self.requests is None and self.minutes is None:
            raise InputError("fault late-candle needs an end: add requests=3 or minutes=10")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Fault from `KIND:key=value,key=value`.

        Raises
        ------
        InputError
            Naming the valid kinds or keys.
        """
        name, _, options = text.partition(":")
        kind = _known_kind(name.strip())
        valid = tuple(dict.fromkeys(COMMON_KEYS + KINDS[kind].keys))
        values: dict[str, object] = {}
        for option in filter(None, options.split(",")):
            key, equals, value = (part.strip() for part in option.partition("="))
            if key not in valid or not equals:
                raise InputError(f"fault {text!r}: {option!r} is not one of {'=, '.join(valid)}=")
            try:
                values[key] = _CONVERTERS[key](value)
            except ValueError as error:
                raise InputError(f"fault {text!r}: cannot read {key}={value!r}: {error}") from error
        return cls(kind, **values)  # type: ignore[arg-type]  # the converters give the types

    def applies_to(self, endpoint: str, params: Mapping[str, str]) -> bool:
        """Whether a request is one of those that this fault is about."""
        paths = KINDS[self.kind].paths
        return (
            (not paths or endpoint in paths)
            and self.path in (None, endpoint)
            and self.symbol in (None, params.get("symbol"))
            and self.interval in (None, params.get("interval"))
        )


def _known_kind(text: str) -> str:
    kind = text.removeprefix("http-")
    if kind not in KINDS:
        raise InputError(f"unknown fault {text!r}: use one of {', '.join(KINDS)}")
    return kind


_CONVERTERS: Mapping[str, Callable[[str], object]] = {
    "symbol": str.upper,
    "interval": str,
    "path": lambda text: text.removeprefix("/api/v3/"),
    "every": int,
    "count": int,
    "probability": float,
    "seed": int,
    "retry_after": int,
    "seconds": float,
    "requests": int,
    "minutes": float,
    "date": dt.date.fromisoformat,
    "days": int,
    "value": str,
}


@dataclass
class _Armed:
    """A fault and what it has seen so far."""

    fault: Fault
    seen: int = 0
    fired: int = 0
    by_symbol: Counter[str] = field(default_factory=Counter)
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.fault.seed)  # noqa: S311  # reproducible, not secret

    def fires(self, endpoint: str, params: Mapping[str, str]) -> bool:
        fault = self.fault
        if not fault.applies_to(endpoint, params):
            return False
        self.seen += 1
        if self.seen % fault.every or (fault.count is not None and self.fired >= fault.count):
            return False
        if self.random.random() >= fault.probability:
            return False
        symbol = params.get("symbol", "")
        self.by_symbol[symbol] += 1
        if fault.requests is not None and self.by_symbol[symbol] > fault.requests:
            return False
        self.fired += 1
        return True


class Faults:
    """The faults an exchange commits; safe to change while it serves."""

    def __init__(self, *faults: Fault) -> None:
        self._lock = threading.Lock()
        self._armed = [_Armed(fault) for fault in faults]

    @classmethod
    def parse(cls, *texts: str) -> Self:
        """Faults from their texts, see `Fault.parse`."""
        return cls(*map(Fault.parse, texts))

    def add(self, fault: Fault | str) -> None:
        """Commit one more fault from now on."""
        armed = _Armed(Fault.parse(fault) if isinstance(fault, str) else fault)
        with self._lock:
            self._armed.append(armed)

    def replace(self, *faults: Fault) -> None:
        """Commit these faults instead from now on; none to be faultless."""
        with self._lock:
            self._armed = [_Armed(fault) for fault in faults]

    def hit(self, endpoint: str, params: Mapping[str, str]) -> list[Fault]:
        """Count a request and give the faults to commit on it."""
        with self._lock:
            return [armed.fault for armed in self._armed if armed.fires(endpoint, params)]
