"""Run launchers that know by a run's lock whether its process is still there."""

from dagster import DagsterRun
from dagster._core.launcher import (
    CheckRunHealthResult,
    DefaultRunLauncher,
    RunLauncher,
    WorkerStatus,
)

from resources.instance.locks import lost


class HealthByLock(RunLauncher):
    """Mix-in: Dagster's run monitoring finds a lost run by its lock (`resources.instance.locks`).

    It says so of any process on any machine, whatever the launcher itself believes.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: by the run's lock."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """RUNNING while the run's lock is held, or the run has hardly begun; else FAILED."""
        record = self._instance.get_run_record_by_id(run.run_id)
        if record is not None and lost(self._instance, [record]):
            return CheckRunHealthResult(WorkerStatus.FAILED, "the run's process died")
        return CheckRunHealthResult(WorkerStatus.RUNNING)


class WatchedRunLauncher(HealthByLock, DefaultRunLauncher):
    """Starts a run in a process of the code server, and knows when that process is lost.

    By itself Dagster notices a lost process only while the code server that started it lives: a
    run whose machine went down would count as running for ever.
    """
