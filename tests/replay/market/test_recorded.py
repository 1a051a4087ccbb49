import gzip

import pytest

from autonama_dagster.errors import InputError
from autonama_dagster.replay.market.recorded import HEADER, RecordedMarket

DAY_MS = 86_400_000
COLUMNS = HEADER.decode()
LINE = f"{DAY_MS},1,2,0.5,1.5,10,{2 * DAY_MS - 1},,,,,0"
FAR_FUTURE_MS = 10**15


def make(folder, *lines, header=COLUMNS):
    path = folder / "1d" / "AAAUSDT.csv.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress("\n".join([header, *lines]).encode()))
    return RecordedMarket(folder)


def test_a_missing_quote_volume_is_estimated_and_counts_are_zero(tmp_path):
    series = make(tmp_path, LINE).series("AAAUSDT", "1d")
    candle = series.candle(0, FAR_FUTURE_MS)
    assert candle.is_estimated
    assert candle.quote_volume == 10 * (1 + 2 + 0.5 + 1.5) / 4
    assert (candle.trades, candle.taker_buy_volume, candle.taker_buy_quote_volume) == (0, 0, 0)


def test_a_recorded_quote_volume_is_served_as_it_is(tmp_path):
    line = f"{DAY_MS},1,2,0.5,1.5,10,{2 * DAY_MS - 1},13.5,4,5,6.5,0"
    candle = make(tmp_path, line).series("AAAUSDT", "1d").candle(0, FAR_FUTURE_MS)
    assert not candle.is_estimated
    assert candle[7:11] == (13.5, 4, 5, 6.5)


def test_a_folder_without_daily_candles_is_named(tmp_path):
    with pytest.raises(InputError, match=f"no daily candles in {tmp_path}: use the folder"):
        RecordedMarket(tmp_path)


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        ([LINE], "time,price", "does not start with the columns open_time,"),
        ([LINE, LINE], COLUMNS, "open time 86400000 is out of order"),
        ([LINE.replace("86400000", "86400001", 1)], COLUMNS, "not on the 1d grid"),
        (["soon,1"], COLUMNS, "not a readable .csv.gz of candles"),
    ],
)
def test_a_file_that_is_not_of_candles_is_named(tmp_path, lines, header, message):
    market = make(tmp_path, *lines, header=header)
    with pytest.raises(InputError, match=r"AAAUSDT\.csv\.gz") as raised:
        market.series("AAAUSDT", "1d")
    assert message in str(raised.value)


def test_a_file_that_is_not_compressed_is_named(tmp_path):
    market = make(tmp_path, LINE)
    (tmp_path / "1d" / "AAAUSDT.csv.gz").write_text("plain")
    with pytest.raises(InputError, match="not a readable"):
        market.series("AAAUSDT", "1d")


def test_a_row_without_a_price_is_shown(tmp_path):
    series = make(tmp_path, LINE.replace(",2,", ",,")).series("AAAUSDT", "1d")
    with pytest.raises(InputError, match=r"cannot read the candle b'86400000,1,,0\.5"):
        series.candle(0, FAR_FUTURE_MS)


def test_intervals_are_those_of_the_folder_and_what_they_add_up_to(folder):
    market = RecordedMarket(folder)
    assert market.intervals == ("1h", "4h", "1d", "1w")
    assert market.symbols() == ["AAAUSDT", "BBBUSDT", "CCCUSDT"]
    assert market.series("BBBUSDT", "1h") is None
    assert market.series("BBBUSDT", "4h") is None
    four_hours = market.series("AAAUSDT", "4h")
    assert len(four_hours.opens) == 12
    assert four_hours.candle(0, FAR_FUTURE_MS)[1:6] == (100, 107, 98, 104, 41)
