"""The whole graph as a snapshot, so that a change of lineage shows in review.

Update: .venv/bin/python -m tests.test_graph --update
"""

import difflib
import json
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from assets.stages import STAGES
from autonama_dagster.analytics.scan.tables import RECIPES
from autonama_dagster.definitions import build_defs
from autonama_dagster.orchestration.jobs import JOBS
from autonama_dagster.schemas.registry import TABLES
from autonama_dagster.schemas.tables.revisions import REVISIONS
from autonama_dagster.services.inputs.parameters import ANALYTIC
from autonama_dagster.settings import Settings

SNAPSHOT = Path(__file__).parent / "snapshots" / "graph.json"
GROUPS = {"market", "analysis", "decision", "summary"}
UPDATE = ".venv/bin/python -m tests.test_graph --update"
TABLE = "autonama/table"
BOOKKEEPING = {
    "candle_checks", "fetch_log", "quarantine", "signal_chance", "verifications",
    *(t.name for t in REVISIONS.values()),
}  # fmt: skip


def definitions() -> dg.Definitions:
    return build_defs(Settings(start_date=date(2025, 1, 1)))


def partitioning(definition: dg.PartitionsDefinition | None) -> str | dict[str, str] | None:
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return {d.name: partitioning(d.partitions_def) for d in definition.partitions_defs}
    if isinstance(definition, dg.DynamicPartitionsDefinition):
        return f"dynamic {definition.name}"
    if isinstance(definition, dg.DailyPartitionsDefinition):
        return f"daily from {definition.start:%Y-%m-%d} {definition.timezone}"
    return None if definition is None else type(definition).__name__


def snapshot(defs: dg.Definitions) -> dict:
    graph = defs.resolve_asset_graph()
    nodes = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}
    repository = defs.get_repository_def()
    jobs = {j.name: defs.resolve_job_def(j.name) for j in defs.jobs or []}
    return {
        "assets": {
            name: {
                "deps": sorted(k.to_user_string() for k in node.parent_keys),
                "partitions": partitioning(node.partitions_def),
                "group": node.group_name,
                "kinds": sorted(node.kinds),
                "owners": sorted(node.owners),
                "table": node.metadata.get(TABLE),
                "checks": sorted(k.name for k in node.check_keys),
            }
            for name, node in sorted(nodes.items())
        },
        "jobs": {
            name: {
                "assets": sorted(k.to_user_string() for k in job.asset_layer.executable_asset_keys),
                "partitions": partitioning(job.partitions_def),
            }
            for name, job in sorted(jobs.items())
        },
        "schedules": {
            s.name: {"cron": s.cron_schedule, "default": s.default_status.value}
            for s in sorted(repository.schedule_defs, key=lambda s: s.name)
        },
        "sensors": {
            s.name: {"every": s.minimum_interval_seconds, "default": s.default_status.value}
            for s in sorted(repository.sensor_defs, key=lambda s: s.name)
        },
    }


def as_text(found: dict) -> str:
    return json.dumps(found, indent=2) + "\n"


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return definitions()


@pytest.fixture(scope="module")
def nodes(defs):
    graph = defs.resolve_asset_graph()
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


def test_the_graph_is_the_snapshot(defs):
    stored, found = SNAPSHOT.read_text(encoding="utf-8"), as_text(snapshot(defs))
    changes = difflib.unified_diff(stored.splitlines(), found.splitlines(), "snapshot", "code", n=2)
    assert stored == found, "\n".join([f"the graph changed; if you meant it: {UPDATE}", *changes])


def test_every_asset_says_what_it_is(nodes):
    for name, node in nodes.items():
        assert node.description, name
        assert node.group_name in GROUPS, name
        assert node.kinds, name
        assert node.owners == ["team:autonama"], name
        table = TABLES[node.metadata[TABLE]]
        assert node.metadata["dagster/table_name"] == f"trading.{table.name}", name
        columns = node.metadata["dagster/column_schema"].columns
        assert [c.name for c in columns] == list(table.columns), name
        assert all(c.description for c in columns), name


def test_a_range_of_every_asset_is_one_run(nodes):
    policies = {name: node.backfill_policy for name, node in nodes.items()}
    assert policies == dict.fromkeys(nodes, dg.BackfillPolicy.single_run())


def test_exactly_the_assets_that_call_the_exchange_share_its_pool(nodes):
    computed = {name: node.assets_def for name, node in nodes.items()}
    pooled = {name for name, made in computed.items() if made.op.pool == "binance"}
    assert pooled == {"universe", "ohlcv_1d_history", "ohlcv_1d", "ohlcv_15m", "ohlcv_1h"}
    calling = {n for n, made in computed.items() if "binance" in made.required_resource_keys}
    assert pooled == calling
    assert {made.op.pool for made in computed.values()} == {"binance", None}


def test_checks_are_unpartitioned_and_block_nothing(defs):
    graph = defs.resolve_asset_graph()
    assert graph.asset_check_keys
    for key in graph.asset_check_keys:
        check = graph.get(key)
        assert check.partitions_def is None, key
        assert not check.blocking, key
        assert check.description, key


def test_an_asset_is_a_table_and_a_table_an_asset(nodes):
    assert set(nodes) == {s.name for s in STAGES}
    assert {node.metadata[TABLE] for node in nodes.values()} == set(TABLES) - BOOKKEEPING
    # The history is part of the candles' table, checked with it.
    checked = {n for n, node in nodes.items() if "schema" in {k.name for k in node.check_keys}}
    assert set(nodes) - checked == {"ohlcv_1d_history"}


def test_a_stage_that_computes_has_a_recipe_and_a_recipe_a_stage():
    stages = {stage.name: stage for stage in STAGES}
    assert {name for name, stage in stages.items() if stage.is_analytic} == set(ANALYTIC)
    for recipe in RECIPES:
        assert set(recipe.made_from) <= set(stages[recipe.table].deps), recipe.table
        names = list(ANALYTIC)
        assert all(names.index(of) < names.index(recipe.table) for of in recipe.made_from)


def test_the_jobs_share_the_assets_out(defs, nodes):
    in_jobs = [asset for _, assets in JOBS.values() for asset in assets]
    assert sorted(in_jobs) == sorted(nodes)
    for name, (_, assets) in JOBS.items():
        partitionings = {str(partitioning(nodes[a].partitions_def)) for a in assets}
        assert partitionings == {str(partitioning(defs.resolve_job_def(name).partitions_def))}


def test_an_assets_partitions_are_its_tables(nodes):
    kinds = {"date": str, "symbol": str, "date_symbol": dict}
    for name, node in nodes.items():
        if name != "ohlcv_1d_history":
            expected = kinds[TABLES[node.metadata[TABLE]].partitions]
            assert isinstance(partitioning(node.partitions_def), expected), name


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(__doc__)
    SNAPSHOT.write_text(as_text(snapshot(definitions())), encoding="utf-8")
