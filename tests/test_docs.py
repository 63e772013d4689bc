"""Docs cannot lie: every command explains itself, and what the README names exists."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.main import main

ROOT = Path(__file__).parent.parent


def commands(group: click.Group, path: tuple[str, ...] = ("watt",)) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below ``group`` with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = list(commands(main))


@pytest.mark.parametrize(("words", "command"), ALL, ids=[" ".join(words) for words, _ in ALL])
def test_command_has_help(words: tuple[str, ...], command: click.Command) -> None:
    assert command.help, f"{' '.join(words)} has no help"
    if not isinstance(command, click.Group):
        assert "watt " in command.help, f"{' '.join(words)} --help shows no example"
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{' '.join(words)} {parameter.opts[0]} has no help"


def test_readme_names_only_what_exists() -> None:
    """Every `watt ...` line and every make target in the README is real."""
    readme = (ROOT / "README.md").read_text()
    known = {" ".join(words) for words, _ in ALL}
    for line in re.findall(r"^\s*(watt [a-z][^\n#|]*)", readme, flags=re.MULTILINE):
        words = line.split()
        assert " ".join(words[:3]) in known or " ".join(words[:2]) in known, line
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make ([a-z-]+)", readme, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for page in re.findall(r"\((docs/[^)#]+)\)", readme):
        assert (ROOT / page).exists(), page


def test_the_threat_model_names_tests_that_exist_and_every_attacker() -> None:
    """docs/security.md: what is shown by a test has that test."""
    page = (ROOT / "docs/security.md").read_text()
    named = re.findall(r"`((?:tests/[a-z]+/)?test_[a-z0-9_*]+(?:\.py)?|tests/test_[a-z0-9_*]+\.py)`", page)
    directory = "tests/security"
    found: set[Path] = set()
    for name in named:
        place = name if "/" in name else f"{directory}/{name}"
        matches = set(ROOT.glob(place if place.endswith(".py") else f"{place}.py"))
        short = set(ROOT.glob(f"tests/functional/{name}"))  # within a cell, after a name with its directory
        assert matches or short, name
        found |= matches
    attackers = set((ROOT / directory).glob("test_*.py"))
    assert attackers <= found, attackers - found


def test_the_project_speaks_of_itself_alone() -> None:
    """No file names the machine that it was written on."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    foreign = re.compile("/" + "work/|/" + "root/|\\.\\./" + "shared")
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".txt", ".cfg", ".toml", ".in", ".proto"} and path.exists():
            assert not foreign.search(path.read_text(errors="replace")), name


def test_the_checklist_names_tests_that_say_so() -> None:
    """Each line of the table in docs/consensus.md names tests that exist, and whose docstrings name the line."""
    page = (ROOT / "docs/consensus.md").read_text()
    table = page.split("## What is proven, and where")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| (\d+) \| .* \| (.*) \|$", table, re.MULTILINE))
    assert [int(number) for number in rows] == list(range(1, 61))
    for number, cell in rows.items():
        found = re.findall(r"`([^`]+\.py)`(?:: ((?:`\w+`(?:, )?)+))?", cell)
        assert found, f"line {number} names no test"
        for name, tests in found:
            module = ast.parse((ROOT / "tests" / name).read_text())
            texts = {node.name: ast.get_docstring(node) for node in module.body if isinstance(node, ast.FunctionDef)}
            for test in re.findall(r"\w+", tests) or [""]:
                said = ast.get_docstring(module) if not test else texts.get(test)
                assert int(number) in _numbers(said or ast.get_docstring(module) or ""), (number, name, test)


def _numbers(text: str) -> set[int]:
    """Those in "Checklist 5, 6 and 9 to 11"."""
    numbers: set[int] = set()
    for part in re.findall(r"Checklist ((?:\d+(?: to \d+)?(?:, | and )?)+)", text):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", part):
            numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def test_every_decision_has_a_number_of_its_own_and_is_listed() -> None:
    pages = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("0*.md"))
    assert [name[:4] for name in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    listed = re.findall(r"^\| \[(\d{4})\]\((.*?)\) \|", (ROOT / "docs/decisions/README.md").read_text(), re.MULTILINE)
    assert listed == [(name[:4], name) for name in pages]
    for name in pages:
        assert (ROOT / "docs" / "decisions" / name).read_text().startswith(f"# {name[:4]} "), name
