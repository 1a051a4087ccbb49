"""The IO manager: an asset's frame becomes rows of its table, its partitions become the scope."""

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pandas as pd

from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.partitions import rectangle
from autonama_dagster.schemas.registry import table
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch, Warehouse, Written

TABLE_METADATA = "autonama/table"
ROWS_METADATA = "rows"
LAST_DAY_METADATA = "autonama/last_day"  # partitions by symbol: the table's rows up to this day


class WarehouseIOManager(dg.IOManager):
    """Writes what an asset returns to its table; reads the same partitions back for its readers.

    The table is named by the asset's metadata `autonama/table`. One write is one transaction.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def handle_output(self, context: dg.OutputContext, obj: pd.DataFrame | Batch) -> None:
        """Replace the run's partitions in the asset's table with the returned rows."""
        name = _table_name(context.definition_metadata, context.asset_key)
        batch = obj if isinstance(obj, Batch) else Batch(obj)
        now = datetime.now(UTC)
        stamps = {
            "run_id": context.run_id,
            "computed_at": pd.Timestamp(now).as_unit("us"),
            "created_at": pd.Timestamp(now).as_unit("us"),
            "updated_at": pd.Timestamp(now).as_unit("us"),
        }
        keys = context.asset_partition_keys if context.has_asset_partitions else []
        written = self._warehouse.write(
            name, batch, _scope(keys, context.definition_metadata), stamps
        )
        context.add_output_metadata(_metadata(written, batch))
        context.log.info("%s: %d rows stored in %.2f s", name, written.rows, written.seconds)

    def load_input(self, context: dg.InputContext) -> pd.DataFrame:
        """Rows of the upstream asset's table in the partitions the reader needs."""
        upstream = context.upstream_output
        if upstream is None:
            raise SchemaError(f"input {context.name} has no upstream asset to read")
        name = _table_name(upstream.definition_metadata, upstream.asset_key)
        keys = context.asset_partition_keys if context.has_asset_partitions else []
        return self._warehouse.read(name, _scope(keys, upstream.definition_metadata))


def _table_name(metadata: Any, asset_key: dg.AssetKey) -> str:
    return table(str((metadata or {}).get(TABLE_METADATA, asset_key.path[-1]))).name


def _scope(keys: Any, metadata: Any) -> Scope:
    symbols, first, last = rectangle(keys)
    if limit := (metadata or {}).get(LAST_DAY_METADATA):
        last = date.fromisoformat(str(limit))
    return Scope(symbols, first, last)


def _metadata(written: Written, batch: Batch) -> dict[str, Any]:
    found: dict[str, Any] = {
        ROWS_METADATA: written.rows,
        "rows_read_back": written.rows,  # the write fails where they are others
        "symbols": written.symbols,
        "quarantined_rows": written.quarantined,
        "write_seconds": round(written.seconds, 3),
    }
    if written.first is not None and written.last is not None:
        found["date_range"] = f"{written.first} .. {written.last}"
    if batch.failed:
        found["failed_symbols"] = ", ".join(sorted(batch.failed)[:50])
        found["failed_count"] = len(batch.failed)
    return found
