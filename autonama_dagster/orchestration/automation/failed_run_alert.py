"""The alert for failed runs: a sensor that posts each of them to a webhook."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from autonama_dagster.orchestration.automation.status import status_of
from autonama_dagster.orchestration.execution import innermost
from autonama_dagster.schemas.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from autonama_dagster.settings import Settings
from autonama_dagster.text.escaping import chat_text
from resources.notify.redaction import without_secrets
from resources.notify.webhook import NotificationError, post

NAME: Final = "failed_run_alert"
_LONGEST: Final = 500
_PARTITION_TAGS: Final = ((PARTITION_TAG,), (RANGE_START_TAG, RANGE_END_TAG))


def failed_run_alert(settings: Settings) -> dg.SensorDefinition:
    """The sensor; on by itself where runs start by themselves and there is an address.

    A webhook that does not answer is logged and the run is not reported again: an alert must not
    hold up the ones after it.
    """

    @dg.run_failure_sensor(
        name=NAME,
        description="Posts every failed run to AUTONAMA_ALERT_WEBHOOK.",
        minimum_interval_seconds=30,
        default_status=status_of(
            settings, dg.DefaultSensorStatus, has_work=settings.alert_webhook is not None
        ),
    )
    def failed_run(context: dg.RunFailureSensorContext) -> None:
        if settings.alert_webhook is None:
            context.log.warning("AUTONAMA_ALERT_WEBHOOK is not set: no alert is sent")
            return
        try:
            what = without_secrets(_error(context), settings)
            alert = message(context.dagster_run, what, _ended(context))
            post(settings.alert_webhook.get_secret_value(), alert)
        except NotificationError as error:
            context.log.warning("no alert sent for run %s: %s", context.dagster_run.run_id, error)

    return failed_run


def message(run: dg.DagsterRun, error: str, ended: datetime) -> dict[str, Any]:
    """What is posted of a failed run.

    `text` is one line for people, as chats show it: nobody is mentioned. The rest are its parts:
    run_id, job, partitions, error (one line, at most 500 characters), time (ISO 8601, UTC).

    Parameters
    ----------
    run
        The run.
    error
        What ended it, without secrets.
    ended
        When it ended.
    """
    partitions, error = _partitions(run.tags), _shortened(error)
    of = f" of {partitions}" if partitions else ""
    return {
        "text": chat_text(f"Autonama: {run.job_name}{of} failed: {error} (run {run.run_id})"),
        "run_id": run.run_id,
        "job": run.job_name,
        "partitions": partitions,
        "error": error,
        "time": ended.isoformat(),
    }


def _ended(context: dg.RunFailureSensorContext) -> datetime:
    record = context.instance.get_run_record_by_id(context.dagster_run.run_id)
    if record is None or record.end_time is None:  # deleted, or it never began
        return datetime.now(UTC)
    return datetime.fromtimestamp(record.end_time, UTC)


def _partitions(tags: Mapping[str, str]) -> str | None:
    for names in _PARTITION_TAGS:
        if all(name in tags for name in names):
            return " to ".join(dict.fromkeys(tags[name] for name in names))
    return None


def _error(context: dg.RunFailureSensorContext) -> str:
    """The innermost error of the step that failed, or what ended the run without one."""
    for event in context.get_step_failure_events():
        if (found := innermost(event.step_failure_data.error)) is not None:
            return str(found.message)
    return str(context.failure_event.message)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
