"""`backfill_job`: a backfill as a run of its own, from the Dagster UI and the command line."""

import time
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import dagster as dg

from autonama_dagster.days import parse_day
from autonama_dagster.errors import InputError
from autonama_dagster.orchestration.backfill.backfill import Backfill, Request
from autonama_dagster.orchestration.execution import one_process
from autonama_dagster.orchestration.jobs import DAILY, Started, StepRun
from autonama_dagster.orchestration.requests import LATEST
from autonama_dagster.settings import Settings
from resources.exchange.base import Exchange
from resources.exchange.feed import last_closed_day

TENTHS: Final = 10
SILENCE: Final = 15.0  # seconds after which the log says how far a part is, even within a tenth


def _fields(settings: Settings) -> dict[str, dg.Field]:
    """The run configuration; the Launchpad opens with its defaults."""
    return {
        "from": dg.Field(
            str,
            default_value=settings.start_date.isoformat(),
            description="First day, YYYY-MM-DD; default: AUTONAMA_START_DATE.",
        ),
        "to": dg.Field(
            str,
            default_value=LATEST,
            description="Last day, YYYY-MM-DD, or `latest` (default): the latest closed day.",
        ),
        "symbols": dg.Field(
            [str], default_value=[], description="E.g. BTCUSDT; empty: all registered symbols."
        ),
        "assets": dg.Field([str], default_value=[], description="Empty: all daily assets."),
        "days_per_run": dg.Field(
            int, is_required=False, description="Default: as many as fit in memory."
        ),
        "again": dg.Field(
            bool, default_value=False, description="Recompute rows that are up to date, too."
        ),
    }


class RefusedError(InputError, dg.DagsterError):
    """A launch that makes no run: Dagster shows its own errors as they are, and wraps others."""


class LogProgress:
    """Progress as lines in the run's log."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log = log
        self._title = ""
        self._tenth = 0
        self._told = time.monotonic()

    def step(self, title: str) -> None:
        """A part begins."""
        self._title, self._tenth = title, 0
        self._tell(title)

    def requests(self, done: int, total: int) -> None:
        """So much of the part is done: a line for every tenth, and after a silence."""
        tenth = done * TENTHS // max(total, 1)
        if done and (tenth != self._tenth or time.monotonic() - self._told > SILENCE):
            self._tenth = tenth
            self._tell(f"{self._title}: {done} of {total}")

    def started(self, begun: Started) -> None:
        """A run begins."""
        self._tell(f"{begun.step.title}: started (run {begun.run_id})")

    def ran(self, done: StepRun) -> None:
        """A run has ended well."""
        self._tell(
            f"{done.step.title}: {done.rows:,} rows in {done.seconds:.1f} s (run {done.run_id})"
        )

    def _tell(self, text: str) -> None:
        self._told = time.monotonic()
        self._log.info(text)


@dg.op(
    config_schema=dict,
    required_resource_keys={"settings", "warehouse", "exchange", "progress"},
    description=__doc__,
)
def fill(context: dg.OpExecutionContext) -> None:
    """Fill the rectangle of the configuration."""
    resources = context.resources
    request = read_request(context.op_config, resources.settings, resources.exchange)
    filled = Backfill(
        request,
        resources.settings,
        instance=context.instance,
        warehouse=resources.warehouse,
        progress=resources.progress or LogProgress(context.log),
        run_id=context.run_id,
    ).run()
    context.add_output_metadata(
        {
            "days": f"{request.first} .. {request.last}",
            "runs": filled.runs,
            "partitions": filled.partitions,
            "rows": filled.rows,
            "seconds": round(filled.seconds, 1),
        }
    )


def build_backfill_job(settings: Settings) -> dg.JobDefinition:
    """The job, with the defaults of these settings.

    Its configuration is mapped, and so refused when it is launched: an impossible day makes no run.
    """

    def mapped(config: dict[str, Any]) -> dict[str, Any]:
        try:
            read_days(config, settings)
        except InputError as error:
            raise RefusedError(str(error)) from None
        return {"fill": {"config": config}}

    @dg.graph(
        name="backfill",
        description="Fill a range of days and symbols.",
        config=dg.ConfigMapping(mapped, config_schema=_fields(settings)),
    )
    def backfill() -> None:
        fill()

    @dg.job(
        executor_def=one_process,
        description="Fill a range of days and symbols; the Launchpad is pre-filled with all days.",
    )
    def backfill_job() -> None:
        backfill()

    return backfill_job


def run_config(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run configuration of `backfill_job`; values that are None are left out."""
    given = {name: value for name, value in request.items() if value is not None}
    return {"ops": {"backfill": {"config": given}}}


def read_days(config: Mapping[str, Any], settings: Settings) -> tuple[date, date | None]:
    """First and last day of a run configuration; None: the latest that has closed.

    Raises
    ------
    InputError
        No days, in the wrong order, or before the first partition.
    """
    first = parse_day(config["from"], "from")
    end = config.get("to") or LATEST
    last = None if end == LATEST else parse_day(end, "to")
    if last is not None and first > last:
        raise InputError(f"from {first} is after to {last}: swap them")
    if first < settings.start_date:
        raise InputError(
            f"from {first} is before the first partition: set AUTONAMA_START_DATE={first} or "
            "choose a later day"
        )
    return first, last


def read_request(config: Mapping[str, Any], settings: Settings, exchange: Exchange) -> Request:
    """The request of a run configuration.

    Raises
    ------
    InputError
        A day, symbol, asset or number that cannot be.
    """
    first, last = read_days(config, settings)
    if unknown := [a for a in config["assets"] if a not in DAILY]:
        raise InputError(f"asset {unknown[0]} is unknown; known: {', '.join(DAILY)}")
    if (days := config.get("days_per_run")) is not None and days < 1:
        raise InputError(f"days per run {days}: use 1 or more")
    latest = last_closed_day(exchange.server_time())
    last = latest if last is None else last
    for name, day in (("from", first), ("to", last)):
        if day > latest:
            raise InputError(
                f"{name} {day}: this day has not closed yet; the latest closed day is {latest}"
            )
    symbols = tuple(dict.fromkeys(s.strip().upper() for s in config["symbols"]))
    known = {s.symbol for s in exchange.symbols()} if symbols else set()
    if strangers := [s for s in symbols if s not in known]:
        raise InputError(
            f"symbol {strangers[0]} is not a USDT spot pair on the exchange; fix the name "
            "(like BTCUSDT)"
        )
    assets = tuple(config["assets"])
    return Request(first, last, symbols, assets, days, config["again"])


def filled_by(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """What a run of `backfill_job` reports: days, runs, partitions, rows, seconds."""
    outputs = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT)
    metadata = outputs[-1].get_dagster_event().step_output_data.metadata
    return {name: entry.value for name, entry in metadata.items()}
