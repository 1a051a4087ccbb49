"""Stages as they are declared: which exchange they take, and the pool that follows from it."""

from datetime import date

import dagster as dg
import pytest

from assets.partitions import build_partitions
from assets.stage import stage
from autonama_dagster.schemas.tables.market import OHLCV_1D


@pytest.fixture(autouse=True)
def two_exchanges(monkeypatch):
    monkeypatch.setattr("assets.stage.EXCHANGES", dict.fromkeys(("binance", "other")))


def test_a_stage_is_in_the_pool_of_the_exchange_that_it_takes():
    @stage("market", OHLCV_1D, "symbol", job="history_job")
    def ours(context: dg.AssetExecutionContext, binance: dg.ResourceParam[object]) -> None:
        """One."""

    @stage("market", OHLCV_1D, "symbol", job="history_job")
    def theirs(context: dg.AssetExecutionContext, other: dg.ResourceParam[object]) -> None:
        """Other."""

    @stage("market", OHLCV_1D, "symbol", job="history_job")
    def nobodys(context: dg.AssetExecutionContext) -> None:
        """None."""

    partitions = build_partitions(date(2024, 1, 1))
    built = {s.name: s.build(partitions) for s in (ours, theirs, nobodys)}
    assert {name: made.op.pool for name, made in built.items()} == {
        "ours": "binance", "theirs": "other", "nobodys": None,
    }  # fmt: skip
    assert "other" in built["theirs"].required_resource_keys


def test_a_stage_cannot_hold_two_pools():
    @stage("market", OHLCV_1D, "symbol", job="history_job")
    def both(
        context: dg.AssetExecutionContext,
        binance: dg.ResourceParam[object],
        other: dg.ResourceParam[object],
    ) -> None:
        """Both."""

    with pytest.raises(ValueError, match="stage both takes binance and other: make two stages"):
        both.build(build_partitions(date(2024, 1, 1)))
