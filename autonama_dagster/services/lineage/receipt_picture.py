"""The explain chart of a stored signal."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd

from autonama_dagster.analytics.scan.channel import OK, ChannelParams, channel_curve
from autonama_dagster.analytics.scan.recipe import DayScope, followed
from autonama_dagster.analytics.scan.tables import RECIPES
from autonama_dagster.reports.charts.explain import Origin, explain_chart, shown_days
from autonama_dagster.services.inputs.evidence import read_evidence
from autonama_dagster.services.inputs.parameters import scan_params
from autonama_dagster.services.inputs.readers import MadeReader, WarehouseReader
from autonama_dagster.services.lineage.receipts import Receipt
from autonama_dagster.settings import Settings
from resources.warehouse.candle_queries import source_label
from resources.warehouse.warehouse import Warehouse

_OWN = ("date", "status", "close", "fitted_price", "upper_band", "lower_band", "z_score")


def draw_receipt(warehouse: Warehouse, settings: Settings, receipt: Receipt) -> bytes:
    """PNG of the signal: its window, channels, confirmations, data quality and hashes.

    The channels through the past are those that are stored: each day's own.
    """
    signal = receipt.rows["signals"]
    params = ChannelParams(**receipt.parameters)
    days = shown_days(receipt.window, receipt.day)
    first = receipt.day - timedelta(days=len(days) - 1)
    scope = DayScope((receipt.symbol,), first, receipt.day)
    own = WarehouseReader(warehouse).rows("signals", scope, _OWN)
    return explain_chart(
        receipt.symbol,
        receipt.run.candles[0],
        own[own["status"] == OK],
        channel_curve(receipt.run.candles[0], receipt.run.windows[0], params),
        receipt.rows.get("indicators", {}),
        signal,
        window=receipt.window,
        quality=_severities(warehouse, settings, receipt, scope),
        origin=Origin(
            input_hash=str(signal["input_hash"]),
            params_hash=str(signal["params_hash"]),
            code_version=str(signal["code_version"]),
            run_id=str(signal["run_id"]),
            is_matching=receipt.is_match,
            fault=receipt.fault,
        ),
        params=params,
        source_label=source_label(warehouse, receipt.day),
    )


def _severities(
    warehouse: Warehouse, settings: Settings, receipt: Receipt, scope: DayScope
) -> list[str | None]:
    """What the candles of each day shown are worth; None where a day is not judged."""
    params = replace(scan_params(settings), channel=ChannelParams(**receipt.parameters))
    first = scope.first - timedelta(days=params.lookback - 1)
    reader = MadeReader(
        followed(RECIPES, params),
        {receipt.symbol: receipt.run.candles[0]},
        evidence=read_evidence(warehouse, (receipt.symbol,), first, scope.last),
    )
    known = reader.rows("data_quality", scope)["severity"]
    return [None if pd.isna(value) else str(value) for value in np.asarray(known, dtype=object)]
