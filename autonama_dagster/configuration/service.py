"""Settings of the running service: automation, links, alerts, retention, logs and results."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator

LogFormat = Literal["text", "json"]


class ServiceSettings(BaseModel):
    """What runs by itself, and where people read of it."""

    automation: bool = Field(
        default=False,
        description="Start schedules and sensors automatically; `autonama up` sets it.",
    )
    ui_url: str = Field(
        default="http://127.0.0.1:3000",
        description="URL of the Dagster UI, for links to runs.",
        pattern=r"^https?://[^/\s]+",
    )
    pictures_url: str = Field(
        default="http://127.0.0.1:9464",
        description="URL of `autonama metrics`, or of the metrics of `autonama up`, for links to "
        "signal pictures.",
        pattern=r"^https?://[^/\s]+",
    )
    alert_webhook: SecretStr | None = Field(
        default=None,
        description="URL that failed runs are posted to as JSON, e.g. a chat webhook.",
    )
    retention_alerts_days: Annotated[int, Field(ge=7, le=36_500)] | None = Field(
        default=None, description="Days of `alerts` to keep, e.g. 30; unset: all."
    )
    retention_summaries_days: Annotated[int, Field(ge=7, le=36_500)] | None = Field(
        default=None, description="Days of `analysis_summary` to keep, e.g. 7; unset: all."
    )
    retention_events_days: Annotated[int, Field(ge=1, le=36_500)] | None = Field(
        default=None, description="Days of Dagster's event log to keep, e.g. 30; unset: all."
    )
    log_format: LogFormat = Field(
        default="text",
        description="Format of logs and progress: text, or json (one object per line).",
    )
    results_dir: Path = Field(
        default=Path("results"), description="Folder for exported results and charts."
    )

    anchor_file: Path | None = Field(
        default=Path("anchors.jsonl"),
        description="File of the anchor log, one for each database; `none`: no anchors are made.",
    )

    @property
    def retention_days(self) -> dict[str, int]:
        """By table of which old rows are deleted, how many days are kept."""
        days = {
            "alerts": self.retention_alerts_days,
            "analysis_summary": self.retention_summaries_days,
        }
        return {name: kept for name, kept in days.items() if kept is not None}

    @field_validator("anchor_file", mode="before")
    @classmethod
    def _may_be_none(cls, value: object) -> object:
        return None if value == "none" else value

    @field_validator("ui_url", "pictures_url")
    @classmethod
    def _are_urls(cls, value: str) -> str:
        _ = urlsplit(value).port  # its ValueError says what is wrong
        return value

    @field_validator("alert_webhook")
    @classmethod
    def _is_http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"https?://[^/\s]+", value.get_secret_value()):
            raise ValueError("is not an http:// or https:// URL")
        return value
