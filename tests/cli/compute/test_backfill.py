"""`autonama backfill` in this process, its workers in others."""

import re

import pytest
from projects import project

from autonama_dagster.cli.compute import backfill as command


def test_it_fills_tells_its_runs_and_the_second_time_does_nothing(
    run, exchange, postgres, tmp_path, monkeypatch
):
    settings = {"start_date": "2024-03-09", "universe_size": "6"}
    with project(tmp_path / "backfilled", postgres, exchange.url, **settings) as made:
        made.enter(monkeypatch)
        ended = run("backfill", "--from", "2024-03-09", "--to", "2024-03-10")
        assert ended.code == 0, ended.err
        days = {d.date().isoformat() for d in made.warehouse.read("analysis_summary")["date"]}
        again = run("backfill", "--from", "2024-03-09", "--to", "2024-03-10")
    assert re.match(
        r"2024-03-09 \.\. 2024-03-10: [\d,]+ partitions, [\d,]+ rows in \d+ runs, [\d.]+ s\n$",
        ended.out,
    )
    assert re.search(
        r"rank the universe: 2024-03-09 \.\. 2024-03-10: \d+ rows, run [0-9a-f-]{36} +\[[\d.]+ s\]",
        ended.err,
    )
    assert re.search(r"correlation_matrix to analysis_summary: 2024-03-09.*s\]", ended.err)
    assert days == {"2024-03-09", "2024-03-10"}
    assert again.code == 0, again.err
    assert again.out == "2024-03-09 .. 2024-03-10: everything is up to date\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from", "2024-13-01"], "--from 2024-13-01: not a day"),
        (["--from", "2024-03-10", "--assets", "signal"], "asset signal is unknown"),
        (["--from", "2024-03-10", "--symbols", "NOPE"], "symbol NOPE is not a USDT spot pair"),
        (["--from", "2024-03-10", "--days-per-run", "0"], "days per run 0"),
    ],
)
def test_what_cannot_be_is_one_line_and_no_run(run, day, arguments, says):
    runs = day.instance.get_runs_count()
    ended = run("backfill", *arguments)
    assert ended.code == 2
    assert day.instance.get_runs_count() == runs
    lines = ended.err.splitlines()
    assert says in lines[-1]
    assert "Traceback" not in ended.err


def test_options_become_the_run_configuration(run, monkeypatch):
    seen = []
    done = {"days": "a .. b", "runs": 2, "partitions": 12345, "rows": 6789, "seconds": 1.25}
    monkeypatch.setattr(command, "run_backfill", lambda request, *_: seen.append(request) or done)
    ended = run(
        "backfill", "--from", "2024-03-09", "--symbols", "A, B,", "--assets", "signals,alerts",
        "--days-per-run", "7", "--again",
    )  # fmt: skip
    assert ended.out == "a .. b: 12,345 partitions, 6,789 rows in 2 runs, 1.2 s\n"
    assert seen == [
        {
            "from": "2024-03-09", "to": None, "symbols": ["A", "B"],
            "assets": ["signals", "alerts"], "days_per_run": 7, "again": True,
        }
    ]  # fmt: skip
