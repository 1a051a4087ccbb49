from datetime import UTC, datetime

import pytest

from autonama_dagster.errors import InputError
from autonama_dagster.replay.clock import Clock, parse_instant

MIDNIGHT_MS = 1_703_894_400_000


class Wall:
    seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.mark.parametrize(
    "text",
    ["2023-12-30", "2023-12-30T00:00:00Z", "2023-12-30T00:00:00", "2023-12-30T02:00:00+02:00"],
)
def test_an_instant_is_utc_whatever_its_offset(text):
    assert parse_instant(text) == datetime(2023, 12, 30, tzinfo=UTC)


def test_an_unreadable_instant_is_named():
    with pytest.raises(InputError, match="'tomorrow': write it like 2023-12-30T00:05:00Z"):
        parse_instant("tomorrow")


def test_a_frozen_clock_stands_still_until_it_is_set():
    wall = Wall()
    clock = Clock("2023-12-30", wall=wall)
    wall.seconds += 60
    assert clock.now_ms() == MIDNIGHT_MS
    clock.set(datetime(2023, 12, 30, 0, 5))  # noqa: DTZ001  # naive means UTC
    assert clock.now_ms() == MIDNIGHT_MS + 300_000


def test_a_ticking_clock_runs_from_where_it_was_set():
    wall = Wall()
    clock = Clock("2023-12-30", ticking=True, wall=wall)
    wall.seconds += 60
    assert clock.now_ms() == MIDNIGHT_MS + 60_000
    clock.set("2023-12-30T00:10:00Z")
    wall.seconds += 1
    assert clock.now_ms() == MIDNIGHT_MS + 601_000


def test_without_an_instant_the_clock_is_the_machines():
    wall = Wall()
    assert Clock(wall=wall).now_ms() == 1_000_000
