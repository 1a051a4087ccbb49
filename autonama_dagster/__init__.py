"""Autonama: a point-in-time scan of the crypto market as Dagster assets.

`autonama_dagster.read` gives a table as a DataFrame; see docs/notebook.md.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autonama_dagster.services.reader import read

__all__ = ["read"]


def __getattr__(name: str) -> Any:
    """Import `read` when it is first asked for: it brings pandas."""
    if name != "read":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from autonama_dagster.services.reader import read  # noqa: PLC0415

    return read
