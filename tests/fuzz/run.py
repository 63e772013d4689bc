"""`make fuzz`: every target under a coverage-guided fuzzer, each for a bounded time in a process of its own.

    python -m tests.fuzz.run [--seconds 60] [--jobs 1] [TARGET ...]

Ends with a table; exit status 1 if a target raised what it may not, took too long or too much memory. Then the
input that did it lies in the directory named; ``python -m tests.fuzz.run TARGET --replay FILE`` shows the error again.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.targets import TARGETS, Target

TARGET_MODULES = ("tests.fuzz.peers", "tests.fuzz.clients", "tests.fuzz.files")
INPUT_BYTES = 1 << 16
INPUT_SECONDS = 10
MEMORY_MB = 2048


class Outcome(NamedTuple):
    """What fuzzing one target came to; ``fault``: how it ended, if not by its time."""

    name: str
    runs: int
    edges: int
    corpus: int
    peak_mb: int
    fault: str


def fuzz(name: str, seconds: int, directory: Path) -> Outcome:
    """Fuzz one target in a process of its own; new inputs that reach new code are kept for as long as it runs."""
    corpus, crashes = directory / f"{name}.corpus", directory / f"{name}.crash-"
    corpus.mkdir()
    command = [sys.executable, "-m", "tests.fuzz.run", "--child", name, str(corpus), f"-max_total_time={seconds}",
               f"-max_len={INPUT_BYTES}", f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MB}",
               f"-artifact_prefix={crashes}", "-print_final_stats=1"]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, timeout=2 * seconds + 300
    )
    found = {key: int(number) for key, number in re.findall(r"stat::(\w+):\s+(\d+)", done.stderr)}
    edges = [int(number) for number in re.findall(r"cov: (\d+)", done.stderr)]
    fault = "" if done.returncode == 0 else _fault(done.stderr)
    return Outcome(
        name,
        found.get("number_of_executed_units", 0),
        max(edges, default=0),
        len(list(corpus.iterdir())),
        found.get("peak_rss_mb", 0),
        fault,
    )


def _fault(output: str) -> str:
    told = re.search(r"Uncaught Python exception: ===\n(.+)|(ERROR: libFuzzer.*)", output)
    return (told[1] or told[2])[:160] if told else "it ended early: " + output.strip()[-160:]


def child(name: str, corpus: Path, options: list[str]) -> None:
    """In the fuzzing process: never returns."""
    import atheris  # noqa: PLC0415  # in the environment of `make fuzz` alone, and before what it is to watch

    with atheris.instrument_imports(include=["node", "cli", "chaincode"]):
        target = load(name)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *options, str(corpus)], target)
    atheris.Fuzz()


def load(name: str) -> Target:
    """The target of that name."""
    for module in TARGET_MODULES:
        __import__(module)
    return TARGETS[name]


def main() -> int:
    """Fuzz, or show one input again; the exit status."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    options.add_argument("targets", nargs="*", metavar="TARGET", help="by default all")
    options.add_argument("--seconds", type=int, default=60, help="how long each target is fuzzed")
    options.add_argument("--jobs", type=int, default=1, help="how many at a time")
    options.add_argument("--replay", type=Path, metavar="FILE", help="run one target on this input alone")
    chosen = options.parse_args()
    if chosen.replay is not None:
        print("taken" if load(chosen.targets[0])(chosen.replay.read_bytes()) else "refused, as it may be")
        return 0
    load("frame")
    names = chosen.targets or list(TARGETS)
    directory = Path(tempfile.mkdtemp(prefix="watt-fuzz-"))
    with ThreadPoolExecutor(chosen.jobs) as pool:
        outcomes = list(pool.map(lambda name: _told(fuzz(name, chosen.seconds, directory)), names))
    faults = [outcome for outcome in outcomes if outcome.fault]
    print(f"\n{len(outcomes)} targets, {sum(outcome.runs for outcome in outcomes):,} inputs, {len(faults)} faults")
    if faults:
        print(f"the inputs at fault are in {directory}")
    return 1 if faults else 0


def _told(outcome: Outcome) -> Outcome:
    figures = f"{outcome.runs:>10,} inputs {outcome.edges:>6} edges {outcome.corpus:>5} kept {outcome.peak_mb:>5} MB"
    print(f"{outcome.name:<22} {figures}  {outcome.fault or 'ok'}", flush=True)
    return outcome


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    else:
        sys.exit(main())
