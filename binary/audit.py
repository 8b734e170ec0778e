"""``python -m binary.audit``: ask pip-audit what is known against the versions in requirements.lock.

Ends with 1 when there is something. pip-audit calls what it could not look up "no known vulnerabilities";
this says so instead, and ends with 0: where there is no network, nothing was found, and nothing was cleared.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCK = Path(__file__).with_name("requirements.lock")
_TIMEOUT = 15


@dataclass(frozen=True)
class Verdict:
    """What became of the look-ups, a line each."""

    known: list[str]
    """Vulnerabilities."""
    unknown: list[str]
    """What could not be looked up, and why."""
    cleared: list[str]
    """What is looked up, and has no vulnerability."""


def judge(report: dict[str, Any]) -> Verdict:
    """Read pip-audit's report, in its JSON format."""
    verdict = Verdict([], [], [])
    for dependency in report["dependencies"]:
        if "skip_reason" in dependency:
            verdict.unknown.append(f"{dependency['name']}: {dependency['skip_reason']}")
            continue
        name = f"{dependency['name']} {dependency['version']}"
        for found in dependency["vulns"]:
            fixed = ", ".join(found["fix_versions"]) or "no version"
            verdict.known.append(f"{name}: {found['id']}, fixed in {fixed}")
        if not dependency["vulns"]:
            verdict.cleared.append(name)
    return verdict


def main() -> None:
    """Print what is known, what could not be looked up, and what is clear."""
    command = [sys.executable, "-m", "pip_audit", f"--requirement={LOCK}", "--require-hashes"]
    command += ["--disable-pip", "--format=json", "--progress-spinner=off", f"--timeout={_TIMEOUT}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        verdict = judge(json.loads(result.stdout))
    except json.JSONDecodeError:
        reason = (result.stderr.strip().splitlines() or [f"pip-audit ended with {result.returncode}"])[-1]
        verdict = Verdict([], [f"all of {LOCK.name}: {reason}"], [])
    for line in verdict.known:
        sys.stdout.write(f"VULNERABLE {line}\n")
    for line in verdict.unknown:
        sys.stdout.write(f"COULD NOT LOOK UP {line}\n")
    if verdict.cleared:
        sys.stdout.write(f"nothing known against {', '.join(verdict.cleared)}\n")
    else:
        sys.stdout.write("nothing could be cleared\n")
    sys.exit(1 if verdict.known else 0)


if __name__ == "__main__":
    main()
