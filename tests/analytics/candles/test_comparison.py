"""Cells that differ, and those that differ as another platform rounds."""

import numpy as np
import pandas as pd
import pytest

from autonama_dagster.analytics.candles.comparison import differences

KEY = ["symbol"]


def frame(**columns):
    return pd.DataFrame({"symbol": ["A", "B"], **columns}).astype({"symbol": "str"})


def compared(stored, expected, **options):
    found = differences(stored, expected, KEY, **options)
    return [tuple(row) for row in found[["symbol", "column", "is_close"]].to_numpy()]


def test_equal_frames_differ_nowhere():
    one = frame(x=[1.0, np.nan], n=[1, 2], t=pd.Series(["a", None], dtype="str"))
    assert compared(one, one.iloc[::-1]) == []


@pytest.mark.parametrize(
    ("stored", "now", "is_close"),
    [
        (1.0, 1.0 + 1e-12, True),
        (1.0, 1.0 + 1e-6, False),
        (8e-6, 8e-6 * (1 + 1e-6), False),  # a price of many zeros is no rounding error
        (8e-6, 8e-6 * (1 + 1e-10), True),
        (0.0, 1e-16, True),  # what is left of larger numbers
        (1.0, np.nan, False),
    ],
)
def test_close_is_relative_to_the_number(stored, now, is_close):
    assert compared(frame(x=[stored, 1]), frame(x=[now, 1])) == [("A", "x", is_close)]


def test_money_is_compared_as_the_table_rounds_it():
    one, other = frame(price=[0.1, 1.0]), frame(price=[0.1 + 5e-19, 1.0])
    assert compared(one, other, money=["price"]) == []
    assert compared(one, frame(price=[0.1, 1.0 + 1e-15]), money=["price"]) == [
        ("B", "price", True),
    ]


@pytest.mark.parametrize(
    ("stored", "now", "expected"),
    [
        ('{"a": 1.5, "b": [1, null]}', '{"b":[1,null],"a":1.5}', []),
        ('{"a": 1.5}', '{"a":1.5000000000000002}', [("A", "doc", True)]),
        ('{"a": 1.5}', '{"a":1.6}', [("A", "doc", False)]),
        ('{"a": 1.5}', '{"a":1.5,"b":2}', [("A", "doc", False)]),
        ('{"a": 1.5}', '{"a":1.5,"b":null}', [("A", "doc", False)]),
        ('{"a": [1, 2]}', '{"a":[1]}', [("A", "doc", False)]),
        ('{"a": "x"}', None, [("A", "doc", False)]),
        (None, None, []),
    ],
)
def test_json_is_compared_by_what_it_says(stored, now, expected):
    one, other = (frame(doc=pd.Series([text, "{}"], dtype="str")) for text in (stored, now))
    assert compared(one, other, json_columns=["doc"]) == expected


def test_lists_are_compared_item_by_item():
    one, other = frame(names=[["x"], []]), frame(names=[["x", "y"], []])
    assert compared(one, other) == [("A", "names", False)]


def test_a_row_of_one_frame_only_is_one_difference():
    one = frame(x=[1.0, 2.0])
    assert compared(one, one.iloc[:1]) == [("B", "row", False)]
    assert compared(one.iloc[:1], one) == [("B", "row", False)]
