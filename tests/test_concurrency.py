"""Programs that work on the same days at the same time make one complete result."""

import threading

import pytest
from fault_support import DAY as LAST
from fault_support import NOW, small_market
from program_support import DAY, RANGE, crash_state, ended_well, opened, tables_of_scans
from projects import project
from scan_support import DAYS

from autonama_dagster.replay.server import ReplayServer

pytestmark = pytest.mark.long

EARLY = ("--from", "2023-12-27", "--to", "2023-12-28")
LATE = ("--from", "2023-12-28", "--to", "2023-12-29")


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with ReplayServer(small_market(tmp_path_factory.mktemp("market")), now=NOW) as server:
        yield server


def made_by(folder, exchange, *programs):
    """All tables after the programs, begun at once on an empty folder, have ended well."""
    with opened(folder, exchange.url) as home:
        ended_well(home, *(home.start(*arguments) for arguments in programs))
        return crash_state.read_tables(home.url())


@pytest.fixture(scope="module")
def filled(tmp_path_factory, postgres):
    """Tables of all days, scanned one by one: a backfill makes the same."""
    tables = tables_of_scans(tmp_path_factory.mktemp("filled"), postgres, DAYS)
    assert len(tables["analysis_summary"]) == 3
    return tables


def test_two_overlapping_backfills_at_once(tmp_path, exchange, filled):
    tables = made_by(tmp_path / "both", exchange, ("backfill", *EARLY), ("backfill", *LATE))
    assert crash_state.differences(filled, tables) == []


def test_a_backfill_and_the_scan_of_a_day_inside_it_at_once(tmp_path, exchange, filled):
    tables = made_by(tmp_path / "both", exchange, ("backfill", *RANGE), ("scan", *DAY))
    assert crash_state.differences(filled, tables) == []


def test_two_scans_of_the_same_day_at_once(tmp_path, postgres, exchange):
    alone = tables_of_scans(tmp_path, postgres, [LAST])
    both = made_by(tmp_path / "both", exchange, ("scan", *DAY), ("scan", *DAY))
    assert len(alone["analysis_summary"]) == 1
    assert crash_state.differences(alone, both) == []


def test_a_pool_can_be_made_by_many_at_once(tmp_path, postgres, exchange):
    found = []

    def make(storage, barrier, name):
        barrier.wait()
        found.append(storage.initialize_concurrency_limit_to_default(name))

    with project(tmp_path / "pools", postgres, exchange.url) as opened_project:
        storage = opened_project.instance.event_log_storage
        for number in range(10):
            barrier = threading.Barrier(2)
            threads = [
                threading.Thread(target=make, args=(storage, barrier, f"pool{number}"))
                for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert found == [True] * 20
        assert len(storage.get_concurrency_keys()) == 10
