"""A partition's own values on its materialisation, as the Dagster UI shows and plots them."""

import math
from collections.abc import Mapping
from typing import Any

import dagster as dg


def annotate(context: dg.AssetExecutionContext, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Put values on the materialisations of partitions, before the figures of the run.

    Parameters
    ----------
    rows
        Names and values by partition key, in the order in which they are shown.
    """
    # Dagster lists what is about the whole run first, and a name keeps the place it has got first.
    shared = [n for n in next(iter(rows.values()), {}) if all(n in of for of in rows.values())]
    context.add_output_metadata(dict.fromkeys(shared))
    for key, values in rows.items():
        context.add_asset_metadata(values, partition_key=key)


def rounded(value: Any, *, digits: int | None = None, places: int = 2) -> Any:
    """A number to so many significant digits, or decimal places; None where there is none."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return round(number, places) if digits is None else float(f"{number:.{digits}g}")
