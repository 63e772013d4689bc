"""The same day gives the same roots under every hash seed and on every Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OTHER_PYTHON = "WATT_OTHER_PYTHON"
"""An environment variable: another interpreter that has the packages; besides those found on the path."""
NEEDED = "import msgpack, msgspec, nacl, plyvel, sortedcontainers"


def run_day(python: str, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [python, "-m", "tests.determinism_script"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def other_pythons() -> list[str]:
    """Interpreters of another version than this one that could run a node."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    named = [os.environ.get(OTHER_PYTHON, ""), *(f"python3.{minor}" for minor in (11, 12))]
    found = [path for name in named if name and (path := shutil.which(name)) and name != f"python{ours}"]
    return [
        path for path in found if subprocess.run([path, "-c", NEEDED], capture_output=True, check=False).returncode == 0
    ]


def test_the_hash_seed_changes_nothing() -> None:
    first = run_day(sys.executable, "0")
    assert len(first.splitlines()) > 100
    assert "('ok', " in first and "('settled', " in first and "('fill', " in first
    for seed in ("1", "4294967295"):
        assert run_day(sys.executable, seed) == first


def test_another_python_gives_the_same() -> None:
    others = other_pythons()
    if not others:
        pytest.skip(f"no other Python with the packages on the path, and {OTHER_PYTHON} names none")
    for other in others:
        assert run_day(other, "2") == run_day(sys.executable, "3")
