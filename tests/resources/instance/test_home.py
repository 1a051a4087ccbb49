"""Dagster's home in the project folder."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import yaml

from resources.instance.home import dagster_home

PROGRAMS = 8


def test_programs_that_start_at_once_all_find_the_configuration(tmp_path, monkeypatch):
    def start(_):
        everyone.wait()
        return yaml.safe_load((dagster_home() / "dagster.yaml").read_text(encoding="utf-8"))

    for number in range(30):  # one in three shows a home that is made in two steps
        project = tmp_path / str(number)
        project.mkdir()
        monkeypatch.setenv("AUTONAMA_HOME", str(project))
        everyone = Barrier(PROGRAMS)
        with ThreadPoolExecutor(PROGRAMS) as pool:
            found = list(pool.map(start, range(PROGRAMS)))
        assert all(configuration["storage"] for configuration in found)
        assert [file.name for file in dagster_home().iterdir()] == ["dagster.yaml"]
