"""Asset check of the anchor log: it lists what the tables hold, once a day's results are complete.

It stands behind the last stage of a day, so that every way of making one leads through it: a scan,
the daemon, a backfill. A log that cannot be written fails the check and leaves the results.
"""

from datetime import UTC, datetime

import dagster as dg

from assets.checks.tables import check_result
from autonama_dagster.errors import AnchorError
from autonama_dagster.services.anchors.anchors import anchor
from autonama_dagster.settings import Settings
from resources.warehouse.warehouse import Warehouse


def anchored_check() -> dg.AssetChecksDefinition:
    """Appends to the anchor log what it lacks."""

    @dg.asset_check(
        asset="analysis_summary",
        name="anchored",
        description="The anchor log covers all candles and results; lines it lacked are appended.",
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        settings: dg.ResourceParam[Settings],
    ) -> dg.AssetCheckResult:
        path = settings.anchor_path
        if path is None:
            return check_result(passed=True, lines=0)
        try:
            roots = anchor(warehouse, path, datetime.now(UTC))
        except AnchorError as error:
            context.log.warning("%s", error)
            return check_result(passed=False, bad=[str(error)])
        return check_result(
            passed=True, lines=len(roots), root=roots[-1] if roots else None, file=str(path)
        )

    return check
