import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest
from candle_support import FIRST_DAY, part, walk, without

from autonama_dagster.analytics.candles.candles import CANDLE_FLOATS, FACTS, NUMBERS
from autonama_dagster.analytics.candles.hashing import (
    combine,
    market_hashes,
    params_hash,
    window_hashes,
)
from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.windows import windows


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


# Parameters


def test_params_hash_is_of_sorted_json_without_whitespace():
    params = {"kstd": 2.5, "degree": 4, "scales": ["log", None, True], "nested": {"b": 1, "a": 2}}
    text = '{"degree":4,"kstd":2.5,"nested":{"a":2,"b":1},"scales":["log",null,true]}'
    assert params_hash(params) == sha256(text)


def test_params_hash_of_whole_numbers_ignores_their_type():
    assert params_hash({"kstd": 2, "in": [{"a": 3}]}) == params_hash(
        {"in": [{"a": 3.0}], "kstd": 2.0}
    )
    assert params_hash({"kstd": 1}) != params_hash({"kstd": True})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_params_hash_refuses_what_json_cannot_hold(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        params_hash({"kstd": value})


# Windows


def test_window_hash_is_of_the_digests_of_its_candles_in_order():
    candles = without(walk(0, 60), 40)
    window = windows(candles, FIRST_DAY + np.array([-1, 0, 35, 45, 59]), 20)
    each = [bytes(digest) for digest in candles.digest]
    expected = [
        hashlib.sha256(b"".join(each[a:b])).hexdigest()
        for a, b in zip(window.start, window.stop, strict=True)
    ]
    assert window_hashes(candles, window) == expected
    assert window_hashes(candles, window)[0] == sha256("")


def test_window_hash_knows_its_own_candles_only():
    candles = walk(0, 60)
    at = candles.day[30:31]
    seen = part(candles, slice(11, 31))
    assert window_hashes(candles, windows(candles, at, 20)) == window_hashes(
        seen, windows(seen, at, 20)
    )


def known(candles):
    """The candles with all facts that a candle can have."""
    n = len(candles)
    return replace(
        candles,
        taker_buy_volume=candles.volume / 2,
        taker_buy_quote_volume=candles.volume / 3,
        trades=np.arange(n) + 5,
        source=np.where(np.arange(n) % 2, b"binance", b"archive"),
    )


@pytest.mark.parametrize("name", FACTS)
def test_one_changed_fact_changes_the_hashes_of_the_windows_that_hold_it(name):
    candles = known(walk(0, 60))
    values = getattr(candles, name).copy()
    others = {"row_hash": b"f" * 64, "source": b"binance", "trades": 36}
    values[30] = others.get(name) or np.nextafter(values[30], np.inf)
    changed = replace(candles, **{name: values})
    before, after = (np.array(window_hashes(c, windows(c, c.day, 20))) for c in (candles, changed))
    assert np.flatnonzero(before != after).tolist() == [*range(30, 50)]


def test_a_digest_is_of_everything_that_is_known_of_a_candle():
    candles = known(walk(0, 5))
    row = [float(getattr(candles, name)[3]) for name in NUMBERS]
    packed = (
        b"BTCUSDT\n1d\n" + struct.pack(">q", FIRST_DAY + 3) + candles.row_hash[3]
        + struct.pack(">8dq", *row, 8) + b"binance"
    )  # fmt: skip
    assert bytes(candles.digest[3]) == hashlib.sha256(packed).digest()


@pytest.mark.parametrize(
    "moved",
    [{"day": np.arange(5) + FIRST_DAY - 1}, {"symbol": "ETHUSDT"}, {"interval": INTERVALS["1h"]}],
    ids=["day", "symbol", "table"],
)
def test_a_candle_that_was_moved_has_another_digest(moved):
    candles = walk(0, 5)
    assert (replace(candles, **moved).digest != candles.digest).any(axis=1).all()


def test_digests_of_a_view_and_of_any_nan():
    candles = known(walk(0, 60))
    view = {name: getattr(candles, name)[::2] for name in ("day", *FACTS)}
    assert (replace(candles, **view).digest == candles.digest[::2]).all()
    quiet = np.full(60, np.nan)
    assert quiet.tobytes() != (-quiet).tobytes()
    ways = [replace(candles, quote_volume=nan).digest for nan in (quiet, -quiet)]
    assert (ways[0] == ways[1]).all()


def test_market_hashes_are_of_row_hash_and_six_numbers_whichever_way_the_candles_came():
    candles = known(walk(0, 60))
    window = windows(candles, candles.day[[30, 59]], 20)
    rows = zip(candles.row_hash, *(getattr(candles, name) for name in CANDLE_FLOATS), strict=True)
    each = [hashlib.sha256(row[0] + struct.pack(">6d", *row[1:])).digest() for row in rows]
    expected = [hashlib.sha256(b"".join(each[a:b])).hexdigest() for a, b in ((11, 31), (40, 60))]
    assert market_hashes(candles, window) == expected
    other = replace(candles, source=candles.source[::-1])
    assert market_hashes(other, window) == expected
    assert window_hashes(other, window) != window_hashes(candles, window)


def test_no_candles_and_no_days():
    none = part(walk(0, 5), slice(0, 0))
    assert market_hashes(none, windows(none, np.array([FIRST_DAY]))) == [sha256("")]
    assert window_hashes(none, windows(none, np.array([FIRST_DAY]))) == [sha256("")]
    assert window_hashes(none, windows(none, np.array([], dtype=np.int64))) == []


# Several hashes


def test_combined_hashes_depend_on_each_and_on_their_order():
    combined = {combine("a", "b"), combine("b", "a"), combine("ab"), combine("a", "b", "")}
    assert len(combined) == 4
    assert combine("a", "b") == sha256("a\nb")
