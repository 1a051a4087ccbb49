"""What worker processes need, also what is imported as late as its first use."""

import importlib

from resources.processes import loading

_MODULES = (
    "autonama_dagster.orchestration.workers.worker",
    "autonama_dagster.reports.charts.heatmap",
    "autonama_dagster.reports.charts.scan",
    "binance.client",
    "scipy.cluster.hierarchy",
)

with loading():
    for _name in _MODULES:
        importlib.import_module(_name)
