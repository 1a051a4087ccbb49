import pytest

from autonama_dagster.replay.limits import WeightLimiter, request_weight


class Wall:
    seconds = 6000.0  # the beginning of a minute

    def __call__(self):
        return self.seconds


@pytest.fixture
def wall():
    return Wall()


@pytest.mark.parametrize(
    ("endpoint", "one", "every"),
    [
        ("ping", 1, 1),
        ("time", 1, 1),
        ("exchangeInfo", 20, 20),
        ("klines", 2, 2),
        ("ticker/24hr", 2, 80),
        ("ticker/price", 2, 4),
    ],
)
def test_weights_are_binances(endpoint, one, every):
    assert request_weight(endpoint, has_symbol=True) == one
    assert request_weight(endpoint, has_symbol=False) == every


def test_the_budget_is_refused_when_exceeded_and_back_with_the_next_minute(wall):
    limiter = WeightLimiter(limit=10, wall=wall)
    assert limiter.charge(10).status == 200
    wall.seconds += 15
    refused = limiter.charge(1)
    assert (refused.status, refused.used, refused.retry_after) == (429, 11, 46)
    wall.seconds += 45
    again = limiter.charge(10)
    assert (again.status, again.used) == (200, 10)


def test_continued_abuse_is_banned_until_the_ban_ends(wall):
    limiter = WeightLimiter(limit=1, patience=2, ban_seconds=120, wall=wall)
    statuses = [limiter.charge(1).status for _ in range(4)]
    assert statuses == [200, 429, 429, 418]
    wall.seconds += 100
    banned = limiter.charge(1)
    assert (banned.status, banned.retry_after) == (418, 21)
    assert banned.banned_until_ms == 6_120_000
    wall.seconds += 20
    assert limiter.charge(0).status == 200
