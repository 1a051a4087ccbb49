"""Backfills of rectangles: what they make, what they leave alone, and that they go on."""

from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg
import pandas as pd
import pytest
from fault_support import small_market
from projects import Project, project
from scan_support import DAY, DAYS, SETTINGS, START, at, opened_project

from autonama_dagster.definitions import build_defs
from autonama_dagster.orchestration.backfill import backfill as module
from autonama_dagster.orchestration.backfill.backfill import Backfill
from autonama_dagster.orchestration.backfill.request import Request
from autonama_dagster.orchestration.jobs import ANALYTIC, DAILY, SUMMARY, run_step
from autonama_dagster.orchestration.state import planned_stages
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.settings import Settings
from resources.exchange.build import build_exchange
from resources.exchange.memo import MemoExchange
from resources.warehouse.candle_queries import fetched_ranges

pytestmark = pytest.mark.long

MIDDLE = DAYS[1]
PARENT = "11111111-2222-3333-4444-555555555555"


class Told:
    """What a backfill told of itself."""

    def __init__(self):
        self.titles, self.done, self.begun, self.runs = [], [], [], []

    @property
    def steps(self):
        return [run.step for run in self.runs]

    def step(self, title):
        self.titles.append(title)

    def started(self, begun):
        self.begun.append(begun.run_id)

    def requests(self, done, total):
        self.done.append((done, total))

    def ran(self, done):
        self.runs.append(done)


@dataclass
class Here:
    """Stands in for worker processes: executes the steps in this one."""

    defs: object
    instance: object
    counts: list = field(default_factory=list)

    def __call__(self, count, *, tags, on_start, on_done, **_):
        self.counts.append(count)
        self.tags, self.on_start, self.on_done = tags, on_start, on_done
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def start(self):
        pass

    def submit(self, task):
        for step in task:
            done = run_step(self.defs, self.instance, step, self.tags)
            self.on_done(done)

    def finish(self):
        pass


@dataclass
class Place:
    """A project that is filled."""

    project: Project
    exchange: MemoExchange

    def fill(self, first=START, last=DAY, **request):
        """Fill days; the steps that ran as (job, first, last, symbols, assets)."""
        self.told = Told()
        self.filled = Backfill(
            Request(first, last, **request),
            self.project.settings,
            instance=self.project.instance,
            warehouse=self.project.warehouse,
            progress=self.told,
            run_id=PARENT,
        ).run()
        return [(s.job, s.first, s.last, s.symbols, s.assets) for s in self.told.steps]

    def keys(self, name):
        """Days and symbols of a table's rows."""
        frame = self.project.warehouse.read(name)
        return {(d.date(), s) for d, s in zip(frame["date"], frame["symbol"], strict=True)}

    def days(self, name):
        return {d.date() for d in self.project.warehouse.read(name)["date"]}

    @property
    def registered(self):
        return tuple(self.project.instance.get_dynamic_partitions("symbol"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    market = small_market(tmp_path_factory.mktemp("market"), SOLUSDT=57)
    with ReplayServer(market, now=at(DAY)) as running:
        yield running


@pytest.fixture(scope="module")
def scanned(postgres, tmp_path_factory):
    """All tables after scans of the days one by one."""
    folder = tmp_path_factory.mktemp("scanned")
    with opened_project(folder, postgres, scanned=DAYS, SOLUSDT=57) as (opened, _):
        return opened.tables()


@contextmanager
def opening(server, postgres, folder):
    """An empty project."""
    with project(folder, postgres, server.url, **SETTINGS) as opened:
        exchange = MemoExchange(build_exchange(opened.settings))
        opened.exchanges.append(exchange)
        yield Place(opened, exchange)


def stay_here(place, monkeypatch):
    """Let its backfills run in this process; what stands in for their workers."""
    opened = place.project
    defs = build_defs(opened.settings, binance=place.exchange, warehouse=opened.warehouse)
    here = Here(defs, opened.instance)
    monkeypatch.setattr(module, "Workers", here)
    return here


@pytest.fixture
def place(server, postgres, tmp_path_factory, monkeypatch):
    with opening(server, postgres, tmp_path_factory.mktemp("place")) as opened:
        stay_here(opened, monkeypatch)
        yield opened


@pytest.fixture(scope="module")
def filled(server, postgres, tmp_path_factory):
    """A project that worker processes have filled."""
    with opening(server, postgres, tmp_path_factory.mktemp("filled")) as place:
        place.steps = place.fill(days_per_run=2)
        yield place


@pytest.fixture
def in_process(filled, monkeypatch):
    """The filled project, whose further backfills run in this process."""
    filled.project.enter(monkeypatch)
    stay_here(filled, monkeypatch)
    return filled


def same(found, expected, *but):
    for name, frame in expected.items():
        if name not in but:
            # When and in which ranges candles were asked for differs; what was answered does not.
            columns = [c for c in frame if c != "fetched_at"]
            pd.testing.assert_frame_equal(
                found[name][columns], frame[columns], check_exact=True, obj=name
            )


def test_a_rectangle_by_worker_processes_equals_scans_of_its_days(filled, scanned):
    tables = filled.project.tables()
    assert set(tables["signals"]["status"]) == {"OK", "NO_DATA"}
    same(tables, scanned, "fetch_log")
    for symbol in filled.registered:
        answered = fetched_ranges(filled.project.warehouse, "1d", [symbol])[symbol]
        assert max(last for _, last in answered) == DAY


def test_its_runs_are_few_and_no_longer_than_asked(filled):
    spans = {(job, first, last) for job, first, last, _, _ in filled.steps}
    assert ("universe_job", START, DAY) in spans
    for job in ("symbols_job", "summary_job"):
        assert (job, START, MIDDLE) in spans
        assert (job, DAY, DAY) in spans
    assert filled.filled.runs == len(filled.steps)
    assert filled.told.titles == ["rank the universe", "fetch candles", "indicators to summaries"]
    assert filled.told.done[-1] == (2, 2)


def check_that_the_count_is_dagsters(place):
    """The partitions and rows that a backfill says it made are those its runs' events name."""
    events, rows = 0, 0
    for run in place.told.runs:
        made = place.project.instance.all_logs(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        stored = [entry.asset_materialization for entry in made]
        by_asset = {one.asset_key: one.metadata["rows"].value for one in stored}
        events += len(made)
        rows += sum(by_asset.values())
        assert run.rows == sum(by_asset.values()), run.step
    assert (place.filled.partitions, place.filled.rows) == (events, rows)
    assert rows


def test_partitions_are_counted_as_dagster_counts_them(filled):
    assert "history_job" in {step.job for step in filled.told.steps}
    check_that_the_count_is_dagsters(filled)


def test_every_day_of_a_run_shows_its_own_summary(filled):
    rows = filled.project.warehouse.read("analysis_summary").set_index("date")
    for day in DAYS:
        found = filled.project.instance.get_latest_data_version_record(
            dg.AssetKey("analysis_summary"), partition_key=str(day)
        ).asset_materialization.metadata
        for name in ("buy_signals", "sell_signals", "hold_signals"):
            assert found[name].value == rows.loc[str(day), name], name


def test_its_runs_say_who_started_them(filled):
    assert sorted(filled.told.begun) == sorted(run.run_id for run in filled.told.runs)
    for run_id in filled.told.begun:
        tags = filled.project.instance.get_run_by_id(run_id).tags
        assert tags["autonama/started_by"] == "backfill"
        assert tags["autonama/parent_run"] == PARENT


def test_a_second_time_nothing_runs(in_process):
    before = in_process.project.instance.get_runs_count()
    assert in_process.fill() == []
    assert in_process.filled.runs == in_process.filled.partitions == in_process.filled.rows == 0
    assert in_process.project.instance.get_runs_count() == before


def test_it_asks_for_a_worker_for_every_core_and_one_that_fetches(in_process, monkeypatch):
    here = stay_here(in_process, monkeypatch)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    in_process.fill()
    assert here.counts == [3, 1]


def test_what_is_missing_is_made_and_no_more(in_process, scanned):
    with in_process.project.warehouse.transaction() as cursor:
        cursor.execute(f"DELETE FROM trading.alerts WHERE date = '{MIDDLE}'")
        cursor.execute(f"DELETE FROM trading.analysis_summary WHERE date = '{DAY}'")
    steps = in_process.fill()
    assert steps == [
        ("symbols_job", MIDDLE, MIDDLE, in_process.registered, ("alerts",)),
        ("summary_job", DAY, DAY, (), ("analysis_summary",)),
    ]
    same(in_process.project.tables(), scanned, "fetch_log")
    check_that_the_count_is_dagsters(in_process)


def test_again_makes_what_is_stored(in_process, scanned):
    steps = in_process.fill(MIDDLE, MIDDLE, again=True, assets=("indicators", "signals"))
    assert steps == [
        ("symbols_job", MIDDLE, MIDDLE, in_process.registered, ("indicators", "signals"))
    ]
    same(in_process.project.tables(), scanned, "fetch_log")


def test_one_asset_that_is_current_is_not_made(in_process):
    for asset in (*ANALYTIC, *SUMMARY, "universe", "ohlcv_1d"):
        assert in_process.fill(assets=(asset,)) == [], asset


def test_chosen_symbols_are_filled_and_the_others_left_alone(place):
    steps = place.fill(symbols=("ETHUSDT",))
    assert {job for job, *_ in steps} == {"universe_job", "history_job", "symbols_job"}
    assert {symbols for job, _, _, symbols, _ in steps if job != "universe_job"} == {("ETHUSDT",)}
    for name in ("signals", "alerts", "asset_analytics", "regression_bands"):
        assert place.keys(name) == {(day, "ETHUSDT") for day in DAYS}, name
    assert {symbol for _, symbol in place.keys("ohlcv_1d")} == {"ETHUSDT"}
    for name in SUMMARY:
        assert place.project.warehouse.read(name).empty, name
    assert place.project.warehouse.read("signals")["is_member"].all(), "the ranking came first"
    assert place.fill(symbols=("ETHUSDT",)) == []
    # The rest afterwards; what is there is not made again.
    steps = place.fill()
    others = {s for job, _, _, symbols, _ in steps if job == "symbols_job" for s in symbols}
    assert others >= set(place.registered) - {"ETHUSDT"}
    assert place.days("analysis_summary") == set(DAYS)


def test_chosen_assets_alone_are_filled(place):
    assert place.fill(assets=("universe",)) == [("universe_job", START, DAY, (), None)]
    assert place.days("universe") == set(DAYS)
    assert {job for job, *_ in place.fill(assets=("ohlcv_1d",))} == {"symbols_job"}
    assert {day for day, _ in place.keys("ohlcv_1d")} == set(DAYS)
    place.fill(assets=("ohlcv_1d_history",))
    assert min(day for day, _ in place.keys("ohlcv_1d")) < START
    steps = place.fill(assets=("indicators",), days_per_run=1)
    assert [(first, last) for _, first, last, _, _ in steps] == [(d, d) for d in DAYS]
    assert {assets for *_, assets in steps} == {("indicators",)}
    assert place.project.warehouse.read("signals").empty
    assert place.fill(assets=("indicators",)) == [], "no candle, no row: nothing is missing"


def test_symbols_without_a_ranking_of_their_days(place):
    steps = place.fill(symbols=("ETHUSDT",), assets=("ohlcv_1d_history", "ohlcv_1d", *ANALYTIC))
    assert "universe_job" not in {job for job, *_ in steps}
    signals = place.project.warehouse.read("signals")
    assert list(signals["status"]) == ["OK"] * 3
    assert not signals["is_member"].any()
    # Ranked afterwards, the rows that do not know it are made again.
    place.fill(symbols=("ETHUSDT",))
    assert place.project.warehouse.read("signals")["is_member"].all()


def test_nobody_registered_and_nothing_ranked_needs_no_run(place):
    assert place.fill(assets=ANALYTIC) == []
    done, total = place.told.done[-1]
    assert done == total


def test_chosen_assets():
    planned = planned_stages(Settings(start_date=START))

    def chosen(**request):
        return tuple(s.name for s in Request(START, DAY, **request).stages(planned))

    assert Request(START, DAY).chosen(DAILY) == DAILY
    assert Request(START, DAY, assets=("signals",)).chosen(DAILY) == ("signals",)
    assert chosen() == (*ANALYTIC, *SUMMARY)
    assert chosen(symbols=("A",)) == ANALYTIC, "summaries are about all members"
    assert chosen(symbols=("A",), assets=SUMMARY) == SUMMARY
    assert chosen(assets=("signals", "ohlcv_1d")) == ("signals",)
