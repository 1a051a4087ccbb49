"""The version of the code: what it covers, and what changes it."""

import re
import shutil
import tomllib
from importlib import metadata
from types import SimpleNamespace

import pytest
from places import ROOT

from autonama_dagster.services.inputs import versions
from autonama_dagster.services.inputs.versions import READING, code_version, used_by


def test_code_version_is_the_package_version_and_a_digest():
    assert re.fullmatch(r"\d[\w.]*\+[0-9a-f]{12}", code_version("scan"))
    try:
        installed = metadata.version("autonama")
    except metadata.PackageNotFoundError:
        installed = "0"
    assert code_version("scan").split("+")[0] == installed


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy of the code, with a system that is none yet; `versions()` of each system."""
    real = {system: code_version(system) for system in ("candles", "scan")}
    for name in ("autonama_dagster", "resources"):
        shutil.copytree(ROOT / name, tmp_path / name)
    package = tmp_path / "autonama_dagster" / "analytics"
    (package / "regimes").mkdir()
    (package / "regimes" / "stress.py").write_text("LIMIT = 2\n")
    monkeypatch.setattr(versions.resources, "files", lambda n: tmp_path.joinpath(*n.split(".")))

    def found():
        code_version.cache_clear()
        return {system: code_version(system) for system in ("candles", "scan", "regimes")}

    yield SimpleNamespace(root=tmp_path, package=package, versions=found, real=real)
    code_version.cache_clear()


def change(file, old="", new="\nONE_MORE = 1\n"):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new) if old else text + new)


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        ("candles/windows.py", {"candles", "scan", "regimes"}),
        ("scan/channel.py", {"scan", "regimes"}),
        ("scan/tables.py", {"scan", "regimes"}),
        ("scan/quality/rules.py", {"scan", "regimes"}),
        ("regimes/stress.py", {"regimes"}),
    ],
)
def test_a_changed_formula_is_another_version_of_its_system_and_of_those_that_use_it(
    tree, module, changed
):
    before = tree.versions()
    change(tree.package / module)
    after = tree.versions()
    assert {system for system in before if before[system] != after[system]} == changed


@pytest.mark.parametrize(
    "module",
    [
        "resources/warehouse/warehouse.py",
        "resources/warehouse/candle_queries.py",
        "autonama_dagster/services/inputs/readers.py",
        "autonama_dagster/services/inputs/evidence.py",
    ],
)
def test_what_reads_and_joins_is_of_every_version(tree, module):
    before = tree.versions()
    change(tree.root / module, new="\n# A remark\n")
    assert tree.versions() == before
    change(tree.root / module)
    after = tree.versions()
    assert not {system for system in before if before[system] == after[system]}


def test_of_every_module_of_inputs_it_is_said_whether_it_reads():
    folder = ROOT / "autonama_dagster" / "services" / "inputs"
    read = {stem for package, stem in READING if package.endswith("inputs")}
    others = {"parameters", "required", "results", "upstream", "versions"}
    assert {file.stem for file in folder.glob("*.py")} - {"__init__"} == read | others


def test_a_comment_or_another_folder_is_no_other_version(tree):
    before = tree.versions()
    change(tree.package / "candles" / "windows.py", new="\n# A remark\n")
    folder = tree.package / "scan" / "fits"
    folder.mkdir()
    (tree.package / "scan" / "channel.py").rename(folder / "channel.py")
    users = tree.package / "scan" / "tables.py"
    change(
        users,
        "autonama_dagster.analytics.scan.channel",
        "autonama_dagster.analytics.scan.fits.channel",
    )
    assert tree.versions() == before


def test_the_version_is_of_the_code_and_not_of_the_place_where_it_lies(tree):
    found = tree.versions()
    assert {system: found[system] for system in tree.real} == tree.real
    assert len(set(found.values())) == 3


def test_a_version_covers_the_folders_that_the_contract_lets_a_system_import():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [
        c["layers"] for c in contracts["contracts"]
        if c.get("containers") == ["autonama_dagster.analytics"]
    ]  # fmt: skip
    for at, layer in enumerate(layers):
        below = {name.strip("()") for one in layers[at + 1 :] for name in one.split(" | ")}
        for system in layer.split(" | "):
            assert set(used_by(system.strip("()"))) - {system.strip("()")} == below


SOURCE = '''"""What this is."""

from math import exp  # exp only


def price(m: float, text: str = "# kept") -> str:
    """Say the price.

    On two lines.
    """  # a remark
    # Why
    sql = """
    # kept, too
    """

    return f"{exp(m) + 1} {{m}} {text!r:>{3}} # kept" + sql
'''
CODE = '''from math import exp
def price(m: float, text: str = "# kept") -> str:
    sql = """
    # kept, too
    """
    return f"{exp(m) + 1} {{m}} {text!r:>{3}} # kept" + sql'''


def test_code_is_what_is_left_without_comments_docstrings_and_blank_lines():
    assert versions._code(SOURCE) == CODE
    assert versions._code(SOURCE.replace("\n", "\r\n")) == CODE


def test_digest_is_the_same_on_every_python():
    assert versions._digest([("price", SOURCE), ("empty", "")]) == "bc30e6434c4c"


def test_digest_knows_the_names_of_modules_but_not_their_order():
    a, b = [("a", "x = 1"), ("b", "y = 2")], [("b", "y = 2"), ("a", "x = 1")]
    assert versions._digest(a) == versions._digest(b)
    assert versions._digest(a) != versions._digest([("a", "y = 2"), ("b", "x = 1")])


def test_two_modules_of_one_name_in_two_folders_both_count():
    one = versions._digest([("events", "x = 1"), ("events", "y = 2")])
    assert one != versions._digest([("events", "x = 1"), ("events", "y = 3")])


IMPORTING = """from math import exp

from autonama_dagster.analytics import rows
from autonama_dagster.analytics.scan.channel import (
    OK,
    fit,
)
from autonama_dagster.errors import SchemaError

print(exp, rows, OK, fit, SchemaError)
"""
MOVED = """from math import exp

from autonama_dagster.analytics.candles.candles import rows
from autonama_dagster.analytics.scan.channel import OK, fit
from autonama_dagster.errors import SchemaError

print(exp, rows, OK, fit, SchemaError)
"""


@pytest.mark.parametrize(
    ("text", "is_same"),
    [
        (MOVED, True),
        (MOVED.replace("OK, fit\n", "OK, fit as fit\n"), False),
        (MOVED.replace("scan.channel", "scan.chance"), False),
        (MOVED.replace("import exp", "import log as exp"), False),
    ],
)
def test_digest_knows_what_is_imported_but_not_from_which_folder(text, is_same):
    before, after = (
        versions._digest([("signals", source), ("rows", ""), ("channel", "")])
        for source in (IMPORTING, text)
    )
    assert (before == after) is is_same
