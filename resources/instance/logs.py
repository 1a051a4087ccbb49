"""Logs of Dagster's runs as JSON, one object a line, in place of coloured text.

Dagster uses the `loggers` of a code location only in runs whose configuration names them, which a
run from its UI does not; the logger of all other runs is fixed in its code and is replaced there.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.execution import context_creation_job
from dagster._core.log_manager import get_log_record_metadata, has_log_record_metadata

from autonama_dagster.schemas.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from autonama_dagster.settings import Settings
from resources.instance.json_logs import json_line


class RunFormatter(logging.Formatter):
    """A record of Dagster's log manager as one line of JSON.

    Beside time, level and message: run_id, job, step, event (Dagster's type of it), asset and
    partition where the event is about one, first_partition and last_partition of the run, and
    error with its stack.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        known = _run_fields(record) if has_log_record_metadata(record) else {}
        if record.exc_info:
            known["error"] = self.formatException(record.exc_info)
        return json_line(
            record.levelname.lower(),
            known.pop("message", record.getMessage()),
            time=datetime.fromtimestamp(record.created, UTC),
            logger=record.name,
            **known,
        )


@dg.logger(
    {
        "log_level": dg.Field(str, is_required=False, default_value="DEBUG"),
        "name": dg.Field(str, is_required=False, default_value="dagster"),
    },
    description="One JSON object a line, on standard error.",
)
def json_run_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """Logger of one run; it takes the configuration of Dagster's own console logger."""
    config: Mapping[str, Any] = context.logger_config
    logger = logging.Logger(config["name"], config["log_level"].upper())  # noqa: LOG001  (of one run)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RunFormatter())
    logger.addHandler(handler)
    return logger


def run_loggers(settings: Settings) -> dict[str, dg.LoggerDefinition] | None:
    """The loggers of the code location; None: Dagster's own, coloured text."""
    return {"console": json_run_logger} if settings.log_format == "json" else None


def log_runs_as_json() -> None:
    """Make every run of this process log in JSON, also where its configuration names no logger."""
    context_creation_job.default_system_loggers = _system_loggers  # type: ignore[attr-defined]


def _system_loggers(
    instance: dg.DagsterInstance | None,
) -> Sequence[tuple[dg.LoggerDefinition, Mapping[str, object]]]:
    """In place of Dagster's function of this name, with its levels."""
    level = (instance.python_log_level if instance else None) or "DEBUG"
    return [(json_run_logger, {"name": "dagster", "log_level": level})]


def _run_fields(record: logging.LogRecord) -> dict[str, Any]:
    found = get_log_record_metadata(record)
    event, tags = found["dagster_event"], found["job_tags"]
    only = tags.get(PARTITION_TAG)
    fields: dict[str, Any] = {
        "message": found["orig_message"],
        "run_id": found["run_id"],
        "job": found["job_name"],
        "step": found["step_key"],
        "first_partition": tags.get(RANGE_START_TAG, only),
        "last_partition": tags.get(RANGE_END_TAG, only),
    }
    if event is not None:
        fields["event"] = event.event_type_value
        fields["asset"] = event.asset_key.to_user_string() if event.asset_key else None
        fields["partition"] = event.partition
        error = getattr(event.event_specific_data, "error", None)
        fields["error"] = error.to_string() if error is not None else None
    return fields
