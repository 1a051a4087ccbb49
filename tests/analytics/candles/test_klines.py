import csv
import gzip
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.klines import (
    RawKline,
    contradicts,
    parse,
    raw_kline,
    row_hash,
    stored_kline,
    strings,
)

DAY_MS = 86_400_000
OPEN_MS = 1_703_808_000_000  # 2023-12-29
REST = [
    OPEN_MS,
    "1.50000000",
    "1.60000000",
    "1.40000000",
    "1.55000000",
    "9.00000000",
    OPEN_MS + DAY_MS - 1,
    "13.50000000",
    7,
    "4.00000000",
    "6.00000000",
    "0",
]
ARCHIVE_US = [f"{OPEN_MS}000", *REST[1:6], f"{OPEN_MS + DAY_MS - 1}999", REST[7], "7", *REST[9:]]


def candle(**changes):
    """The candle with other values; where its open time changes, it is moved."""
    opens = changes.get("open_time", OPEN_MS)
    return raw_kline(REST)._replace(**{"close_time": opens + DAY_MS - 1, **changes})


class TestRawKline:
    def test_keeps_the_strings(self):
        row = raw_kline(REST)
        assert row.close == "1.55000000"
        assert row.trades == "7"
        assert (row.open_time, row.close_time) == (OPEN_MS, OPEN_MS + DAY_MS - 1)

    def test_rest_and_archive_are_one_row(self):
        assert raw_kline(ARCHIVE_US) == raw_kline([str(field) for field in REST]) == raw_kline(REST)

    @pytest.mark.parametrize(
        "fields",
        [
            REST[:11],
            [*REST, "0"],
            "123456789012",
            [],
            [str(OPEN_MS) + "x", *REST[1:]],
            [float(OPEN_MS), *REST[1:]],
            [True, *REST[1:]],
            [None, *REST[1:]],
            [OPEN_MS // 1000, *REST[1:]],
            [OPEN_MS * 10**6, *REST[1:]],
            [-OPEN_MS, *REST[1:]],
            [*REST[:6], OPEN_MS - 1, *REST[7:]],
            [*REST[:4], 1.55, *REST[5:]],
            [*REST[:4], None, *REST[5:]],
            [*REST[:8], 7.0, *REST[9:]],
            [*REST[:8], True, *REST[9:]],
        ],
    )
    def test_refuses_what_is_no_row(self, fields):
        with pytest.raises(
            ValueError,
            match=r"expected|not a time|before open time|should be a string|invalid literal",
        ):
            raw_kline(fields)


class TestRowHash:
    def test_is_pinned(self):
        """Stored hashes are compared with new ones: the definition must not drift."""
        assert row_hash(raw_kline(REST)) == (
            "4be0a61b1cac7561966e2ccb9e8c9f12971a8a8909570be69bcf5f805a62a714"
        )

    @pytest.mark.parametrize("field", RawKline._fields)
    def test_every_field_counts(self, field):
        row = raw_kline(REST)
        value = getattr(row, field)
        other = value + 1 if isinstance(value, int) else value + "0"
        assert row_hash(row._replace(**{field: other})) != row_hash(row)


class TestStrings:
    @pytest.mark.parametrize(("name", "opens"), [("1d", OPEN_MS), ("1h", OPEN_MS + 3_600_000)])
    def test_with_the_key_they_are_the_row(self, name, opens):
        grid = INTERVALS[name]
        (ends,) = grid.close_ms(grid.steps(np.array([opens])))
        row = raw_kline(REST)._replace(open_time=opens, close_time=int(ends))
        assert strings(row).startswith("1.50000000,1.60000000,1.40000000,1.55000000,9.00000000,13")
        assert stored_kline(strings(row), opens, grid) == row

    def test_a_candle_that_is_what_they_say_contradicts_nothing(self):
        good, _ = parse([candle(), candle(trades="8")], "BTCUSDT")
        assert not contradicts(good).any()
        assert not contradicts(good.assign(close=9.0, raw=pd.Series([None] * 2, dtype="str"))).any()

    @pytest.mark.parametrize(
        "name",
        [
            "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume",
            "taker_buy_quote_volume", "trades",
        ],
    )  # fmt: skip
    def test_a_number_that_was_changed_does(self, name):
        good, _ = parse([candle(), candle()], "BTCUSDT")
        good.loc[1, name] = good.loc[1, name] + 1
        assert contradicts(good).tolist() == [False, True]
        good.loc[1, name] = np.nan if good[name].dtype == float else 0
        assert contradicts(good).tolist() == [False, True]

    @pytest.mark.parametrize(
        "changes",
        [
            {"row_hash": "f" * 64},
            {"date": pd.Timestamp("2023-12-30")},
            {"raw": strings(candle(close="1.56000000"))},
            {"raw": strings(candle(close="1.5500000"))},
            {"raw": "1,2"},
        ],
    )
    def test_another_hash_day_or_text_does(self, changes):
        good, _ = parse([candle()], "BTCUSDT")
        assert contradicts(good.assign(**changes)).tolist() == [True]


class TestParse:
    def test_columns(self):
        good, bad = parse([candle()], "BTCUSDT")
        assert bad.empty
        assert good.to_dict("records") == [
            {
                "symbol": "BTCUSDT",
                "date": pd.Timestamp("2023-12-29"),
                "open": 1.5,
                "high": 1.6,
                "low": 1.4,
                "close": 1.55,
                "volume": 9.0,
                "quote_volume": 13.5,
                "trades": 7,
                "taker_buy_volume": 4.0,
                "taker_buy_quote_volume": 6.0,
                "row_hash": row_hash(candle()),
                "raw": strings(candle()),
            }
        ]

    @pytest.mark.parametrize("rows", [[], [candle()], [candle(close="-1")]])
    def test_types_do_not_depend_on_the_rows(self, rows):
        good, bad = parse(rows, "BTCUSDT")
        assert [str(dtype) for dtype in good.dtypes] == [
            "str",
            "datetime64[s]",
            *["float64"] * 6,
            "int64",
            *["float64"] * 2,
            "str",
            "str",
        ]
        assert [str(dtype) for dtype in bad.dtypes] == ["str", "datetime64[s]", "str", "str"]

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"open": "0"}, "open '0' is not finite and positive"),
            ({"low": "-1.4"}, "low '-1.4' is not finite and positive"),
            ({"close": "NaN"}, "close 'NaN' is not finite and positive"),
            ({"high": "inf"}, "high 'inf' is not finite and positive"),
            ({"high": "1e999"}, "high '1e999' is not finite and positive"),
            ({"close": "abc"}, "close 'abc' is not finite and positive"),
            ({"close": ""}, "close '' is not finite and positive"),
            ({"volume": "-0.1"}, "volume '-0.1' is negative or not finite"),
            ({"quote_volume": ""}, "quote_volume '' is negative or not finite"),
            ({"taker_buy_volume": "nan"}, "taker_buy_volume 'nan' is negative or not finite"),
            ({"taker_buy_quote_volume": "-1"}, "taker_buy_quote_volume '-1' is negative"),
            ({"trades": "1.5"}, "trades '1.5' is not a whole number"),
            ({"trades": "-1"}, "trades '-1' is not a whole number"),
            ({"trades": "1e300"}, "trades '1e300' is not a whole number"),
            ({"close": "1.61"}, "close 1.61 above high 1.60000000"),
            ({"open": "1.61"}, "open 1.61 above high 1.60000000"),
            ({"close": "1.39"}, "close 1.39 below low 1.40000000"),
            ({"open": "1.39"}, "open 1.39 below low 1.40000000"),
            ({"open_time": OPEN_MS + 3_600_000}, "is not 00:00 UTC"),
            ({"close_time": OPEN_MS + 14_838}, f"close time {OPEN_MS + 14_838} is not 1d after"),
            ({"close_time": OPEN_MS + 2 * DAY_MS - 1}, "is not 1d after the open time"),
            ({"close": "1_5"}, "close '1_5' is not finite and positive"),
            ({"close": " 1.5"}, "close ' 1.5' is not finite and positive"),
            ({"close": "1.5\n"}, "is not finite and positive"),
            ({"close": "\u0661.\u0665"}, "is not finite and positive"),
            ({"close": "1.5\x00"}, r"close '1.5\x00' is not finite and positive"),
            ({"close": "\ud800"}, r"close '\ud800' is not finite and positive"),
            ({"close": "1e"}, "close '1e' is not finite and positive"),
            ({"trades": "7\x00"}, r"trades '7\x00' is not a whole number"),
        ],
    )
    def test_bad_candles_go_with_their_reason(self, changes, reason):
        row = candle(**changes)
        good, bad = parse([candle(open_time=OPEN_MS - DAY_MS), row], "BTCUSDT")
        assert list(good["date"]) == [pd.Timestamp("2023-12-28")]
        assert list(bad["date"]) == [pd.Timestamp("2023-12-29")]
        assert reason in bad["reason"][0]
        assert RawKline(*json.loads(bad["raw"][0])) == row

    def test_a_number_of_a_hundred_thousand_digits_is_named_in_a_few(self):
        _, bad = parse([candle(close="9" * 100_000)], "BTCUSDT")
        assert len(bad["reason"][0]) < 120
        assert len(bad["raw"][0]) < 300

    def test_edges_are_good(self):
        flat = candle(open="1.5", high="1.5", low="1.5", close="1.5")
        idle = candle(
            volume="0",
            quote_volume="0.0",
            trades="0",
            taker_buy_volume="0",
            taker_buy_quote_volume="0",
        )
        tiny = candle(open="0.00000001", high="1e-8", low="1E-8", close="0.00000001")
        good, bad = parse([flat, idle, tiny], "BTCUSDT")
        assert bad.empty
        assert good["close"].tolist() == [1.5, 1.55, 1e-8]

    def test_numbers_are_correctly_rounded(self):
        texts = ["0.30000000000000004", "123456789.12345678", "8.41e-06", "900719925474.09931"]
        rows = [candle(open=t, high=t, low=t, close=t) for t in texts]
        assert parse(rows, "X")[0]["close"].tolist() == [float(text) for text in texts]

    def test_real_candle_outside_its_own_range(self, market_data):
        with gzip.open(market_data / "klines" / "1d" / "AUDUSDT.csv.gz", "rt") as file:
            cells = list(csv.reader(file))[1:]
        # The file has no amounts but the volume; the exchange's answer has them all.
        rows = [raw_kline([*row[:7], *(cell or "0" for cell in row[7:])]) for row in cells]
        good, bad = parse(rows, "AUDUSDT")
        assert bad["reason"].tolist() == ["close 0.72216 above high 0.72033"]
        assert bad["date"].tolist() == [pd.Timestamp("2020-11-13")]
        assert len(good) == len(rows) - 1

    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.lists(st.one_of(st.text(max_size=6), st.floats().map(str)), min_size=9, max_size=9)
        )
    )
    def test_any_strings_are_good_or_bad_never_both(self, texts):
        rows = [
            RawKline(OPEN_MS + n * DAY_MS, *t[:5], OPEN_MS + (n + 1) * DAY_MS - 1, *t[5:])
            for n, t in enumerate(texts)
        ]
        good, bad = parse(rows, "X")
        days = sorted([*good["date"], *bad["date"]])
        assert days == [pd.Timestamp("2023-12-29") + pd.Timedelta(days=n) for n in range(len(rows))]
        assert (good["low"] > 0).all()
        assert (good["low"] <= good[["open", "close"]].min(axis=1)).all()
        assert (good["high"] >= good[["open", "close"]].max(axis=1)).all()
        assert np.isfinite(good.select_dtypes("float64").to_numpy()).all()
        assert all(bad["reason"])
