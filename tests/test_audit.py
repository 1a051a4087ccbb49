"""What CI says of the locks when the vulnerability service knows much, little, or nothing."""

import json
import os
import subprocess
import sys

import pytest
from places import ROOT

LOCKS = ("requirements.lock", "deploy/requirements.lock")
FINE = {"name": "fine", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "2.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "nobody knows it"}
# Stands in for the real one: answers with the packages given for the lock it is asked about.
PIP_AUDIT = """
import json, os, sys
packages = json.loads(os.environ["PACKAGES"])[sys.argv[sys.argv.index("--requirement") + 1]]
if packages is None:
    sys.exit("the service is down")
print(json.dumps({"dependencies": packages}))
"""


@pytest.fixture
def audit(tmp_path):
    """Run the audit on what is said of each lock; its exit code and the lines it prints."""
    (tmp_path / "pip_audit.py").write_text(PIP_AUDIT, encoding="utf-8")

    def run(*packages):
        said = json.dumps(dict(zip(LOCKS, packages, strict=True)))
        done = subprocess.run(
            [sys.executable, ".ci/audit.py"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(tmp_path), "PACKAGES": said},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stderr == ""
        return done.returncode, done.stdout.splitlines()

    return run


def test_nothing_known_of_either_lock_is_one_line_each(audit):
    assert audit([FINE], [FINE, FINE]) == (
        0,
        [
            "requirements.lock: 1 packages, no known vulnerabilities",
            "deploy/requirements.lock: 2 packages, no known vulnerabilities",
        ],
    )


@pytest.mark.parametrize("packages", [([BAD], [FINE]), ([FINE], [BAD]), ([BAD], None)])
def test_something_vulnerable_in_either_lock_is_named_and_fails(audit, packages):
    code, lines = audit(*packages)
    assert code == 1
    assert "  bad 2.0: CVE-1, fixed in 2.1" in lines
    assert [line for line in lines if line.endswith(": 1 packages, 1 known vulnerabilities")]


@pytest.mark.parametrize(
    ("packages", "says"),
    [
        (([FINE], None), "deploy/requirements.lock: NOT AUDITED: the vulnerability service"),
        ((None, [FINE]), "requirements.lock: NOT AUDITED: the vulnerability service"),
        (([UNKNOWN, FINE], [FINE]), "requirements.lock: NOT AUDITED: 1 of 2 packages are unknown"),
    ],
)
def test_a_lock_that_cannot_be_judged_is_said_and_is_not_fine(audit, packages, says):
    code, lines = audit(*packages)
    assert code == 3
    assert len(lines) == len(LOCKS)
    assert [line for line in lines if line.startswith(says)]
