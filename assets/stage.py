"""What every stage of the pipeline shares: its place in the graph, its policy, its provenance.

A stage module declares one function with `@stage(...)`. The decorator only records the policy; the
pipeline builds the Dagster asset when the partitions are known, so that importing a stage reads no
settings. `assets.stages` lists the stages.
"""

import functools
import inspect
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pandas as pd

from assets.partitions import PartitionSet
from autonama_dagster.analytics.scan.recipe import DayScope
from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.base import Partitions, Table
from autonama_dagster.schemas.ddl import sql_type
from autonama_dagster.schemas.partitions import rectangle
from autonama_dagster.services.inputs.parameters import SYSTEMS, recipes, with_provenance
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.services.inputs.results import chain_of, with_results
from autonama_dagster.services.inputs.upstream import require_rows
from autonama_dagster.services.inputs.versions import code_version
from autonama_dagster.settings import Settings
from resources.exchange.build import EXCHANGES
from resources.io_manager import LAST_DAY_METADATA, TABLE_METADATA
from resources.warehouse.statements import Scope

OWNERS = ("team:autonama",)


@dataclass(frozen=True)
class Stage:
    """A stage before its partitions are known.

    Attributes
    ----------
    function
        Makes the rows; its name is that of the asset. An exchange that it calls is a parameter of
        the exchange's name.
    group
        Of the graph in the Dagster UI.
    table
        The table that it fills.
    partitions
        By what its rows are made: date, symbol, date_symbol; None: all at once, in every run.
    job
        The job that it is a part of; the stages of one share their partitions.
    deps
        Upstream tables that it reads.
    kinds
        What it is made with, as labels in the UI.
    due_after
        Days after D at which its rows of D can be made: what follows must have happened.
    is_on
        Whether the settings want it; one that is off is in the graph, and is not planned.
    """

    function: Callable[..., Any]
    group: str
    table: Table
    partitions: Partitions | None
    job: str
    deps: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset({"postgres", "pandas"})
    due_after: int = 0
    is_on: Callable[[Settings], bool] = lambda _: True

    @property
    def name(self) -> str:
        """Name of the asset."""
        return self.function.__name__

    @property
    def is_analytic(self) -> bool:
        """Whether its rows are computed with parameters, and not what the exchange says."""
        return self.table.is_analytic

    @property
    def exchange(self) -> str | None:
        """Name of the exchange that the function takes; None: of none. It is also its pool's.

        Stages of one pool run as many at a time, over all processes, as `dagster.yaml` allows.
        """
        taken = [name for name in inspect.signature(self.function).parameters if name in EXCHANGES]
        if len(taken) > 1:
            raise ValueError(f"stage {self.name} takes {' and '.join(taken)}: make two stages")
        return taken[0] if taken else None

    def build(self, partitions: PartitionSet, last_day: str | None = None) -> dg.AssetsDefinition:
        """The Dagster asset; `last_day` bounds what a partition by symbol holds."""
        metadata: dict[str, Any] = {
            TABLE_METADATA: self.table.name,
            "dagster/table_name": f"trading.{self.table.name}",
            "dagster/column_schema": column_schema(self.table),
        }
        if last_day is not None:
            metadata[LAST_DAY_METADATA] = last_day
        # A backfill policy is beta in this version of Dagster, and measured to be worth it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.asset(
                name=self.name,
                description=self.function.__doc__,
                group_name=self.group,
                kinds=set(self.kinds),
                owners=list(OWNERS),
                metadata=metadata,
                deps=[dg.AssetKey(d) for d in self.deps],
                partitions_def=getattr(partitions, self.partitions) if self.partitions else None,
                backfill_policy=dg.BackfillPolicy.single_run(),
                code_version=code_version(SYSTEMS.get(self.table.name, "candles")),
                pool=self.exchange,
            )(_timed(self.function))


def stage(
    group: str, of: Table, partitions: Partitions | None, *, job: str, **policy: Any
) -> Callable[[Callable[..., Any]], Stage]:
    """Declare the decorated function as the stage that fills the table `of`; see `Stage`."""
    return lambda function: Stage(function, group, of, partitions, job, **policy)


def run_scope(context: dg.AssetExecutionContext) -> Scope:
    """Symbols and days of the run's partitions."""
    return Scope(*rectangle(context.partition_keys))


def day_scope(context: dg.AssetExecutionContext) -> DayScope:
    """Symbols and days of a run whose partitions have days."""
    scope = run_scope(context)
    if scope.first is None or scope.last is None:
        raise SchemaError(f"the partitions of {context.asset_key.to_user_string()} have no days")
    return DayScope(scope.symbols, scope.first, scope.last)


def make_rows(
    context: dg.AssetExecutionContext, reader: WarehouseReader, settings: Settings
) -> pd.DataFrame:
    """Rows of the run's partitions by the recipe of the asset's table.

    Raises
    ------
    MissingRowsError
        What they are made from is not all stored.
    """
    name = context.asset_key.path[-1]
    scope = day_scope(context)
    followed = recipes(settings)[name]
    if followed.recipe.made_from:
        upstream = {of: reader.rows(of, scope) for of in followed.recipe.made_from}
        require_rows(reader.warehouse, name, scope, upstream)
    frame = followed.rows(reader, scope)
    if not followed.recipe.made_from:
        _warn_of_unknown_windows(context, sum(run.unknown() for run in reader.read_windows))
    made = with_provenance(frame, name, settings)
    return with_results(made, name, chain_of(reader, name, scope))


def _warn_of_unknown_windows(context: dg.AssetExecutionContext, count: int) -> None:
    """Say on the materialisation and in the log how many rows wait for candles not asked for."""
    if count:
        context.add_output_metadata({"unknown_windows": count})
        context.log.warning(
            "%d symbol-days have the status NO_DATA because their window has not been fetched "
            "completely; materialise ohlcv_1d_history and ohlcv_1d up to these days, then this "
            "asset again",
            count,
        )


def column_schema(of: Table) -> dg.TableSchema:
    """The table's columns as the Dagster UI shows them."""
    columns = [
        dg.TableColumn(
            name=name,
            type=str(sql_type(of, name)).lower(),
            description=of.schema.columns[name].description,
            constraints=dg.TableColumnConstraints(
                nullable=bool(of.schema.columns[name].nullable), unique=of.key == (name,)
            ),
        )
        for name in of.columns
    ]
    return dg.TableSchema(columns=columns)


def _timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the seconds the function took to the materialisation's metadata."""

    @functools.wraps(function)
    def timed(context: dg.AssetExecutionContext, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = function(context, *args, **kwargs)
        context.add_output_metadata({"compute_seconds": round(time.perf_counter() - started, 3)})
        return result

    return timed
