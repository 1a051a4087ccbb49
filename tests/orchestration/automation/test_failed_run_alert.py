"""The alert for failed runs, through real runs on an instance."""

import re
from datetime import UTC, date, datetime

import dagster as dg
import pytest
import stamina
from pydantic import SecretStr
from webhooks import webhook

from autonama_dagster.definitions import build_defs
from autonama_dagster.orchestration.automation.failed_run_alert import NAME, failed_run_alert
from autonama_dagster.orchestration.automation.retention import SCHEDULE
from autonama_dagster.settings import Settings
from autonama_dagster.text.escaping import chat_text
from resources.notify.webhook import ATTEMPTS

PASSWORD = "planted-password-31"
KEY = "planted-key-32"


@pytest.fixture(autouse=True)
def no_pauses():
    with stamina.set_testing(testing=True, attempts=ATTEMPTS, cap=True):
        yield


@dg.op
def breaks():
    refused = ConnectionError(
        f"postgresql+psycopg2://u:{PASSWORD}@db.example/x refused\n"
        f"with key {KEY}, password={PASSWORD}"
    )
    raise RuntimeError("the step could not go on") from refused


@dg.job
def broken_job():
    breaks()


@dg.op
def mentions():
    raise RuntimeError("<!channel> @everyone [click](https://evil.example) <@U1> <https://a|b>")


@dg.job
def mentioning_job():
    mentions()


@dg.job
def fine_job(): ...


def settings(url=None, **more):
    return Settings(
        start_date=date(2024, 1, 1),
        DATABASE_URL=f"postgresql://u:{PASSWORD}@db.example/x",
        BINANCE_API_KEY=KEY,
        alert_webhook=SecretStr(url) if url else None,
        **more,
    )


def ticked(chosen, *runs):
    """Evaluate the sensor as the daemon does, after these runs; what it wrote to its log."""
    sensor = failed_run_alert(chosen)
    repository = dg.Definitions(
        jobs=[broken_job, mentioning_job, fine_job], sensors=[sensor]
    ).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(cursor):
            context = dg.build_sensor_context(
                instance=instance, cursor=cursor, repository_def=repository, sensor_name=NAME
            )
            with context:
                return sensor.evaluate_tick(context), context

        cursor = tick(None)[0].cursor
        results = [
            job.execute_in_process(
                instance=instance,
                raise_on_error=False,
                tags={
                    "dagster/asset_partition_range_start": "2024-01-01|BTCUSDT",
                    "dagster/asset_partition_range_end": "2024-01-02|BTCUSDT",
                },
            )
            for job in runs
        ]
        for _ in range(len(runs) + 1):
            found, _ = tick(cursor)
            assert not found.dagster_run_reactions or all(
                r.error is None for r in found.dagster_run_reactions
            )
            cursor = found.cursor
        return results


def test_a_failed_run_is_posted_once_without_secrets():
    before = datetime.now(UTC)
    with webhook() as hook:
        _, failed = ticked(settings(hook.url), fine_job, broken_job)
    (said,) = hook.received
    assert said["run_id"] == failed.run_id
    assert said["job"] == "broken_job"
    assert said["partitions"] == "2024-01-01|BTCUSDT to 2024-01-02|BTCUSDT"
    assert said["error"].startswith("ConnectionError: ")
    assert "://***@db.example/x refused with key ***, password=***" in said["error"]
    assert chat_text(said["error"]) in said["text"]
    assert failed.run_id in said["text"]
    assert before <= datetime.fromisoformat(said["time"]) <= datetime.now(UTC)
    for planted in (PASSWORD, KEY, "planted-token", "\n"):
        assert planted not in str(said["error"]) + said["text"]


def test_an_error_mentions_nobody_in_a_chat_and_is_whole_for_programs():
    with webhook() as hook:
        ticked(settings(hook.url), mentioning_job)
    (said,) = hook.received
    assert "<!channel> @everyone [click](https://evil.example)" in said["error"]
    assert "channel" in said["text"]
    assert "everyone" in said["text"]
    assert not re.search(r"[<>@]|\]\(", said["text"])


@pytest.mark.parametrize("statuses", [[500] * 99, [404] * 99])
def test_a_webhook_that_refuses_fails_no_tick_and_holds_up_nothing(statuses):
    with webhook(*statuses) as hook:
        ticked(settings(hook.url), broken_job, broken_job)
    assert hook.requests == 2 * (ATTEMPTS if statuses[0] == 500 else 1)
    assert hook.received == []


def test_without_an_address_a_tick_does_nothing():
    ticked(settings(), broken_job)


@pytest.mark.parametrize(
    ("automation", "url", "expected"),
    [(True, "http://h/x", "RUNNING"), (True, None, "STOPPED"), (False, "http://h/x", "STOPPED")],
)
def test_it_is_on_with_automation_and_an_address(automation, url, expected):
    defs = build_defs(settings(url, automation=automation))
    sensor = defs.get_repository_def().get_sensor_def(NAME)
    assert sensor.default_status.value == expected


@pytest.mark.parametrize(
    ("automation", "days", "expected"),
    [(True, 30, "RUNNING"), (True, None, "STOPPED"), (False, 30, "STOPPED")],
)
def test_retention_runs_by_itself_with_automation_and_a_limit(automation, days, expected):
    defs = build_defs(settings(automation=automation, retention_events_days=days))
    schedule = defs.get_repository_def().get_schedule_def(SCHEDULE)
    assert schedule.default_status.value == expected
    assert schedule.cron_schedule == "30 3 * * *"
