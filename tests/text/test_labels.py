"""Words for people: one name for one figure, and a number with what it counts."""

import pytest

from autonama_dagster.text.labels import counted


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (1234, ("row",), "1,234 rows"),
        (1, ("process", "processes"), "1 process"),
        (2, ("process", "processes"), "2 processes"),
    ],
)
def test_a_number_of_things(number, words, text):
    assert counted(number, *words) == text
