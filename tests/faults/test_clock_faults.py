"""Clocks: the exchange's is wrong, or passes midnight while we ask."""

from datetime import timedelta

import pandas as pd
from fault_support import DAY, NOW

from autonama_dagster.errors import ExchangeError
from autonama_dagster.schemas.registry import TABLES


def test_server_time_ahead_of_a_forming_candle(stage):
    stage.server.set_now("2023-12-29T23:30:00Z")
    for seconds in (2400, 90_000):
        stage.server.faults.add(f"clock:seconds={seconds}")
        stage.fails("no pair can be ranked on 2023-12-29", ExchangeError)
        assert stage.holds_nothing()
        stage.server.faults.replace()
    stage.server.set_now(NOW)
    stage.scan()
    stage.check_complete()


def test_server_time_behind(stage):
    stage.server.faults.add("clock:seconds=-600")
    stage.fails("no pair can be ranked on 2023-12-29", ExchangeError)
    assert stage.holds_nothing()
    stage.server.faults.replace()
    stage.scan()
    stage.check_complete()


def test_clock_jump_across_midnight(stage, monkeypatch):
    """Midnight passes between the requests of one scan of the day before."""
    stage.server.set_now("2023-12-29T23:59:59.900Z")
    hit = stage.server.faults.hit
    seen = []

    def hit_and_pass_midnight(endpoint, params):
        seen.append(endpoint)
        if seen.count("klines") == 2:
            stage.server.clock.set(NOW)
        return hit(endpoint, params)

    monkeypatch.setattr(stage.server.faults, "hit", hit_and_pass_midnight)
    before = DAY - timedelta(days=1)
    settings = stage.project.settings
    stage.project.settings = settings.model_copy(update={"start_date": before})
    try:
        stage.scan(day=before)
        assert seen.count("klines") > 2
        for name in TABLES:
            frame = stage.warehouse.read(name)
            if "date" in frame:
                assert (frame["date"] <= pd.Timestamp(before)).all(), name
    finally:
        stage.project.settings = settings
    stage.scan()
    assert set(stage.warehouse.read("signals")["date"]) == {
        pd.Timestamp(before), pd.Timestamp(DAY)
    }  # fmt: skip
    found = stage.project.tables()
    for name in ("indicators", "regression_bands", "signals", "alerts", "correlation_matrix"):
        of_day = found[name].query("date == @DAY").reset_index(drop=True)
        pd.testing.assert_frame_equal(of_day, stage.expected[name], check_exact=True, obj=name)
    candles = found["ohlcv_1d"].query("date >= @pd.Timestamp('2023-11-20')")["row_hash"]
    assert candles.tolist() == stage.expected["ohlcv_1d"]["row_hash"].tolist()
    stage.clear()
