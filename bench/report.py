"""The line of JSON a benchmark ends with."""

import json
from typing import Any


def report(name: str, value: float, unit: str, *, target: float, met: bool, **details: Any) -> None:
    """Print a result on standard output.

    Parameters
    ----------
    name
        Name of the benchmark.
    value, unit
        The median, or the ratio of two medians taken in one run.
    target
        What `value` is held against.
    met
        Whether every target of the benchmark is met; a missed one is a result, not an error.
    details
        What exactly was measured: sizes, repetitions, the figures behind `value`.
    """
    line = {"name": name, "value": value, "unit": unit, "target": target, "met": met, **details}
    print(json.dumps(line), flush=True)
