"""The user's own lists: pairs that are always members, and pairs that never are."""

from contextlib import closing
from datetime import date

import fault_support
import pytest
from projects import project
from servers import synthetic_market

from autonama_dagster.errors import AutonamaError, ExchangeError
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.services.inputs.required import read_required
from autonama_dagster.services.scan.results import stored_result
from autonama_dagster.services.scan.what_if import what_if
from autonama_dagster.services.verification.parts import parts_of, verify
from resources.exchange.build import build_exchange
from resources.exchange.memo import MemoExchange

DAY = date(2024, 2, 29)
SETTINGS = {"start_date": "2024-02-29", "universe_size": "4", "lookback": "200"}


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    """A project whose day was stored without lists, and then with them."""
    with (
        ReplayServer(synthetic_market(5), now="2024-03-01T00:05:00Z") as server,
        project(tmp_path_factory.mktemp("lists"), postgres, server.url, **SETTINGS) as found,
    ):
        found.scanner().scan(DAY)
        found.before = found.warehouse.read("universe").set_index("symbol")
        found.ranking = found.before.sort_values("rank").index.tolist()
        found.stable = found.before.index[found.before["exclusion_reason"] == "stable"][0]
        own, out = (found.ranking[6], found.stable), (found.ranking[0],)
        found.settings = found.settings.model_copy(update={"symbols": own, "exclude": out})
        found.jobs = [r.step.job for r in found.scanner().scan(DAY)]
        yield found


def ask(opened, **changes):
    settings = opened.settings.model_copy(update=changes)
    with closing(MemoExchange(build_exchange(settings))) as exchange:
        return what_if(settings, DAY, None, exchange=exchange, warehouse=opened.warehouse)


def members_of(signals):
    return set(signals.loc[signals["is_member"].astype(bool), "symbol"])


def test_a_day_stored_with_other_lists_is_ranked_and_decided_again(opened):
    ranking, wanted = opened.ranking, {*opened.ranking[1:5], opened.ranking[6], opened.stable}
    assert opened.jobs[0] == "universe_job"
    universe = opened.warehouse.read("universe").set_index("symbol")
    assert set(universe.index[universe["is_member"]]) == wanted
    assert universe.loc[ranking[0], "exclusion_reason"] == "excluded"
    assert universe.loc[ranking[1:7], "rank"].tolist() == [1, 2, 3, 4, 5, 6]
    result = stored_result(opened.warehouse, opened.settings, DAY)
    assert members_of(result.signals) == wanted
    assert result.summary["total_assets_analyzed"] == 6
    assert result.parameters["symbols"] == [ranking[6], opened.stable]
    pairs = opened.warehouse.read("correlation_matrix")
    assert {*pairs["symbol_a"], *pairs["symbol_b"]} == wanted


def test_a_second_scan_has_nothing_to_do_and_every_row_is_proved(opened):
    assert opened.scanner().scan(DAY) == []
    parts = parts_of(read_required(opened.warehouse, opened.settings, DAY, DAY))
    found = verify(parts, opened.settings, opened.warehouse)
    assert {part.table: part.rows_of() for part in found if part.rows_of()} == {}
    assert sum(part.rows for part in found) > 30


def test_a_what_if_of_the_ranking_has_the_same_members(opened):
    assert members_of(ask(opened, degree=3).signals) == members_of(opened.warehouse.read("signals"))


def test_a_what_if_with_other_lists_is_ranked_anew(opened):
    result = ask(opened, symbols=(), exclude=(), degree=3)
    assert members_of(result.signals) == set(opened.ranking[:4])


@pytest.mark.parametrize("name", ["symbols", "exclude"])
def test_a_pair_nobody_knows_is_one_line(opened, name):
    known = opened.settings
    opened.settings = known.model_copy(update={name: ("NOPEUSDT",)})
    try:
        with pytest.raises(AutonamaError, match=f"AUTONAMA_{name.upper()} contains NOPEUSDT") as e:
            opened.scanner().scan(DAY)
    finally:
        opened.settings = known
    assert "\n" not in str(e.value)


@pytest.fixture(scope="module")
def alone(postgres, tmp_path_factory):
    """A project whose lists leave one pair of three."""
    settings = fault_support.SETTINGS | {"exclude": "ETHUSDT,SOLUSDT"}
    market = fault_support.small_market(tmp_path_factory.mktemp("market"))
    with (
        ReplayServer(market, now=fault_support.NOW) as server,
        project(tmp_path_factory.mktemp("alone"), postgres, server.url, **settings) as found,
    ):
        found.scanner().scan(fault_support.DAY)
        yield found


def test_one_member_has_no_pairs_and_a_summary(alone):
    day = fault_support.DAY
    result = stored_result(alone.warehouse, alone.settings, day)
    assert result.signals["symbol"].tolist() == ["BTCUSDT"]
    assert result.summary["total_assets_analyzed"] == 1
    assert result.summary["correlation_analysis"]["n_pairs"] == 0
    assert result.summary["expected_linked_pairs"] is None
    assert alone.warehouse.read("correlation_matrix").empty
    assert alone.scanner().scan(day) == []
    wanted = read_required(alone.warehouse, alone.settings, day, day)
    found = verify(parts_of(wanted), alone.settings, alone.warehouse)
    assert {part.table: part.rows_of() for part in found if part.rows_of()} == {}


def test_lists_that_leave_no_pair_are_named(alone):
    none = {"exclude": ("BTCUSDT", "ETHUSDT", "SOLUSDT")}
    alone.settings, before = alone.settings.model_copy(update=none), alone.settings
    try:
        with pytest.raises(ExchangeError, match="AUTONAMA_EXCLUDE names the 3 pairs that traded"):
            alone.scanner().scan(fault_support.DAY)
    finally:
        alone.settings = before
