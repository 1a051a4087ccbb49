"""The tree, the configuration files and the code agree."""

import ast
import gc
import importlib
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib import metadata
from pathlib import Path

import grimp
import pytest
import yaml
from dagster._serdes import ConfigurableClass
from places import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CODE = ("autonama_dagster", "assets", "resources", "migrations")
TOP_LEVEL = (
    "pyproject.toml", "workspace.yaml", "dagster.yaml", "Makefile", "requirements.lock",
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "autonama_dagster", "assets",
    "resources", "migrations", "tests", "bench", "docs",
)  # fmt: skip

MAX_LINES = 400

# Imported by name only, from deploy/celery/dagster.yaml, where dagster-celery is installed.
DEPLOYED = ROOT / "resources" / "celery_launcher.py"

# Top-level name of an import where it is not the name of its distribution.
DISTRIBUTIONS = {
    "graphql": "graphql-core",
    "PIL": "pillow",
    "dotenv": "python-dotenv",
    "binance": "python-binance",
    "fontTools": "fonttools",
    "dagster_postgres": "dagster-postgres",
    "psycopg2": "psycopg2-binary",
    "pydantic_settings": "pydantic-settings",
    "talib": "ta-lib",
    "yaml": "pyyaml",
}


@pytest.fixture(autouse=True)
def no_collection_while_parsing():
    """CPython 3.11 fails in ast.parse when a finaliser runs Python code inside it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def modules(*folders: str) -> list[Path]:
    return [p for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))]


def imported(source: Path) -> set[str]:
    """Top-level names a module imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def declared(requirements: list[str]) -> set[str]:
    return {re.match(r"[A-Za-z0-9._-]+", r)[0].lower() for r in requirements}


def distributions(sources: list[Path]) -> set[str]:
    """Distributions of the imports that are neither Python's nor this project's."""
    names = set().union(*map(imported, sources))
    local = {*CODE, "bench", "docs", "tests", *(p.stem for p in (ROOT / "tests").rglob("*.py"))}
    foreign = names - set(sys.stdlib_module_names) - local
    return {DISTRIBUTIONS.get(n, n.replace("_", "-")) for n in foreign}


def test_the_top_level_is_the_agreed_one():
    assert [name for name in TOP_LEVEL if not (ROOT / name).exists()] == []


def test_one_code_location_in_workspace_pyproject_and_code():
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))
    (location,) = workspace["load_from"]
    project = PYPROJECT["tool"]["dg"]["project"]
    assert location["python_module"] == {
        "module_name": project["code_location_target_module"],
        "location_name": project["code_location_name"],
    }
    assert project["code_location_name"] == "autonama"
    target = importlib.import_module(project["code_location_target_module"])
    assert target.__name__.split(".")[0] == project["root_module"]
    assert callable(target.defs)


def test_dagster_yaml_names_a_storage_without_configuration():
    config = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    custom = config["storage"]["custom"]
    storage = getattr(importlib.import_module(custom["module"]), custom["class"])
    assert issubclass(storage, ConfigurableClass)
    # A URL there would show in the arguments of every process that Dagster starts.
    assert custom["config"] == {} == storage.config_type()
    assert config["telemetry"] == {"enabled": False}


def test_dagster_yaml_limits_runs_and_the_exchange_and_starts_lost_runs_once_more():
    config = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    assert config["concurrency"] == {
        "runs": {"max_concurrent_runs": 2},
        "pools": {"granularity": "op", "default_limit": 1},
    }
    assert config["run_monitoring"]["enabled"] is True
    assert config["run_monitoring"]["max_resume_run_attempts"] == 0  # a lost run begins anew
    assert config["run_retries"] == {
        "enabled": True,
        "max_retries": 1,
        "retry_on_asset_or_op_failure": False,
    }


def test_the_version_is_the_installed_ones():
    assert metadata.version("autonama") == PYPROJECT["project"]["version"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {PYPROJECT['project']['version']}\n" in changes


def test_the_command_is_declared_and_importable():
    (name, target), *others = PYPROJECT["project"]["scripts"].items()
    module, _, function = target.partition(":")
    assert (name, others) == ("autonama", [])
    assert callable(getattr(importlib.import_module(module), function))


def test_installed_packages_are_the_trees():
    found = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert found == [
        f"{name}*" for name in ("autonama_dagster", "assets", "resources", "migrations")
    ]


def test_modules_stay_short():
    lengths = {
        str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines())
        for p in modules(*CODE, "bench")
    }
    long = {name for name, lines in lengths.items() if lines >= MAX_LINES}
    assert long == set(), "split them by meaning"


def test_inits_hold_no_code():
    # The door for notebooks imports what is behind it when it is used: services/test_reader.py.
    door = ROOT / "autonama_dagster" / "__init__.py"
    for init in (p for p in modules(*CODE) if p.name == "__init__.py" and p != door):
        body = ast.parse(init.read_text(encoding="utf-8")).body
        is_docstring = [isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) for n in body]
        assert is_docstring in ([], [True]), init


def test_tests_are_no_package():
    # A lone __init__.py in tests/assets would shadow the real package.
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_module_has_its_layer():
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c["type"] == "layers" and "containers" not in c]
    placed = {name for layer in layers for name in layer.split(" | ")}
    inside = {
        f"autonama_dagster.{p.stem}"
        for p in (ROOT / "autonama_dagster").iterdir()
        if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert placed == (inside - {"autonama_dagster.__init__"}) | {"assets", "resources"}


def test_no_import_goes_in_a_circle():
    graph = grimp.build_graph("autonama_dagster", "assets", "resources")
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # raises a CycleError that names the circle


def test_imports_by_name_are_those_of_what_is_chosen_when_it_runs():
    """Such an import is seen by no contract: the command that was called, and what is preloaded."""
    found = {
        str(p.relative_to(ROOT)) for p in modules(*CODE) if "import_module(" in p.read_text("utf-8")
    }
    assert found == {
        "autonama_dagster/cli/main.py",
        "autonama_dagster/orchestration/workers/preloaded.py",
        "autonama_dagster/orchestration/workers/pool.py",
    }


def test_analytics_charts_schemas_and_planner_are_held_pure():
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    forbidden = {
        source: set(c["forbidden_modules"])
        for c in contracts
        if c["type"] == "forbidden"
        for source in c["source_modules"]
    }
    for name in ("analytics", "reports.charts", "schemas", "orchestration.planner"):
        held = forbidden[f"autonama_dagster.{name}"]
        assert held >= {"dagster", "adbc_driver_postgresql", "psycopg", "assets", "resources"}
    assert "sqlalchemy" in forbidden["autonama_dagster.analytics"]


def test_every_import_of_the_code_is_a_declared_dependency():
    needed = distributions([p for p in modules(*CODE) if p != DEPLOYED])
    assert needed <= declared(PYPROJECT["project"]["dependencies"])


def test_what_a_deployment_alone_needs_is_declared_there_and_imported_by_nothing_else():
    extra = distributions([DEPLOYED]) - declared(PYPROJECT["project"]["dependencies"])
    lines = (ROOT / "deploy" / "requirements.in").read_text(encoding="utf-8").splitlines()
    assert extra
    assert extra <= declared([line for line in lines if line and not line.startswith("#")])
    others = [p.read_text(encoding="utf-8") for p in modules(*CODE, "bench") if p != DEPLOYED]
    assert not [text for text in others if DEPLOYED.stem in text]


def test_every_import_of_tests_and_bench_is_declared():
    needed = distributions(modules("tests", "bench"))
    known = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]
    assert needed <= declared(known)


def test_every_declared_dependency_is_locked_with_hashes():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==", lock, re.MULTILINE))
    known = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]
    assert declared(known) <= locked
    entries = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)
    assert all("--hash=sha256:" in entry for entry in entries if entry.strip())


def test_the_lock_names_no_registry():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    assert "--index-url" not in lock


def test_no_file_names_a_place_of_one_machine_or_a_registry():
    # Built from parts, so that this file does not find itself.
    registries = (r"pypi\." + "org", r"pythonhosted\." + "org", "index-" + "url =")
    folders = (re.escape(f"{ROOT}/"), r"(?<![\w.])/" + "work/")
    unwanted = re.compile("|".join((*registries, *folders)))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        if path.suffix != ".png"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if unwanted.search(line)
    ]
    assert found == []


def test_our_types_are_for_users_too():
    for package in ("autonama_dagster", "assets", "resources"):
        assert (ROOT / package / "py.typed").is_file()
    assert "py.typed" in PYPROJECT["tool"]["setuptools"]["package-data"]["*"]


def test_nothing_generated_is_tracked():
    names = [str(p.relative_to(ROOT)) for p in tracked()]
    assert [
        n for n in names if re.search(r"\.(pyc|egg-info|env)(/|$)|^(results|\.autonama)/", n)
    ] == []


def test_ci_runs_lint_types_audit_and_tests():
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for target in ("setup", "lint", "types", "audit", "test"):
        assert re.search(rf"^make .*\b{target}\b", run, re.MULTILINE), target


def test_the_workflow_runs_what_ci_runs_and_the_templates_are_forms():
    github = ROOT / ".github"
    workflow = yaml.safe_load((github / "workflows" / "check.yaml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert workflow["permissions"] == {"contents": "read"}
    oldest = PYPROJECT["project"]["requires-python"].removeprefix(">=")
    assert oldest in job["strategy"]["matrix"]["python"]
    forms = sorted((github / "ISSUE_TEMPLATE").glob("*.yaml"))
    assert len(forms) == 2
    for form in forms:
        found = yaml.safe_load(form.read_text(encoding="utf-8"))
        assert found["name"]
        assert found["description"]
        assert len({field["id"] for field in found["body"]}) == len(found["body"])


def test_make_check_does_what_ci_does():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^check: lint types audit test\b", makefile, re.MULTILINE)
    # Vulnerabilities fail it; that the service cannot be asked does not.
    recipe = re.search(r"^audit: .*\n\t(.*)", makefile, re.MULTILINE)[1]
    assert recipe.startswith("$(BIN)/python .ci/audit.py || [ $$? -eq 3 ]")
