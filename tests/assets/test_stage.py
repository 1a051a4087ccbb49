"""What a stage may be, beside those that there are."""

from datetime import date

import dagster as dg
import pandas as pd
from support import bands

from assets.partitions import build_partitions
from assets.stage import stage
from autonama_dagster.schemas.tables.analysis import REGRESSION_BANDS
from autonama_dagster.settings import Settings
from resources.io_manager import WarehouseIOManager


def test_a_stage_without_partitions_replaces_its_whole_table(warehouse):
    days = ["2024-01-01"]

    @stage("analysis", REGRESSION_BANDS, None, job="reports_job")
    def regression_bands(context: dg.AssetExecutionContext) -> pd.DataFrame:
        """Made all at once."""
        assert not context.has_partition_key
        return bands(["BTCUSDT"], days)

    asset = regression_bands.build(build_partitions(date(2024, 1, 1)))
    assert asset.partitions_def is None
    for _ in range(2):
        result = dg.materialize(
            [asset],
            resources={"io_manager": WarehouseIOManager(warehouse)},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert result.success
        stored = warehouse.read("regression_bands")
        assert [str(d.date()) for d in stored["date"]] == days
        days[:] = ["2024-01-02", "2024-01-03"]


def test_a_stage_is_due_on_its_day_and_on_unless_it_says_otherwise():
    made = stage("analysis", REGRESSION_BANDS, "date_symbol", job="symbols_job")(lambda: None)
    assert (made.due_after, made.is_on(Settings())) == (0, True)
    later = stage(
        "analysis", REGRESSION_BANDS, "date_symbol", job="late_job",
        due_after=20, is_on=lambda settings: bool(settings.intraday_symbols),
    )(lambda: None)  # fmt: skip
    assert (later.due_after, later.is_on(Settings())) == (20, False)
