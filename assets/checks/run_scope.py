"""What the run of a check has made: some checks judge its rows beside the table's latest days."""

import dagster as dg

from autonama_dagster.schemas.partitions import SYMBOL_DIMENSION, rectangle_of_run
from resources.warehouse.statements import Scope


def scope_of_run(context: dg.AssetCheckExecutionContext) -> Scope:
    """Symbols and days of the run's partitions; None for what it has none of."""
    registered = context.instance.get_dynamic_partitions(SYMBOL_DIMENSION)
    return Scope(*rectangle_of_run(context.run.tags, registered))
