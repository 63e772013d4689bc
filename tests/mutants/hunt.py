"""Searches the code that it is run with for what breaks a promise; prints what found it, and after how much, as JSON.

Run inside the copy that holds a mutant, where all that it imports comes from. In the order asked for:

    seeds        histories of the simulator, from seed 0 on: whole nodes, and the kinds of faults that were named
    small-scope  histories drawn from the small scope, from seed 0 on: the core alone, a twin, splits
    tests        the unit tests that were named
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

SEEDS: Final = 40
DRAWN: Final = 6_000
TESTS_SECONDS: Final = 300

Finding = tuple[int, str]
"""After how many, and the first sign."""


def hunt_seeds(faults: str, _tests: list[str]) -> Finding | None:
    """The simulator."""
    from testnet.sim_options import ALL_FAULTS, Options  # noqa: PLC0415 - a mutant may break the import
    from testnet.sim_runs import run_seed  # noqa: PLC0415

    options = Options(ALL_FAULTS if faults == "all" else frozenset(faults.split(",")))
    failures = (run_seed(seed, options).failure for seed in range(SEEDS))
    return _first(failures)


def hunt_small_scope(_faults: str, _tests: list[str]) -> Finding | None:
    """The small scope."""
    from testnet.small_scope import drawn_history  # noqa: PLC0415
    from testnet.small_world import run_history  # noqa: PLC0415

    failures = (run_history(drawn_history(seed)).failure for seed in range(DRAWN))
    return _first(failures)


def _first(failures: Iterator[str | None]) -> Finding | None:
    for number, failure in enumerate(failures, start=1):
        if failure is not None:
            return number, failure
    return None


def hunt_tests(_faults: str, tests: list[str]) -> Finding | None:
    """Unit tests; the first that fails."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=TESTS_SECONDS, check=False)
    if ran.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(
            f"the tests did not run: {ran.stdout.strip().splitlines()[-1:]}"
        )  # no test has noticed anything
    failed = [line for line in ran.stdout.splitlines() if line.startswith("FAILED")]
    return (len(tests), failed[0].removeprefix("FAILED ")) if failed else None


HUNTERS: Final[dict[str, Callable[[str, list[str]], Finding | None]]] = {
    "seeds": hunt_seeds,
    "small-scope": hunt_small_scope,
    "tests": hunt_tests,
}


def main() -> None:
    """``hunt.py by[,by...] all|fault[,fault...] [test...]``, in the copy's directory."""
    order, faults, tests = sys.argv[1].split(","), sys.argv[2], sys.argv[3:]
    import node  # noqa: PLC0415 - only to see where from

    here = Path.cwd()
    if here not in Path(next(iter(node.__path__))).parents:
        raise SystemExit(f"the code under test is imported from {list(node.__path__)}, not from {here}")
    for by in order:
        finding = HUNTERS[by](faults, tests)
        if finding is not None:
            print(json.dumps({"by": by, "count": finding[0], "sign": finding[1].splitlines()[0][:200]}))
            return
    print(json.dumps({"by": None, "count": 0, "sign": ""}))


if __name__ == "__main__":
    main()
