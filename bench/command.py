"""The program `autonama` as a user starts it, apart from the user's own settings."""

import os
import sys
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("autonama")
_OURS = ("AUTONAMA_", "BINANCE_", "DAGSTER_")
_KEPT = ("AUTONAMA_POSTGRES_BIN",)


def environment(home: Path, **settings: object) -> dict[str, str]:
    """Environment of a program that works in `home` with `settings` and nothing configured else.

    `settings` are named as in the code: `start_date` becomes `AUTONAMA_START_DATE`.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or not (name.startswith(_OURS) or name == "DATABASE_URL")
    }
    given = {f"AUTONAMA_{name.upper()}": str(value) for name, value in settings.items()}
    return {**inherited, **given, "AUTONAMA_HOME": str(home)}
