"""What a number was made from: hashes of its candles and its parameters."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from autonama_dagster.analytics.candles.candles import CANDLE_FLOATS, Candles
from autonama_dagster.analytics.candles.digests import hash_ranges, market_digests
from autonama_dagster.analytics.candles.windows import Windows

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True)
class Versions:
    """What made a row: the hash of its parameters and the version of the code."""

    params_hash: str
    code_version: str


def params_hash(params: Mapping[str, Json]) -> str:
    """SHA-256 (hex) of the parameters as JSON with sorted keys and no whitespace.

    2 and 2.0 are one value: a setting read from text and a default must not differ.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    text = json.dumps(
        _canonical(dict(params)), sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def window_hashes(candles: Candles, windows: Windows) -> list[str]:
    """SHA-256 (hex) of the digests of each window's candles, 32 bytes a candle, in time order.

    Parameters
    ----------
    candles
        One symbol's candles.
    windows
        Of n days of that symbol.

    Returns
    -------
    list of str
        Length n; an empty window has the hash of nothing.
    """
    return hash_ranges(candles.digest, windows.start, windows.stop)


def market_hashes(candles: Candles, windows: Windows) -> list[str]:
    """SHA-256 (hex) of what the market said in each window; see `digests.market_digests`.

    Parameters
    ----------
    candles
        One symbol's candles.
    windows
        Of n days of that symbol.

    Returns
    -------
    list of str
        Length n; an empty window has the hash of nothing.
    """
    begin, end = windows.start.min(initial=len(candles)), windows.stop.max(initial=0)
    numbers = [getattr(candles, name)[begin:end] for name in CANDLE_FLOATS]
    digest = market_digests(candles.row_hash[begin:end], numbers)
    return hash_ranges(digest, windows.start - begin, windows.stop - begin)


def combine(*hashes: str) -> str:
    """SHA-256 (hex) of several hashes in their order: the input hash of a row made from them."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _canonical(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
