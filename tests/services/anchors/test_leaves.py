"""What was known of a symbol's day at a moment, as the check of anchors compares it."""

from datetime import UTC, datetime, timedelta

from autonama_dagster.services.anchors.leaves import Version, leaves_at
from autonama_dagster.services.anchors.merkle import leaf

NOW = datetime(2024, 1, 2, 0, 5, tzinfo=UTC)
LATER, ALWAYS = NOW + timedelta(hours=1), datetime.max.replace(tzinfo=UTC)


def test_a_replaced_candle_is_what_was_known_before():
    versions = [Version(1, LATER, ALWAYS, b"new"), Version(1, NOW, LATER, b"old")]
    assert list(leaves_at(versions, NOW)) == [leaf([b"old"])]
    assert list(leaves_at(versions, LATER)) == [leaf([b"new"])]


def test_candles_are_in_the_order_of_their_steps_and_later_ones_are_left_out():
    versions = [Version(n, NOW, ALWAYS, b"%d" % n) for n in (3, 1)]
    versions.append(Version(2, LATER, ALWAYS, b"2"))
    assert list(leaves_at(versions, NOW)) == [leaf([b"1", b"3"])]
    assert list(leaves_at(versions, LATER)) == [leaf([b"1", b"2", b"3"])]


def test_a_version_that_was_known_for_no_time_may_have_been_anchored():
    versions = [Version(1, NOW, ALWAYS, b"new"), Version(1, NOW, NOW, b"old")]
    assert list(leaves_at(versions, NOW)) == [leaf([b"new"]), leaf([b"old"])]
