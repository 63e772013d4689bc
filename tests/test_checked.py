"""What was checked is not read again, unless anything that could change the outcome has changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import chaincode
from chaincode import checker
from chaincode.registry import default_registry
from node.checked import noted


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the contracts' sources; this process, which has checked nothing yet, may leave notes."""
    copy = tmp_path / "chaincode"
    shutil.copytree(chaincode.__path__[0], copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(checker, "_passed", set())
    return copy


def passes(note: Path, sources: Path) -> bool:
    """Whether a note makes a new process take the registry's contracts for checked."""
    checker._passed.clear()
    with noted(note, sources):
        return "chaincode.market" in checker.passed()


def test_what_has_passed_is_noted_and_changed_sources_are_read_again(tmp_path: Path, sources: Path) -> None:
    note = tmp_path / "notes" / "checked.json"
    with noted(note, sources):
        checker.check_modules([type(contract).__module__ for contract in default_registry().contracts])
    names = checker.passed()
    assert {"chaincode.market", "chaincode.auction"} <= names and not names & checker.RUNTIME
    assert [path.name for path in note.parent.iterdir()] == [note.name]
    assert passes(note, sources)

    for change in (sources / "market.py", sources / "checker_rules.py"):
        before = change.read_bytes()
        change.write_bytes(before + b"# a remark\n")
        assert not passes(note, sources)
        change.write_bytes(before)
        shutil.rmtree(note.parent)
        with noted(note, sources):
            checker.check_modules(["chaincode.market"])
        assert passes(note, sources)
    (sources / "new.py").write_text("X = 1\n")
    assert not passes(note, sources)


def test_what_fails_is_not_noted_and_a_spoilt_note_is_none(tmp_path: Path, sources: Path) -> None:
    note = tmp_path / "checked.json"
    with pytest.raises(checker.CheckError), noted(note, sources):
        checker.check_source("chaincode.wrong", "wrong.py", "import time")
    assert not note.exists()
    with noted(note, sources):
        checker.check_modules(["chaincode.market"])
    good = note.read_bytes()
    for spoilt in (b"", b"{}", good[:-9], b"[" * 70_000, good.replace(b"market", b"m\xffrket")):
        note.write_bytes(spoilt)
        assert not passes(note, sources)
    note.unlink()
    note.mkdir()  # where nothing can be left, nothing is
    assert not passes(note, sources) and list(note.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("checked")] == [note.name]


def test_no_note_is_left_where_no_bytecode_is(tmp_path: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with noted(tmp_path / "checked.json", sources):
        checker.check_modules(["chaincode.market"])
    assert not (tmp_path / "checked.json").exists()


def test_a_second_start_does_not_read_them(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.dont_write_bytecode = False; from node import checked, upgrades; "
        "from chaincode import checker; from chaincode.registry import registry_with\n"
        f"with checked.noted(Path({str(tmp_path / 'note')!r})): registry_with(lambda digest: None)\n"
        "print(len(checker._checked), len(checker.passed()))"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    (read, whole), (again, known) = (map(int, run.stdout.split()) for run in runs)
    assert read == whole == known > 50 and again == 0
