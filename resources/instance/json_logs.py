"""The form of a log line in JSON, the same for the command line and for Dagster's runs."""

import json
from datetime import UTC, datetime
from typing import Any


def json_line(level: str, message: str, *, time: datetime | None = None, **fields: Any) -> str:
    """One JSON object on one line: time, level and message first, then the fields that are known.

    Parameters
    ----------
    level
        debug, info, warning, error or critical.
    message
        What happened.
    time
        When; default: now.
    fields
        Further values; those that are None are left out, and what JSON does not know becomes text.
    """
    moment = (time or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="milliseconds")
    known = {name: value for name, value in fields.items() if value is not None}
    return json.dumps({"time": moment, "level": level, "message": message, **known}, default=str)
