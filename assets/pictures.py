"""Pictures on materialisations: a PNG inlined as Markdown, which the Dagster UI shows."""

import base64

import dagster as dg
import pandas as pd

MAX_INLINE_BYTES = 100_000  # pictures are stored inside every event


def attach_picture(
    context: dg.AssetExecutionContext, name: str, png: bytes, day: pd.Timestamp
) -> None:
    """Put a picture on the materialisation of one day, not on every day of a range."""
    key = day.date().isoformat()
    context.add_asset_metadata({name: inline_png(png)}, partition_key=key)


def inline_png(png: bytes) -> dg.MetadataValue:
    """A PNG as Markdown metadata, or a note where it is too large to store in an event."""
    if len(png) > MAX_INLINE_BYTES:
        return dg.MetadataValue.text(f"picture of {len(png):,} bytes is too large to inline")
    encoded = base64.b64encode(png).decode("ascii")
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{encoded})")
