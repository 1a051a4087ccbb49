"""What a backfill is asked for: its request, and the run configuration that states it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg

from autonama_dagster.days import last_closed_day, parse_day
from autonama_dagster.errors import InputError
from autonama_dagster.orchestration.completeness import PlannedStage
from autonama_dagster.orchestration.jobs import CANDLES, DAILY
from autonama_dagster.orchestration.requests import LATEST
from autonama_dagster.settings import Settings
from resources.exchange.base import Exchange


@dataclass(frozen=True)
class Request:
    """What to fill.

    Attributes
    ----------
    first, last
        Days, both included.
    symbols
        Empty: every symbol that is registered, the members of these days among them.
    assets
        Empty: all daily assets; the summaries only where no symbols are chosen, because they are
        about all members.
    days_per_run
        Days of one run; None: as many as fit the memory.
    again
        Make what is stored and current too.
    latest
        The latest closed day, which decides what is due; None: `last`.
    """

    first: date
    last: date
    symbols: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    days_per_run: int | None = None
    again: bool = False
    latest: date | None = None

    def chosen(self, among: Sequence[str]) -> tuple[str, ...]:
        """Those of the assets that are asked for."""
        return tuple(a for a in among if not self.assets or a in self.assets)

    def stages(self, planned: Sequence[PlannedStage]) -> list[PlannedStage]:
        """Stages whose rows are asked for."""
        return [
            s
            for s in planned
            if s.name not in CANDLES
            and s.name in self.chosen([s.name])
            and (self.assets or s.is_by_symbol or not self.symbols)
        ]


def config_fields(settings: Settings) -> dict[str, dg.Field]:
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
    return Request(first, last, symbols, assets, days, config["again"], latest)
