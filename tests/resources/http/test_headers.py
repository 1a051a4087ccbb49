"""What headers say, and what of it is believed."""

from datetime import UTC, datetime, timedelta

import pytest

from resources.http.headers import LONGEST_SILENCE, date_of, retry_after, whole_number

NOW = "Sat, 30 Dec 2023 00:05:09 GMT"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("0042", 42),
        ("999999999", 999_999_999),
        ("1000000000", None),
        ("9" * 5000, None),
        ("²", None),
        ("٣", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("1_000", None),
        (" 1", None),
        ("1\n", None),
        ("", None),
        ("7, 7", None),
    ],
)
def test_whole_numbers(text, number):
    assert whole_number({"N": text}, "N") == number
    assert whole_number({}, "N") is None


@pytest.mark.parametrize("header", ["", "yesterday", "Mon, 32 Jan 2024 00:00:00 GMT"])
def test_unreadable_dates(header):
    assert date_of({"Date": header}) is None
    assert date_of({}) is None


def test_a_readable_date():
    assert date_of({"Date": NOW}) == datetime(2023, 12, 30, 0, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        ("Sat, 30 Dec 2023 00:06:09 GMT", 60),
        ("Sat, 30 Dec 2023 00:05:09 GMT", None),
        ("Fri, 29 Dec 2023 00:05:09 GMT", None),
        ("0", None),
        ("999999999", LONGEST_SILENCE.total_seconds()),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_SILENCE.total_seconds()),
        ("99999999999999", None),
        ("²", None),
        ("soon", None),
    ],
)
def test_how_long_to_be_silent(text, seconds):
    found = retry_after({"Retry-After": text, "Date": NOW})
    assert found == (None if seconds is None else timedelta(seconds=seconds))


def test_a_date_to_be_silent_until_is_compared_with_our_clock_where_theirs_is_unknown():
    until = datetime.now(UTC) + timedelta(hours=1)
    found = retry_after({"Retry-After": f"{until:%a, %d %b %Y %H:%M:%S} GMT"})
    assert timedelta(minutes=59) < found <= timedelta(hours=1)
