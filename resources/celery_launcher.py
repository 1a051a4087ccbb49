"""The Celery launcher of `deploy/celery`; imported only where dagster-celery is installed."""

from dagster_celery.launcher import CeleryRunLauncher

from resources.run_launcher import HealthByLock


class WatchedCeleryRunLauncher(HealthByLock, CeleryRunLauncher):
    """Starts a run as a Celery task, and knows when the task's process is lost.

    By itself Celery goes on calling a task STARTED whose worker's machine went down.
    """
