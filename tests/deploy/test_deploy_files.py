"""The files of deploy/ parse, agree with the project's own, and open nothing to the world."""

import os
import re
import subprocess
from importlib import metadata

import dagster as dg
import psycopg
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from places import ROOT

from resources.dagster_storage import BulkPostgresEventLogStorage
from resources.postgres.database import dagster_database_url
from resources.postgres.server.programs import find_programs

DEPLOY = ROOT / "deploy"
# What a deployment's dagster.yaml says otherwise than the project's own.
PLACES = {"local_artifact_storage", "compute_logs"}
DIFFERENCES = {
    "dagster.yaml": PLACES,
    "celery/dagster.yaml": PLACES | {"run_launcher", "concurrency"},
}
LOCKED = re.compile(r"^([a-z0-9._-]+)(?:\[[a-z0-9,]+\])?==(\S+)", re.MULTILINE)


def text(name):
    return (DEPLOY / name).read_text(encoding="utf-8")


def load(name):
    return yaml.safe_load(text(name))


def root(name):
    return (ROOT / name).read_text(encoding="utf-8")


def dockerfile():
    """Instructions of the Dockerfile, continuation lines joined, comments left out."""
    lines = [line for line in text("Dockerfile").splitlines() if not line.startswith("#")]
    return [line for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def final_stage():
    instructions = dockerfile()
    starts = [n for n, line in enumerate(instructions) if line.startswith("FROM ")]
    assert len(starts) == 2
    return instructions[starts[-1] :]


def services():
    return load("compose.yaml")["services"]


def all_services():
    """Name and definition of each service of both compose files; some are in both."""
    return [*services().items(), *load("celery/compose.yaml")["services"].items()]


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_deployments_dagster_yaml_is_the_projects_but_for_the_stated_differences(name):
    ours, theirs = yaml.safe_load(root("dagster.yaml")), load(name)
    different = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    assert different == DIFFERENCES[name]


def test_celery_changes_how_many_runs_and_nothing_else_of_concurrency():
    ours, theirs = yaml.safe_load(root("dagster.yaml")), load("celery/dagster.yaml")
    assert theirs["concurrency"].pop("runs").keys() == ours["concurrency"].pop("runs").keys()
    assert theirs["concurrency"] == ours["concurrency"]


@pytest.mark.parametrize("name", DIFFERENCES)
def test_dagster_accepts_the_instance_configuration(name, monkeypatch):
    for variable in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
        monkeypatch.setenv(variable, "redis://localhost")
    folder = (DEPLOY / name).parent
    reference = InstanceRef.from_dir(str(folder))
    assert reference.storage_data.class_name == "AutonamaStorage"
    # Addresses with passwords are named, not written out: this goes to every worker.
    assert "redis://" not in str(reference)


def test_the_code_location_has_one_name_everywhere():
    (own,) = yaml.safe_load(root("workspace.yaml"))["load_from"]
    (served,) = load("workspace.yaml")["load_from"]
    (chart,) = load("helm/values.yaml")["dagster-user-deployments"]["deployments"]
    expected = own["python_module"]["location_name"]
    assert served["grpc_server"]["location_name"] == chart["name"] == expected
    module = own["python_module"]["module_name"]
    assert chart["dagsterApiGrpcArgs"] == ["--module-name", module]
    assert f'"-m", "{module}"' in dockerfile()[-1]


def test_webserver_and_daemon_find_the_code_server():
    (server,) = load("workspace.yaml")["load_from"]
    assert server["grpc_server"]["host"] in services()
    assert f"EXPOSE {server['grpc_server']['port']}" in dockerfile()
    for name in ("webserver", "daemon"):
        assert services()[name]["command"][-2:] == ["-w", "/app/deploy/workspace.yaml"]


def test_only_the_code_server_starts_schedules_by_itself():
    automatic = {n for n, s in all_services() if "AUTONAMA_AUTOMATION" in s.get("environment", ())}
    assert automatic == {"code-server"}
    (chart,) = load("helm/values.yaml")["dagster-user-deployments"]["deployments"]
    assert {"name": "AUTONAMA_AUTOMATION", "value": "true"} in chart["env"]


def test_the_image_installs_both_locks_completely_and_by_hash():
    (install,) = [line for line in dockerfile() if "--require-hashes" in line]
    assert install.startswith("RUN ")
    for option in ("-r requirements.lock", "-r deploy/requirements.lock", "--no-deps"):
        assert option in install
    for name in ("requirements.lock", "deploy/requirements.lock"):
        entries = re.split(r"^(?=[a-z0-9])", root(name), flags=re.MULTILINE)
        assert all("--hash=sha256:" in entry for entry in entries if entry.strip())
        assert "://" not in root(name)


def test_the_deployment_lock_adds_to_the_projects_and_repeats_nothing():
    own = dict(LOCKED.findall(root("requirements.lock")))
    added = dict(LOCKED.findall(text("requirements.lock")))
    assert not own.keys() & added.keys()
    installed = own | added
    assert {"dagster-celery", "dagster-k8s", "redis"} <= installed.keys()
    # Dagster's packages are made for each other: 1.13.27 goes with 0.29.27.
    release = own["dagster"].removeprefix("1.13.")
    assert {installed[n] for n in ("dagster-celery", "dagster-k8s")} == {f"0.29.{release}"}
    assert load("helm/values.yaml")["telemetry"] == {"enabled": False}
    assert f"--version {own['dagster']}" in text("helm/values.yaml")


def test_the_image_has_the_projects_version():
    version = metadata.version("autonama")
    assert f"ARG VERSION={version}" in dockerfile()
    assert {s["image"] for n, s in services().items() if n != "postgres"} == {
        f"${{AUTONAMA_IMAGE:-autonama:{version}}}"
    }
    assert load("helm/values.yaml")["dagsterWebserver"]["image"]["tag"] == version


def test_the_image_runs_as_an_ordinary_user_and_holds_no_build_tools():
    stage = final_stage()
    assert [line for line in stage if line.startswith("USER ")] == ["USER 10001:10001"]
    assert not [line for line in stage if re.search(r"\b(apt-get|apk|gcc|pip install)\b", line)]
    kinds = {line.split()[0] for line in stage}
    assert {"LABEL", "HEALTHCHECK", "CMD"} <= kinds
    assert "ADD" not in kinds


def test_what_the_image_copies_exists_and_holds_no_settings():
    lines = text("Dockerfile.dockerignore").splitlines()
    assert "*" in lines, "all but the named is left out"
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert [name for name in allowed if not (ROOT / name).exists()] == []
    for name in ("requirements.lock", "deploy/requirements.lock", "migrations", "dagster.yaml"):
        assert name in allowed
    assert "**/.env" in lines


IMAGE = re.compile(r"(?:FROM |image: )(?!\$)(\S+)")


def test_images_of_others_are_named_by_digest():
    used = {
        image
        for path in DEPLOY.rglob("*")
        if path.name in {"Dockerfile", "compose.yaml"}
        for image in IMAGE.findall(path.read_text(encoding="utf-8"))
    }
    assert {image.split(":")[0] for image in used} == {"python", "postgres", "redis"}
    pinned = re.compile(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}")
    assert [image for image in used if not pinned.fullmatch(image)] == []
    assert len(used) == 3, "one digest for each"


def test_composes_database_user_is_no_superuser(postgres, tmp_path):
    """The script that the image runs when its volume is empty, on a server of ours."""
    assert "POSTGRES_USER" not in services()["postgres"]["environment"]
    script = text("postgres/autonama.sh")
    for name in ("autonama_dagster", "autonama"):  # other names: the server has these
        script = re.sub(rf"\b{name}\b", f"composed_{name}", script)
    password = tmp_path / "password"
    password.write_text("planted'pass")
    environment = {
        "PATH": f"{find_programs()}:{os.environ['PATH']}",
        "POSTGRES_PASSWORD_FILE": str(password),
        "POSTGRES_USER": "autonama_admin",
        "PGHOST": str(postgres.socket_dir),
    }
    subprocess.run(["bash", "-c", script], env=environment, check=True)
    with psycopg.connect(postgres.admin_url("postgres"), autocommit=True) as connection:
        owned = connection.execute(
            "SELECT datname::text, rolsuper, rolcreatedb, rolcreaterole, rolpassword LIKE 'SCRAM%' "
            "FROM pg_database JOIN pg_authid ON pg_authid.oid = datdba "
            "WHERE rolname = 'composed_autonama' ORDER BY 1"
        ).fetchall()
        for name in ("composed_autonama", "composed_autonama_dagster"):
            connection.execute(f"DROP DATABASE {name}")
        connection.execute("DROP ROLE composed_autonama")
    rights = (False, False, False, True)
    assert owned == [("composed_autonama", *rights), ("composed_autonama_dagster", *rights)]


def test_ports_are_published_on_loopback_only():
    published = [port for _, s in all_services() for port in s.get("ports", ())]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert not [name for name, s in all_services() if "network_mode" in s]
    assert load("helm/values.yaml")["dagsterWebserver"]["service"]["type"] == "ClusterIP"


def test_no_secret_is_written_down():
    for path in (p for p in DEPLOY.rglob("*.yaml") if "secrets" not in p.parts):
        content = path.read_text(encoding="utf-8")
        assert not re.search(r"://[^/\s]*:[^/\s]*@", content), f"{path.name}: a URL with a password"
        values = leaves(yaml.safe_load(content))
        secret = {k: v for k, v in values if re.search(r"(?i)(password|api_?(key|secret))$", k)}
        assert secret == {}, path.name
    assert all(s["file"].startswith("secrets/") for s in load("compose.yaml")["secrets"].values())
    assert "secrets/" in text(".gitignore").splitlines()
    assert "POSTGRES_PASSWORD_FILE" in services()["postgres"]["environment"]


def test_every_service_waits_for_what_it_needs_and_can_be_asked_for_its_health():
    base = services()
    assert base["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("webserver", "daemon"):
        assert base[name]["depends_on"] == {"code-server": {"condition": "service_healthy"}}
    for name in ("code-server", "metrics"):
        expected = {"migrate": {"condition": "service_completed_successfully"}}
        assert base[name]["depends_on"] == expected
    # The code server's check is the image's own.
    assert [n for n, s in services().items() if "healthcheck" not in s] == ["code-server"]


def test_containers_may_do_no_more_than_they_need():
    for name, service in services().items():
        if name != "postgres":
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]


def chart_instance(values):
    """The `dagster.yaml` that the chart writes: its own storages, then the additional block."""
    stock = "\n".join(
        f"{key}:\n  module: dagster_postgres\n  class: {name}\n  config: {{postgres_url: x}}"
        for key, name in (
            ("schedule_storage", "PostgresScheduleStorage"),
            ("run_storage", "PostgresRunStorage"),
            ("event_log_storage", "PostgresEventLogStorage"),
        )
    )
    return f"{stock}\n{yaml.safe_dump(values['additionalInstanceConfig'])}"


def test_the_charts_instance_uses_the_projects_storage(database, tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database)
    values = load("helm/values.yaml")
    (tmp_path / "dagster.yaml").write_text(chart_instance(values), encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        storages = (instance.event_log_storage, instance.run_storage, instance.schedule_storage)
        for storage in storages:
            # Dagster's wrapper for storages that are configured one by one.
            inside = storage._storage
            assert type(inside).__name__ == "AutonamaStorage"
            assert isinstance(inside.event_log_storage, BulkPostgresEventLogStorage)
            assert inside.event_log_storage.postgres_url == dagster_database_url()
        assert instance.get_run_ids() == []


def test_the_chart_runs_what_the_project_runs():
    values, own = load("helm/values.yaml"), yaml.safe_load(root("dagster.yaml"))
    daemon = values["dagsterDaemon"]
    assert snake(daemon["runMonitoring"]) == own["run_monitoring"]
    assert snake(daemon["runRetries"]) == own["run_retries"]
    assert snake(values["concurrency"]["pools"]) == own["concurrency"]["pools"]
    # The storage is in our image only.
    (code,) = values["dagster-user-deployments"]["deployments"]
    assert values["dagsterWebserver"]["image"] == daemon["image"] == code["image"]
    assert values["runLauncher"]["type"] == "K8sRunLauncher"


def leaves(value, key=""):
    """Each text of a YAML document with the key it stands under."""
    if isinstance(value, dict):
        return [pair for k, v in value.items() for pair in leaves(v, k)]
    if isinstance(value, list):
        return [pair for v in value for pair in leaves(v, key)]
    return [(key, value)] if isinstance(value, str) else []


def snake(mapping):
    return {re.sub(r"([A-Z])", r"_\1", key).lower(): value for key, value in mapping.items()}
