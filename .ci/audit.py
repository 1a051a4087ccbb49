"""Compare requirements.lock with the published vulnerabilities, or say that it cannot be done.

Exit code 0: nothing known; 1: something is vulnerable; 3: the service could not be asked.
"""

import json
import subprocess
import sys

COMMAND = [
    sys.executable, "-m", "pip_audit", "--requirement", "requirements.lock", "--require-hashes",
    "--disable-pip", "--progress-spinner", "off", "--format", "json",
]  # fmt: skip

done = subprocess.run([*COMMAND, *sys.argv[1:]], capture_output=True, text=True, check=False)
try:
    packages = json.loads(done.stdout)["dependencies"]
except (ValueError, KeyError):
    reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
    print(f"NOT AUDITED: the vulnerability service cannot be asked: {reason}")
    sys.exit(3)
for package in packages:
    for found in package.get("vulns", ()):
        fixed = ", ".join(found["fix_versions"]) or "none yet"
        print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
skipped = [p for p in packages if "skip_reason" in p]
vulnerable = any(p.get("vulns") for p in packages)
if skipped:
    print(f"NOT AUDITED: {len(skipped)} of {len(packages)} packages are unknown to the service")
elif not vulnerable:
    print(f"{len(packages)} packages, no known vulnerability")
sys.exit(1 if vulnerable else 3 if skipped else 0)
