"""`make mutants`: breaks the code on purpose, one small way after another, and demands that something notices each.

Each mutant (``mutants.py``) is one exact piece of text and what to put in its place. The packages are copied into a
scratch directory, the mutant is applied there, and ``hunt.py`` searches: first with what caught it when it was written
down, then with everything else. Exit status 1 if one is not caught, or if its text is no longer in its file exactly
once; or if the same search finds something in the code as it is: then it would find it in every mutant, too.

    python -m tests.mutants.run                       all of them
    python -m tests.mutants.run --only skip-null      one; --search: simulator first, whatever caught it before
    python -m tests.mutants.run --check               only whether all texts are found
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS

ROOT: Final = Path(__file__).resolve().parent.parent.parent
COPIED: Final = ("broker", "chaincode", "cli", "node", "protos", "testnet", "tests", "setup.cfg", "pyproject.toml")
ORDER: Final = ("seeds", "small-scope", "tests")
LIMIT_SECONDS: Final = 600
UNBROKEN: Final = Mutant(
    "(nothing broken)",
    "nothing",
    "setup.cfg",
    "[metadata]",
    "[metadata]",
    tests=tuple(sorted({test for mutant in MUTANTS for test in mutant.tests})),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant. ``by`` is None if nothing noticed it."""

    mutant: Mutant
    by: str | None
    count: int
    sign: str
    seconds: float


def fault(mutant: Mutant) -> str | None:
    """Why the mutant cannot be applied to the code as it is; None if it can."""
    found = (ROOT / mutant.file).read_text().count(mutant.old)
    return None if found == 1 else f"{mutant.name}: its text is {found} times in {mutant.file}"


def judge(mutant: Mutant, search: bool) -> Verdict:
    """Copy, break, hunt."""
    began = time.monotonic()
    order = ORDER if search else (mutant.caught_by, *(by for by in ORDER if by != mutant.caught_by))
    with tempfile.TemporaryDirectory(prefix="wattledger-mutant-") as scratch:
        _copy(Path(scratch))
        path = Path(scratch, mutant.file)
        path.write_text(path.read_text().replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "tests.mutants.hunt", ",".join(order), mutant.faults, *mutant.tests]
        environment = {**os.environ, "PYTHONPATH": scratch, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            ran = subprocess.run(
                command,
                cwd=scratch,
                env=environment,
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            # A history that never ends is noticed by whoever waits for it; but no checker said so.
            return Verdict(mutant, None, 0, f"no end within {LIMIT_SECONDS} s", time.monotonic() - began)
    seconds = time.monotonic() - began
    if ran.returncode != 0:
        return Verdict(mutant, None, 0, f"the hunt failed: {ran.stderr.strip().splitlines()[-1:]}", seconds)
    found = json.loads(ran.stdout.splitlines()[-1])
    return Verdict(mutant, found["by"], found["count"], found["sign"], seconds)


def _copy(scratch: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__", "functional")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, scratch / name, ignore=ignore)
        else:
            shutil.copy(source, scratch / name)


def main() -> None:
    """See the head of this module."""
    parser = argparse.ArgumentParser(description="Break the code on purpose; something must notice.")
    parser.add_argument("--only", help="names of mutants, separated by commas")
    parser.add_argument(
        "--search", action="store_true", help="try the simulator first, then the small scope, then tests"
    )
    parser.add_argument("--check", action="store_true", help="only see whether every mutant still has its text")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="print one JSON value instead of a table")
    options = parser.parse_args()
    chosen = _chosen(options.only)
    faults = [text for mutant in chosen if (text := fault(mutant)) is not None]
    for text in faults:
        print(text, file=sys.stderr)
    if options.check or faults:
        sys.exit(1 if faults else 0)
    with ThreadPoolExecutor(options.processes) as pool:
        kinds = () if options.only else sorted({mutant.faults for mutant in chosen})
        controls = [pool.submit(judge, replace(UNBROKEN, faults=faults), search=True) for faults in kinds]
        verdicts = []
        for hunt in as_completed([pool.submit(judge, mutant, options.search) for mutant in chosen]):
            verdict = hunt.result()
            verdicts.append(verdict)
            if not options.json:
                print(_line(verdict), flush=True)
    if options.json:
        print(json.dumps([_value(verdict) for verdict in verdicts], indent=1))
    missed = [verdict for verdict in verdicts if verdict.by is None]
    print(f"{len(verdicts)} mutants, {len(missed)} not caught", file=sys.stderr)
    is_sound = all(_is_clean(control.result()) for control in controls)
    sys.exit(1 if missed or not is_sound else 0)


def _is_clean(control: Verdict) -> bool:
    """Whether the search ran through the code as it is, and found nothing."""
    if control.by is None and not control.sign:
        return True
    print(f"nothing was broken, and yet: {control.by} {control.sign}", file=sys.stderr)
    return False


def _chosen(only: str | None) -> Sequence[Mutant]:
    if only is None:
        return MUTANTS
    names = only.split(",")
    known = {mutant.name: mutant for mutant in MUTANTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no mutant is named {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names]


def _line(verdict: Verdict) -> str:
    caught = "NOT CAUGHT" if verdict.by is None else f"{verdict.by} {verdict.count}"
    return f"{verdict.mutant.name:28} {caught:20} {verdict.seconds:5.0f} s  {verdict.sign}"


def _value(verdict: Verdict) -> dict[str, object]:
    return {
        "mutant": verdict.mutant.name,
        "breaks": verdict.mutant.breaks,
        "by": verdict.by,
        "count": verdict.count,
        "sign": verdict.sign,
    }


if __name__ == "__main__":
    main()
