"""One look at the exchange: its time and weight, or why there is none and how long to leave it."""

from datetime import timedelta

import pytest
from servers import synthetic_market

from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.settings import load_settings
from resources.exchange.pulse import NoPulseError, Pulse, check_exchange
from resources.http.headers import LONGEST_SILENCE

MINUTE = timedelta(minutes=1)


@pytest.fixture
def settings(server):
    return load_settings(exchange_url=f"{server.url}/")


def test_time_and_weight_of_the_replay_exchange():
    with ReplayServer(synthetic_market(7), now="2024-03-11T00:05:00Z") as exchange:
        settings = load_settings(exchange_url=exchange.url)
        pulses = [check_exchange(settings) for _ in range(2)]
    assert f"{pulses[0].now:%Y-%m-%d %H:%M}" == "2024-03-11 00:05"
    assert pulses[1].used_weight == pulses[0].used_weight + 1


def test_an_exchange_that_counts_no_weight(settings, server):
    assert check_exchange(settings) == Pulse(server.now, None)


@pytest.mark.parametrize(
    ("status", "headers", "silence"),
    [
        (503, {}, MINUTE),
        (429, {"Retry-After": "5"}, MINUTE),
        (429, {"Retry-After": "300"}, timedelta(minutes=5)),
        (418, {"Retry-After": "7200"}, timedelta(hours=2)),
        (418, {}, timedelta(hours=1)),
        (418, {"Retry-After": "999999999"}, LONGEST_SILENCE),
        (429, {"Retry-After": "²"}, MINUTE),
    ],
)
def test_a_refusal_says_how_long_to_be_silent(settings, server, reply, status, headers, silence):
    server.queue("time", reply(status, b"{}", headers))
    with pytest.raises(NoPulseError, match=f"127.0.0.1:[0-9]+ returned HTTP {status}") as refused:
        check_exchange(settings)
    assert refused.value.wait == silence


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"serverTime": "soon"}',
        b'{"serverTime": 1e30}',
        b'{"serverTime": 1710115500}',  # seconds: a day of 1970
        b'{"serverTime": "1710115500000"}',
        b"[" * 60_000,
    ],
)
def test_nonsense(settings, server, reply, body):
    server.queue("time", reply(body=body))
    with pytest.raises(NoPulseError, match="sent an unusable response"):
        check_exchange(settings)


def test_no_answer(settings, server, reply):
    server.queue("time", reply(hangs=True))
    with pytest.raises(NoPulseError, match="took longer than"):
        check_exchange(settings, seconds=0.5)
    server.queue("time", reply(body=b"{", breaks_off=True))
    with pytest.raises(NoPulseError, match="was cut off"):
        check_exchange(settings)


def test_a_login_in_the_url_stays_out_of_the_message():
    settings = load_settings(exchange_url="http://me:hush@127.0.0.1:9")
    with pytest.raises(NoPulseError) as failed:
        check_exchange(settings)
    assert "hush" not in str(failed.value)
