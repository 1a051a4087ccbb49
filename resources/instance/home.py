"""The Dagster instance of this project: one home, one configuration, for CLI and UI alike."""

import secrets
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef  # `overrides` has no public way

from autonama_dagster.settings import project_dir
from autonama_dagster.system.private_files import private_folder

_NO_COMPUTE_LOGS: dict[str, Any] = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def dagster_home() -> Path:
    """`.autonama/dagster` in the project folder, with a link to the checkout's `dagster.yaml`."""
    home = private_folder(project_dir() / ".autonama") / "dagster"
    home.mkdir(exist_ok=True)
    link = home / "dagster.yaml"
    target = Path(__file__).resolve().parents[2] / "dagster.yaml"
    if not link.exists() or link.resolve() != target:
        new = home / f"dagster.yaml-{secrets.token_hex(4)}"
        new.symlink_to(target)
        new.replace(link)  # at once: without the file Dagster takes a storage of its own
    return home


def open_instance() -> dg.DagsterInstance:
    """The instance for runs in the caller's own process, which keeps its terminal to itself."""
    ref = InstanceRef.from_dir(str(dagster_home()), overrides=_NO_COMPUTE_LOGS)
    return dg.DagsterInstance.from_ref(ref)
