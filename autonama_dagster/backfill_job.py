"""`backfill_job`: a backfill as a run of its own, from the Dagster UI and the command line."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from autonama_dagster.backfill import DAILY, Backfill, Request
from autonama_dagster.days import parse_day
from autonama_dagster.errors import InputError
from autonama_dagster.execution import one_process
from autonama_dagster.jobs import StepRun
from autonama_dagster.settings import Settings
from resources.candle_feed import last_closed_day
from resources.exchange.base import Exchange

CONFIG = {
    "from": dg.Field(str, description="First day, YYYY-MM-DD."),
    "to": dg.Field(
        str, is_required=False, description="Last day; left out: the latest that has closed."
    ),
    "symbols": dg.Field(
        [str], default_value=[], description="E.g. BTCUSDT; none: every registered symbol."
    ),
    "assets": dg.Field([str], default_value=[], description="None: all daily assets."),
    "days_per_run": dg.Field(
        int, is_required=False, description="Left out: as many as fit the memory."
    ),
    "again": dg.Field(bool, default_value=False, description="Make what is current too."),
}


class LogProgress:
    """Progress as lines in the run's log."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log = log

    def step(self, title: str) -> None:
        """A part begins."""
        self._log.info(title)

    def requests(self, done: int, total: int) -> None:
        """So much of the part is done; in the log every tenth is enough."""
        if done * 10 // max(total, 1) != (done - 1) * 10 // max(total, 1):
            self._log.info(f"{done} of {total}")

    def ran(self, done: StepRun) -> None:
        """A run has ended well."""
        self._log.info(f"{done.step.title}: {done.seconds:.1f} s (run {done.run_id})")


@dg.op(
    config_schema=CONFIG,
    required_resource_keys={"settings", "warehouse", "exchange", "progress"},
    description=__doc__,
)
def backfill(context: dg.OpExecutionContext) -> None:
    """Fill the rectangle of the configuration."""
    resources = context.resources
    request = read_request(context.op_config, resources.settings, resources.exchange)
    filled = Backfill(
        request,
        resources.settings,
        instance=context.instance,
        warehouse=resources.warehouse,
        progress=resources.progress or LogProgress(context.log),
    ).run()
    context.add_output_metadata(
        {
            "days": f"{request.first} .. {request.last}",
            "runs": filled.runs,
            "partitions": filled.partitions,
            "seconds": round(filled.seconds, 1),
        }
    )


@dg.job(
    executor_def=one_process,
    description="Fill a rectangle of days and symbols: from, to, symbols, assets, days per run.",
)
def backfill_job() -> None:
    """Fill a rectangle of days and symbols."""
    backfill()


def run_config(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run configuration of `backfill_job`; values that are None are left out."""
    given = {name: value for name, value in request.items() if value is not None}
    return {"ops": {"backfill": {"config": given}}}


def read_request(config: Mapping[str, Any], settings: Settings, exchange: Exchange) -> Request:
    """The request of a run configuration.

    Raises
    ------
    InputError
        A day, symbol, asset or number that cannot be.
    """
    first = parse_day(config["from"], "from")
    last = parse_day(config["to"], "to") if config.get("to") else None
    if last is not None and first > last:
        raise InputError(f"from {first} lies after to {last}: exchange them")
    if first < settings.start_date:
        raise InputError(
            f"from {first} lies before the first partition: set AUTONAMA_START_DATE={first} or "
            "choose a later day"
        )
    if unknown := [a for a in config["assets"] if a not in DAILY]:
        raise InputError(f"asset {unknown[0]} is none of {', '.join(DAILY)}")
    if (days := config.get("days_per_run")) is not None and days < 1:
        raise InputError(f"days per run {days}: give 1 or more")
    latest = last_closed_day(exchange.server_time())
    last = latest if last is None else last
    for name, day in (("from", first), ("to", last)):
        if day > latest:
            raise InputError(
                f"{name} {day}: this day has not closed; the latest closed is {latest}"
            )
    symbols = tuple(dict.fromkeys(s.strip().upper() for s in config["symbols"]))
    known = {s.symbol for s in exchange.symbols()} if symbols else set()
    if strangers := [s for s in symbols if s not in known]:
        raise InputError(f"symbol {strangers[0]} is unknown to the exchange: correct it")
    assets = tuple(config["assets"])
    return Request(first, last, symbols, assets, days, config["again"])


def filled_by(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """What a run of `backfill_job` reports: days, runs, partitions, seconds."""
    outputs = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT)
    metadata = outputs[-1].get_dagster_event().step_output_data.metadata
    return {name: entry.value for name, entry in metadata.items()}
