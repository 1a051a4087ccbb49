import hashlib
import re
import shutil
import struct
import tomllib
from dataclasses import replace
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest
from candle_support import FIRST_DAY, part, walk, without
from places import ROOT

from autonama_dagster.analytics.candles import hashing
from autonama_dagster.analytics.candles.candles import CANDLE_FLOATS, FACTS, NUMBERS
from autonama_dagster.analytics.candles.hashing import (
    code_version,
    combine,
    market_hashes,
    params_hash,
    used_by,
    window_hashes,
)
from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.windows import windows


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


# Parameters


def test_params_hash_is_of_sorted_json_without_whitespace():
    params = {"kstd": 2.5, "degree": 4, "scales": ["log", None, True], "nested": {"b": 1, "a": 2}}
    text = '{"degree":4,"kstd":2.5,"nested":{"a":2,"b":1},"scales":["log",null,true]}'
    assert params_hash(params) == sha256(text)


def test_params_hash_of_whole_numbers_ignores_their_type():
    assert params_hash({"kstd": 2, "in": [{"a": 3}]}) == params_hash(
        {"in": [{"a": 3.0}], "kstd": 2.0}
    )
    assert params_hash({"kstd": 1}) != params_hash({"kstd": True})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_params_hash_refuses_what_json_cannot_hold(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        params_hash({"kstd": value})


# Windows


def test_window_hash_is_of_the_digests_of_its_candles_in_order():
    candles = without(walk(0, 60), 40)
    window = windows(candles, FIRST_DAY + np.array([-1, 0, 35, 45, 59]), 20)
    each = [bytes(digest) for digest in candles.digest]
    expected = [
        hashlib.sha256(b"".join(each[a:b])).hexdigest()
        for a, b in zip(window.start, window.stop, strict=True)
    ]
    assert window_hashes(candles, window) == expected
    assert window_hashes(candles, window)[0] == sha256("")


def test_window_hash_knows_its_own_candles_only():
    candles = walk(0, 60)
    at = candles.day[30:31]
    seen = part(candles, slice(11, 31))
    assert window_hashes(candles, windows(candles, at, 20)) == window_hashes(
        seen, windows(seen, at, 20)
    )


def known(candles):
    """The candles with all facts that a candle can have."""
    n = len(candles)
    return replace(
        candles,
        taker_buy_volume=candles.volume / 2,
        taker_buy_quote_volume=candles.volume / 3,
        trades=np.arange(n) + 5,
        source=np.where(np.arange(n) % 2, b"binance", b"archive"),
    )


@pytest.mark.parametrize("name", FACTS)
def test_one_changed_fact_changes_the_hashes_of_the_windows_that_hold_it(name):
    candles = known(walk(0, 60))
    values = getattr(candles, name).copy()
    others = {"row_hash": b"f" * 64, "source": b"binance", "trades": 36}
    values[30] = others.get(name) or np.nextafter(values[30], np.inf)
    changed = replace(candles, **{name: values})
    before, after = (np.array(window_hashes(c, windows(c, c.day, 20))) for c in (candles, changed))
    assert np.flatnonzero(before != after).tolist() == [*range(30, 50)]


def test_a_digest_is_of_everything_that_is_known_of_a_candle():
    candles = known(walk(0, 5))
    row = [float(getattr(candles, name)[3]) for name in NUMBERS]
    packed = (
        b"BTCUSDT\n1d\n" + struct.pack(">q", FIRST_DAY + 3) + candles.row_hash[3]
        + struct.pack(">8dq", *row, 8) + b"binance"
    )  # fmt: skip
    assert bytes(candles.digest[3]) == hashlib.sha256(packed).digest()


@pytest.mark.parametrize(
    "moved",
    [{"day": np.arange(5) + FIRST_DAY - 1}, {"symbol": "ETHUSDT"}, {"interval": INTERVALS["1h"]}],
    ids=["day", "symbol", "table"],
)
def test_a_candle_that_was_moved_has_another_digest(moved):
    candles = walk(0, 5)
    assert (replace(candles, **moved).digest != candles.digest).any(axis=1).all()


def test_digests_of_a_view_and_of_any_nan():
    candles = known(walk(0, 60))
    view = {name: getattr(candles, name)[::2] for name in ("day", *FACTS)}
    assert (replace(candles, **view).digest == candles.digest[::2]).all()
    quiet = np.full(60, np.nan)
    assert quiet.tobytes() != (-quiet).tobytes()
    ways = [replace(candles, quote_volume=nan).digest for nan in (quiet, -quiet)]
    assert (ways[0] == ways[1]).all()


def test_market_hashes_are_of_row_hash_and_six_numbers_whichever_way_the_candles_came():
    candles = known(walk(0, 60))
    window = windows(candles, candles.day[[30, 59]], 20)
    rows = zip(candles.row_hash, *(getattr(candles, name) for name in CANDLE_FLOATS), strict=True)
    each = [hashlib.sha256(row[0] + struct.pack(">6d", *row[1:])).digest() for row in rows]
    expected = [hashlib.sha256(b"".join(each[a:b])).hexdigest() for a, b in ((11, 31), (40, 60))]
    assert market_hashes(candles, window) == expected
    other = replace(candles, source=candles.source[::-1])
    assert market_hashes(other, window) == expected
    assert window_hashes(other, window) != window_hashes(candles, window)


def test_no_candles_and_no_days():
    none = part(walk(0, 5), slice(0, 0))
    assert market_hashes(none, windows(none, np.array([FIRST_DAY]))) == [sha256("")]
    assert window_hashes(none, windows(none, np.array([FIRST_DAY]))) == [sha256("")]
    assert window_hashes(none, windows(none, np.array([], dtype=np.int64))) == []


# Several hashes


def test_combined_hashes_depend_on_each_and_on_their_order():
    combined = {combine("a", "b"), combine("b", "a"), combine("ab"), combine("a", "b", "")}
    assert len(combined) == 4
    assert combine("a", "b") == sha256("a\nb")


# Code


def test_code_version_is_the_package_version_and_a_digest():
    assert re.fullmatch(r"\d[\w.]*\+[0-9a-f]{12}", code_version("scan"))
    try:
        installed = metadata.version("autonama")
    except metadata.PackageNotFoundError:
        installed = "0"
    assert code_version("scan").split("+")[0] == installed


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy of the formulas, with a system that is none yet; `versions()` of each system."""
    real = {system: code_version(system) for system in ("candles", "scan")}
    package = tmp_path / "analytics"
    shutil.copytree(ROOT / "autonama_dagster" / "analytics", package)
    (package / "regimes").mkdir()
    (package / "regimes" / "stress.py").write_text("LIMIT = 2\n")
    monkeypatch.setattr(hashing.resources, "files", lambda _: package)

    def versions():
        code_version.cache_clear()
        return {system: code_version(system) for system in ("candles", "scan", "regimes")}

    yield SimpleNamespace(package=package, versions=versions, real=real)
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
    assert hashing._code(SOURCE) == CODE
    assert hashing._code(SOURCE.replace("\n", "\r\n")) == CODE


def test_digest_is_the_same_on_every_python():
    assert hashing._digest([("price", SOURCE), ("empty", "")]) == "bc30e6434c4c"


def test_digest_knows_the_names_of_modules_but_not_their_order():
    a, b = [("a", "x = 1"), ("b", "y = 2")], [("b", "y = 2"), ("a", "x = 1")]
    assert hashing._digest(a) == hashing._digest(b)
    assert hashing._digest(a) != hashing._digest([("a", "y = 2"), ("b", "x = 1")])


def test_two_modules_of_one_name_in_two_folders_both_count():
    one = hashing._digest([("events", "x = 1"), ("events", "y = 2")])
    assert one != hashing._digest([("events", "x = 1"), ("events", "y = 3")])


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
        hashing._digest([("signals", source), ("rows", ""), ("channel", "")])
        for source in (IMPORTING, text)
    )
    assert (before == after) is is_same
