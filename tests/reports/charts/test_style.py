import io
import math
import struct
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autonama_dagster.reports.charts import style

DASH = "\N{EN DASH}"


def draw(page):
    page.title("A title", "a subtitle")
    axes = page.axes(60, 80, 300, 200)
    axes.plot([0, 1, 2], [1, 3, 2])
    axes.set_xlabel("x")
    page.footer("small print")


def chunks(png):
    """Types of a PNG's chunks in order."""
    at, found = 8, []
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append(png[at + 4 : at + 8].decode())
        at += length + 12
    return found


def test_a_picture_has_the_size_asked_for_and_no_date_or_software_in_it():
    png = style.render(400, 320, draw, None)
    assert Image.open(io.BytesIO(png)).size == (400, 320)
    assert set(chunks(png)) == {"IHDR", "PLTE", "IDAT", "IEND"}


def test_the_process_rcparams_neither_reach_a_picture_nor_are_changed_by_it():
    expected = style.render(400, 320, draw, None)
    theirs = {"font.size": 31.0, "axes.facecolor": "red", "lines.linewidth": 9.0, "axes.grid": True}
    with mpl.rc_context(theirs):
        assert style.render(400, 320, draw, None) == expected
        assert {name: mpl.rcParams[name] for name in theirs} == theirs


def test_threads_get_the_same_bytes_and_leave_the_rcparams_as_they_were():
    expected = style.render(400, 320, draw, None)
    with mpl.rc_context({"font.size": 31.0, "axes.grid": False}):
        before = dict(mpl.rcParams)
        with ThreadPoolExecutor(4) as pool:
            found = set(pool.map(lambda _: style.render(400, 320, draw, None), range(12)))
        assert dict(mpl.rcParams) == before
    assert found == {expected}


@pytest.mark.parametrize("label", ["synthetic", "SYNTHETIC MARKET: made-up data"])
def test_a_synthetic_market_says_so_in_a_banner_and_a_watermark(drawn, label):
    png = style.render(400, 320, draw, label)
    assert Image.open(io.BytesIO(png)).size == (400, 350)
    said = [t for t in drawn.texts() if "SYNTHETIC MARKET" in t.get_text()]
    assert len(said) == 2
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    red, _, blue = pixels[2:28].reshape(-1, 3).T
    assert np.mean(red - blue > 100) > 0.5  # the banner is a coloured bar across the page
    red, _, blue = pixels[60:].reshape(-1, 3).T
    assert np.mean(red - blue > 15) > 0.02  # the watermark lies over the page


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("binance", "Source: Binance API"),
        ("archive", "Source: Binance public archive"),
        ("replay-recorded", "Source: replay of recorded candles"),
        ("replay-estimated", "Source: replay of recorded candles, quote volume estimated"),
        ("somewhere else", "Source: somewhere else"),
    ],
)
def test_another_source_is_named_in_the_footer(drawn, label, text):
    style.render(400, 320, draw, label)
    assert text in drawn.words().split("\n")
    assert "SYNTHETIC" not in drawn.words()


def test_without_a_label_no_source_is_named(drawn):
    style.render(400, 320, draw, None)
    assert "Source" not in drawn.words()


@given(
    st.lists(st.floats(-0.5, 1.5), max_size=8).map(sorted),
    st.floats(0.01, 0.12),
)
def test_tags_stay_in_order_inside_and_apart(wanted, gap):
    places = style._apart(wanted, gap)
    assert len(places) == len(wanted)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(places))
    assert all(-1e-9 <= p <= 1 for p in places)


def test_tags_with_room_stay_where_they_belong():
    assert style._apart([0.1, 0.5, 0.9], 0.1) == [0.1, 0.5, 0.9]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (67525.83, "67,525.83"),
        (42.0, "42.00"),
        (1.23456, "1.2346"),
        (0.5, "0.50"),
        (0.00000852, "0.00000852"),
        (0.0000007700, "0.00000077"),
        (1.5e-13, "1.5e-13"),
        (0.0, "0"),
        (-1.5, "-1.50"),
        (math.nan, DASH),
    ],
)
def test_price(value, text):
    assert style.price(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(950, "950"), (12_500, "12.5 k"), (3.2e6, "3.2 M"), (1.1e9, "1.1 B"), (4e13, "40 T")],
)
def test_amount(value, text):
    assert style.amount(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.34, "+12.3 %"),
        (-3.0, "\N{MINUS SIGN}3.0 %"),
        (88_725_079.8, "+88.73 M %"),
        (math.nan, DASH),
    ],
)
def test_percent(value, text):
    assert style.percent(value) == text


@pytest.mark.parametrize("value", [None, math.nan, np.float64("nan")])
def test_null_is_no_number(value):
    assert math.isnan(style.number({"x": value}, "x"))
