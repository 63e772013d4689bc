"""Whether a pinned dependency has a known weakness: ``make check`` runs this.

pip-audit asks the advisory database on the network. A machine without it cannot know: then this says how many could not
be audited and goes on, since an offline build must not fail for it. A weakness that is known fails the build.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TIMEOUT_S = 120


def main(requirements: list[str]) -> int:
    """Audit requirement files with hashes. Returns the process's exit code: 1 if anything known was found."""
    found = 0
    for name in requirements:
        rows = _audit(name)
        if rows is None:
            print(f"advisories: {name}: no advisory data can be reached, nothing is audited")
            continue
        weak = [row for row in rows if row.get("vulns")]
        skipped = sum(1 for row in rows if "skip_reason" in row)
        audited = len(rows) - skipped
        print(f"advisories: {name}: {audited} audited, {len(weak)} with known weaknesses, {skipped} not audited")
        for row in weak:
            ids = ", ".join(weakness["id"] for weakness in row["vulns"])
            print(f"  {row['name']} {row['version']}: {ids}")
        found += len(weak)
    return 1 if found else 0


def _audit(name: str) -> list[dict[str, Any]] | None:
    """pip-audit's rows for a file; None if it could not ask."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
        try:
            subprocess.run(
                [*command, "-f", "json", "-o", str(report), "-r", name],
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
            rows: list[dict[str, Any]] = json.loads(report.read_text("utf-8"))["dependencies"]
        except (OSError, subprocess.TimeoutExpired, ValueError):
            return None
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
