import datetime as dt

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from autonama_dagster.reports.charts import style
from autonama_dagster.reports.charts.scan import scan_summary
from autonama_dagster.text.labels import counted

MINUS = "\N{MINUS SIGN}"
DAY = dt.date(2023, 12, 9)
EXPECTED = {"expected_buy_signals": 0.44, "expected_sell_signals": 1.25}
SCORES = {"AUSDT": 0.5, "BUSDT": -2.5, "CUSDT": 2.25, "DUSDT": -1.0, "EUSDT": None, "FUSDT": -3.0}


def bars(figure):
    """(height, colour) of the bars from left to right."""
    (collection,) = (c for c in figure.axes[0].collections if isinstance(c, LineCollection))
    heights = [segment[1][1] for segment in collection.get_segments()]
    return heights, [to_hex(c).upper() for c in collection.get_colors()]


def names_left_to_right(figure):
    found = [t for t in figure.axes[0].texts if t.get_rotation() == 90]
    return [t.get_text() for t in sorted(found, key=lambda t: t.xy[0])]


def count_of(drawn, caption):
    """The key figure below its caption."""
    at = {t.get_text(): t.get_position() for t in drawn.figure.texts}
    x = at[caption][0]
    (value,) = (
        t.get_text()
        for t in drawn.figure.texts
        if t.get_position()[0] == x and t.get_fontsize() == 16
    )
    return int(value)


def test_members_stand_in_order_of_their_z_score_coloured_by_signal(drawn, make_signals):
    scan_summary(make_signals(SCORES), date=DAY, kstd=2.0, expected=EXPECTED)
    heights, colours = bars(drawn.figure)
    assert heights == [-3.0, -2.5, -1.0, 0.5, 2.25]
    assert colours == [style.BUY, style.BUY, style.NEUTRAL, style.NEUTRAL, style.SELL]
    assert names_left_to_right(drawn.figure) == ["F", "B", "D", "A", "C"]


@pytest.mark.parametrize("kstd", [1.5, 3.0])
def test_the_channel_edges_lie_at_kstd(drawn, make_signals, kstd):
    scan_summary(make_signals(SCORES), date=DAY, kstd=kstd, expected=EXPECTED)
    dashed = [line for line in drawn.figure.axes[0].lines if line.get_linestyle() != "-"]
    assert sorted(line.get_ydata()[0] for line in dashed) == [-kstd, kstd]
    assert f"SELL above\n+{kstd:g}" in drawn.words()
    assert f"BUY below\n{MINUS}{kstd:g}" in drawn.words()


def test_counts_keep_insufficient_data_and_no_data_apart_from_hold(drawn, make_signals):
    signals = make_signals(SCORES | {"GUSDT": None})
    signals.loc[signals["symbol"] == "GUSDT", "status"] = "NO_DATA"
    scan_summary(signals, date=DAY, kstd=2.0, expected=EXPECTED)
    counts = ("BUY", 2), ("SELL", 1), ("HOLD", 2), ("INSUFFICIENT_DATA", 1), ("NO_DATA", 1)
    assert [(name, count_of(drawn, name)) for name, _ in counts] == list(counts)
    assert "Without a channel: E, G." in drawn.words()
    assert "2023-12-09 UTC, 7 members" in drawn.words()


def test_quarantined_members_are_counted_where_there_are_some(drawn, make_signals):
    signals = make_signals(SCORES | {"GUSDT": None})
    signals.loc[signals["symbol"] == "GUSDT", "status"] = "QUARANTINED"
    scan_summary(signals, date=DAY, kstd=2.0, expected=EXPECTED)
    assert count_of(drawn, "QUARANTINED") == 1
    assert count_of(drawn, "NO_DATA") == 0
    scan_summary(make_signals(SCORES), date=DAY, kstd=2.0, expected=EXPECTED)
    assert "QUARANTINED" not in drawn.words()


def test_tables_list_the_strongest_first_then_the_deepest_then_by_name(drawn, make_signals):
    scores = {"AUSDT": -2.5, "BUSDT": -4.5, "CUSDT": -4.6, "DUSDT": -4.5}
    scan_summary(
        make_signals(scores), date=DAY, kstd=2.0, expected=EXPECTED
    )  # B, C, D have strength 60
    rows = [t for t in drawn.figure.texts if t.get_text().removesuffix("USDT") in "ABCD"]
    ordered = sorted(rows, key=lambda t: -t.get_position()[1])
    assert [t.get_text()[0] for t in ordered] == ["C", "B", "D", "A"]
    assert "Strongest BUY signals (4 of 4)" in drawn.words()


def test_a_table_row_names_only_what_agrees_with_the_signal(drawn, make_signals):
    scan_summary(make_signals({"AUSDT": -2.5}), date=DAY, kstd=2.0, expected=EXPECTED)
    assert "RSI, volume" in drawn.words().split("\n")
    scan_summary(make_signals({"AUSDT": 2.5}), date=DAY, kstd=2.0, expected=EXPECTED)
    assert "MACD, volume" in drawn.words().split("\n")


def test_tables_hold_eight_rows_and_say_how_many_there_are(drawn, make_signals):
    scores = {f"S{i:02}USDT": 2.1 + i / 10 for i in range(20)}
    scan_summary(make_signals(scores), date=DAY, kstd=2.0, expected=EXPECTED)
    assert "Strongest SELL signals (8 of 20)" in drawn.words()
    assert "No BUY signals on this day." in drawn.words()


def test_an_outlier_leaves_the_others_their_height_and_keeps_its_number(drawn, make_signals):
    scan_summary(make_signals(SCORES | {"LUNAUSDT": -15.2}), date=DAY, kstd=2.0, expected=EXPECTED)
    low, high = drawn.figure.axes[0].get_ylim()
    heights, _ = bars(drawn.figure)
    assert high == -low < 7
    assert low < heights[0] < -4
    assert f"{MINUS}15.2" in names_left_to_right(drawn.figure)


@pytest.mark.parametrize("scores", [{}, {"AUSDT": None}])
def test_a_day_without_channels_says_so(drawn, make_signals, scores):
    scan_summary(make_signals(scores), date=DAY, kstd=2.0, expected=EXPECTED)
    words = drawn.words()
    assert "No members with a channel on this day." in words
    assert f"2023-12-09 UTC, {counted(len(scores), 'member')}, daily" in words
    assert "No BUY signals on this day." in words
    assert "No SELL signals on this day." in words


def test_a_day_without_signals_still_shows_every_member(drawn, make_signals):
    scan_summary(make_signals({"AUSDT": 0.5, "BUSDT": -1.0}), date=DAY, kstd=2.0, expected=EXPECTED)
    assert names_left_to_right(drawn.figure) == ["B", "A"]
    assert count_of(drawn, "BUY") == count_of(drawn, "SELL") == 0


@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_100_members_have_labels_apart_on_the_page_in_70_kb(drawn, make_signals, spread):
    random = np.random.default_rng(5)
    scores = {f"COIN{i:02}USDT": s for i, s in enumerate(random.normal(0, spread, 96))}
    signals = make_signals(scores | {f"YOUNG{i}USDT": None for i in range(20)})
    signals["close"] = 0.00000123456
    signals["target_return_pct"] = 88_725_079.0
    png = scan_summary(
        signals, date=DAY, kstd=2.0, expected=EXPECTED, source_label="replay-estimated"
    )
    assert len(names_left_to_right(drawn.figure)) >= 96
    assert drawn.overlapping() == []
    assert drawn.outside() == []
    assert "and 6 more." in drawn.words()
    assert len(png) <= 70_000


def test_more_members_than_fit_have_bars_without_names(drawn, make_signals):
    random = np.random.default_rng(6)
    scores = {f"C{i:03}USDT": s for i, s in enumerate(random.normal(0, 1, 300))}
    scan_summary(make_signals(scores), date=DAY, kstd=2.0, expected=EXPECTED)
    assert len(bars(drawn.figure)[0]) == 300
    assert names_left_to_right(drawn.figure) == []


def test_counts_say_what_chance_would_bring(drawn, make_signals):
    scan_summary(make_signals(SCORES), date=DAY, kstd=2.0, expected=EXPECTED)
    at = {t.get_text(): t.get_position() for t in drawn.figure.texts}
    assert at["0.4 by chance"][0] == at["BUY"][0]
    assert at["1.2 by chance"][0] == at["SELL"][0]
    assert drawn.overlapping() == []


def test_what_chance_would_bring_is_left_out_where_it_is_unknown(drawn, make_signals):
    nothing = dict.fromkeys(EXPECTED)
    scan_summary(make_signals(SCORES), date=DAY, kstd=2.0, expected=nothing)
    assert " by chance" not in drawn.words()
