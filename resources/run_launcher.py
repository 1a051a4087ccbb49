"""Run launchers that know by a run's lock whether its process is still there."""

import time
from datetime import UTC, datetime, timedelta

from dagster import DagsterInstance, DagsterRun
from dagster._core.launcher import (
    CheckRunHealthResult,
    DefaultRunLauncher,
    RunLauncher,
    WorkerStatus,
)

from resources.run_locks import alive

STARTUP = timedelta(seconds=60)  # between the start of a run's process and its lock
LAST_WORDS_S = 2.0  # between the end of a run's lock and its last event


class HealthByLock(RunLauncher):
    """Mix-in: lets Dagster's run monitoring find a lost run by its lock, see `resources.run_locks`.

    It says so of any process on any machine, whatever the launcher itself believes.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: by the run's lock."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """RUNNING while the run's lock is held, or the run has hardly begun; else FAILED."""
        record = self._instance.get_run_record_by_id(run.run_id)
        begun = record.start_time if record else None
        if begun is None or datetime.now(UTC) - datetime.fromtimestamp(begun, UTC) < STARTUP:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if alive([run.run_id]) or _ends(self._instance, run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "the run's process was lost")


def _ends(instance: DagsterInstance, run_id: str) -> bool:
    """Whether the run comes to its end within a moment: it gives its lock back just before."""
    time.sleep(LAST_WORDS_S)
    record = instance.get_run_record_by_id(run_id)
    return record is None or record.dagster_run.is_finished


class WatchedRunLauncher(HealthByLock, DefaultRunLauncher):
    """Starts a run in a process of the code server, and knows when that process is lost.

    By itself Dagster notices a lost process only while the code server that started it lives: a
    run whose machine went down would count as running for ever.
    """
