"""What somebody asks for needs no Dagster, which takes seconds to load."""

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
import autonama_dagster.services as services
names = [m.name for m in pkgutil.walk_packages(services.__path__, services.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(*names)
print(*sys.modules)
"""


def test_a_process_that_loads_all_services_has_not_loaded_dagster():
    printed = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    ).stdout
    services, loaded = (line.split() for line in printed.splitlines())
    for name in ("scan.what_if", "lineage.receipts", "lineage.staleness", "monitoring.metrics"):
        assert f"autonama_dagster.services.{name}" in services
    assert set(services) <= set(loaded)
    assert {name.split(".")[0] for name in loaded if "dagster" in name} == {"autonama_dagster"}
