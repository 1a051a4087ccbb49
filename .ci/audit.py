"""Compare the locks with the published vulnerabilities, or say that it cannot be done.

One line a lock, and one for each vulnerability. Exit code 0: nothing known; 1: something is
vulnerable; 3: the service could not be asked, or does not know a package.
"""

import json
import subprocess
import sys

# What everyone installs, and what the container's image has besides.
LOCKS = ("requirements.lock", "deploy/requirements.lock")
OPTIONS = [
    "--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json",
]  # fmt: skip
FINE, VULNERABLE, NOT_ASKED = 0, 1, 3


def audit(lock: str) -> int:
    """Print what is known about the packages of a lock; the exit code that it is worth."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", lock, *OPTIONS, *sys.argv[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"{lock}: NOT AUDITED: the vulnerability service cannot be asked: {reason}")
        return NOT_ASKED
    found = [(package, known) for package in packages for known in package.get("vulns", ())]
    skipped = [package for package in packages if "skip_reason" in package]
    verdict = f"{len(packages)} packages, {len(found) or 'no'} known vulnerabilities"
    if skipped:
        verdict = (
            f"NOT AUDITED: {len(skipped)} of {len(packages)} packages are unknown to the service"
        )
        verdict += f", {len(found)} known vulnerabilities of the others" if found else ""
    print(f"{lock}: {verdict}")
    for package, known in found:
        fixed = ", ".join(known["fix_versions"]) or "none yet"
        print(f"  {package['name']} {package['version']}: {known['id']}, fixed in {fixed}")
    return VULNERABLE if found else NOT_ASKED if skipped else FINE


codes = [audit(lock) for lock in LOCKS]
sys.exit(VULNERABLE if VULNERABLE in codes else max(codes))
