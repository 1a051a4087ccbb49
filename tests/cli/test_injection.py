"""What a user types is never SQL."""

import psycopg
import pytest

from resources.postgres.urls import libpq_url

HOSTILE = ("BTC'; DROP TABLE trading.signals;--", "' OR '1'='1", '"; DROP SCHEMA trading;--')


def counts(url):
    with psycopg.connect(libpq_url(url)) as connection:
        return connection.execute(
            "SELECT (SELECT count(*) FROM trading.signals), (SELECT count(*) FROM trading.ohlcv_1d)"
        ).fetchone()


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "command",
    [
        ("scan", "--symbols"),
        ("show", "signals", "--symbols"),
        ("retire",),
        ("show", "signals", "--date"),
        ("show",),
        ("db", "reader", "--name"),
    ],
    ids=" ".join,
)
def test_typed_text_is_a_value(run, day, command, text):
    before = counts(day.url)
    assert before[0] == 6
    ended = run(*command, text)
    assert ended.code in {0, 1, 2}
    assert "Traceback" not in ended.err
    assert "syntax" not in ended.err
    assert "unexpected" not in ended.err
    if ended.code == 0:
        assert "BTCUSDT" not in ended.out, "it matched everything"
    assert counts(day.url) == before
