import math
from datetime import date

import numpy as np
import pandas as pd
import pytest
from candle_support import of_frame

from autonama_dagster.analytics.candles.candles import CANDLE_FLOATS, FACTS, Candles
from autonama_dagster.analytics.candles.klines import RawKline, parse
from autonama_dagster.errors import SchemaError

DAY_MS = 86_400_000
OPEN_MS = 1_703_808_000_000  # 2023-12-29


def frame(symbol="BTCUSDT", days=5):
    opens = [OPEN_MS + n * DAY_MS for n in range(days)]
    rows = [
        RawKline(ms, "1.5", "1.6", "1.4", "1.55", str(n), ms + DAY_MS - 1, "13.5", "7", "4", "6")
        for n, ms in enumerate(opens)
    ]
    return parse(rows, symbol)[0].assign(source="binance")


class TestCandles:
    def test_arrays_of_a_frame_in_any_order(self):
        candles = of_frame(frame().iloc[::-1])
        first = (date(2023, 12, 29) - date(1970, 1, 1)).days
        assert candles.day.tolist() == list(range(first, first + 5))
        assert candles.volume.tolist() == [0, 1, 2, 3, 4]
        assert candles.row_hash.astype(str).tolist() == frame()["row_hash"].tolist()
        assert (candles.day.dtype, candles.close.dtype) == (np.int64, np.float64)
        assert candles.row_hash.dtype == "S64"
        assert candles.taker_buy_volume.tolist() == [4.0] * 5
        assert candles.taker_buy_quote_volume.tolist() == [6.0] * 5
        assert candles.trades.tolist() == [7] * 5
        assert candles.source.tolist() == [b"binance"] * 5
        assert (candles.symbol, len(candles)) == ("BTCUSDT", 5)

    def test_by_symbol(self):
        mixed = pd.concat([frame("ETHUSDT", 3), frame("BTCUSDT", 2)]).sample(frac=1, random_state=1)
        split = Candles.by_symbol(mixed)
        assert {name: len(candles) for name, candles in split.items()} == {
            "BTCUSDT": 2,
            "ETHUSDT": 3,
        }
        alone = of_frame(frame("ETHUSDT", 3))
        assert split["ETHUSDT"].row_hash.tolist() == alone.row_hash.tolist()
        assert split["ETHUSDT"].day.tolist() == alone.day.tolist()

    def test_dates_may_be_dates(self):
        plain = frame().assign(date=frame()["date"].dt.date)
        assert of_frame(plain).day.tolist() == of_frame(frame()).day.tolist()

    def test_empty(self):
        assert Candles.by_symbol(frame().iloc[:0]) == {}

    def test_a_day_twice(self):
        twice = pd.concat([frame(), frame(days=1)])
        with pytest.raises(SchemaError, match="BTCUSDT: 2023-12-29 is not later"):
            of_frame(twice)

    def test_arrays_of_one_length(self):
        whole = of_frame(frame())
        with pytest.raises(SchemaError, match="high has shape"):
            Candles(
                "X",
                whole.day,
                whole.open,
                whole.high[1:],
                whole.low,
                whole.close,
                whole.volume,
                whole.quote_volume,
                whole.row_hash,
            )

    def test_what_is_not_given_is_unknown(self):
        whole = of_frame(frame())
        names = ("day", *CANDLE_FLOATS, "row_hash")
        plain = Candles("X", **{name: getattr(whole, name) for name in names})
        assert np.isnan([plain.taker_buy_volume, plain.taker_buy_quote_volume]).all()
        assert plain.trades.tolist() == [0] * 5
        assert plain.source.tolist() == [b""] * 5

    def test_a_part_and_what_was_until_a_day_keep_their_digests(self):
        whole = of_frame(frame())
        assert (whole.part(slice(1, 4)).digest == whole.digest[1:4]).all()
        until = whole.until(int(whole.day[2]))
        assert (until.digest == whole.digest[:3]).all()
        assert {len(getattr(until, name)) for name in FACTS} == {3}

    def test_missing_quote_volume_stays_missing(self):
        holed = frame().assign(quote_volume=np.nan)
        assert all(math.isnan(value) for value in of_frame(holed).quote_volume)
