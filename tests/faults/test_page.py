"""The page about faults names every test here, and no other."""

import ast
import re
from pathlib import Path

from places import DOCS

HERE = Path(__file__).parent
PAGE = DOCS / "faults.md"


def test_the_page_names_exactly_the_tests_that_exist():
    named = re.findall(r"`(test_\w+)` \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    existing = {
        node.name
        for file in HERE.glob("test_*_faults.py")
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert sorted(named) == sorted(existing)
