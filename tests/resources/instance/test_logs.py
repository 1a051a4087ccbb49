"""Logs of runs as JSON: every line parses, and says which run, job and partitions it is of."""

import json
import logging
import re

import dagster as dg
import pytest
from dagster._core.execution import context_creation_job
from projects import project
from servers import synthetic_market

from autonama_dagster.definitions import build_defs
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.settings import load_settings
from resources.instance.logs import RunFormatter, log_runs_as_json, run_loggers

TAGS = {
    "dagster/asset_partition_range_start": "2024-03-09",
    "dagster/asset_partition_range_end": "2024-03-10",
}
SETTINGS = {"start_date": "2024-03-09", "universe_size": "6", "log_format": "json"}


@pytest.fixture
def as_json(monkeypatch):
    """JSON for every run of this test."""
    monkeypatch.setattr(
        context_creation_job, "default_system_loggers", context_creation_job.default_system_loggers
    )
    log_runs_as_json()


def lines(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


@pytest.mark.usefixtures("as_json")
def test_every_line_of_a_run_is_an_object(postgres, tmp_path, capsys, monkeypatch):
    with (
        ReplayServer(synthetic_market(7), now="2024-03-11T00:05:00Z") as exchange,
        project(tmp_path / "json_logs", postgres, exchange.url, **SETTINGS) as made,
    ):
        # DEBUG, where dagster.yaml says INFO
        monkeypatch.setattr(type(made.instance), "python_log_level", None)
        job = build_defs(made.settings, warehouse=made.warehouse).resolve_job_def("universe_job")
        capsys.readouterr()
        ran = job.execute_in_process(instance=made.instance, tags=TAGS)
        found = lines(capsys)
    assert {line["run_id"] for line in found} == {ran.run_id}
    assert {line["job"] for line in found} == {"universe_job"}
    assert {(line["first_partition"], line["last_partition"]) for line in found} == {
        ("2024-03-09", "2024-03-10")
    }
    # A line for each partition is an event, and in the UI, not for INFO.
    stored = [line for line in found if line.get("event") == "ASSET_MATERIALIZATION"]
    assert {(line["asset"], line["partition"]) for line in stored} == {
        ("universe", "2024-03-09"), ("universe", "2024-03-10"),
    }  # fmt: skip
    assert {line["level"] for line in stored} == {"debug"}
    (told,) = [line for line in found if line["message"].startswith("universe: ")]
    assert re.fullmatch(r"universe: \d+ rows stored in [\d.]+ s", told["message"])
    assert (told["level"], told["step"]) == ("info", "universe")
    assert all(list(line)[:3] == ["time", "level", "message"] for line in found)


@dg.op
def speaks(context):
    context.log.info("two\nlines", extra={"more": object()})


@dg.op
def fails(context):
    context.log.warning("soon")
    raise ValueError("no\nmore")


@dg.job
def talk():
    speaks()


@dg.job
def trouble():
    fails()


@pytest.mark.usefixtures("as_json")
def test_a_message_with_line_breaks_stays_on_its_line(capsys):
    talk.execute_in_process()
    (line,) = [line for line in lines(capsys) if line["level"] == "info"]
    assert (line["message"], line["step"], line["logger"]) == ("two\nlines", "speaks", "dagster")


@pytest.mark.usefixtures("as_json")
def test_a_failure_holds_its_stack(capsys):
    trouble.execute_in_process(raise_on_error=False)
    found = lines(capsys)
    assert [line["step"] for line in found if line["level"] == "warning"] == ["fails"]
    (failed,) = [line for line in found if line.get("event") == "STEP_FAILURE"]
    assert failed["level"] == "error"
    assert "ValueError: no\nmore" in failed["error"]


def test_a_run_whose_configuration_names_the_logger_uses_it_too(capsys):
    settings = load_settings(log_format="json")
    job = dg.Definitions(
        jobs=[dg.define_asset_job("j", [assets := dg.asset(name="a")(lambda: None)])],
        assets=[assets],
        loggers=run_loggers(settings),
    ).resolve_job_def("j")
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    loud = {"loggers": {"console": {"config": {"log_level": "debug"}}}}
    job.execute_in_process(run_config=quiet)
    assert lines(capsys) == []
    job.execute_in_process(run_config=loud)
    assert {line["job"] for line in lines(capsys)} == {"j"}


def test_text_leaves_dagsters_own_logger():
    assert run_loggers(load_settings()) is None


def test_a_record_that_is_not_dagsters():
    record = logging.LogRecord("other", logging.INFO, __file__, 1, "n is %d", (3,), None)
    assert json.loads(RunFormatter().format(record))["message"] == "n is 3"
