"""The structure is a test: floors are checked by the import contract; this checks what it cannot see."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("chaincode", "node", "cli", "broker", "testnet", "bench", "tests")
MAX_LINES = 400

# Where two machines must compute the same, nothing may differ between them.
DETERMINISTIC = ("chaincode", "node/consensus", "node/model")
FORBIDDEN_MODULES = {"time", "random", "secrets", "datetime", "asyncio", "threading", "socket", "os", "uuid"}


def sources(*rooms: str) -> list[Path]:
    """The hand-written Python files of ``rooms``."""
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py") if "_pb2" not in path.name)


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sources(*ROOMS), ids=label)
def test_module_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", sources(*DETERMINISTIC), ids=label)
def test_deterministic_code_has_no_clock_chance_or_float(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]}
        else:
            names = set()
        assert not names & FORBIDDEN_MODULES, f"line {getattr(node, 'lineno', 0)} imports {names}"
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float), f"a float on line {node.lineno}"
        if isinstance(node, ast.BinOp):
            assert not isinstance(node.op, ast.Div), f"a true division on line {node.lineno}"


def test_only_one_file_knows_the_quorum() -> None:
    """Thresholds are computed in node/consensus/quorum.py and nowhere else."""
    for path in sources("node", "testnet", "cli"):
        if path.name in ("quorum.py", "light.py"):  # what clients take along stands alone; tests/test_light.py holds it
            continue
        text = path.read_text()
        assert "2 * f + 1" not in text and not re.search(r"// 3\b", text), label(path)


def test_nothing_is_swallowed() -> None:
    """No handler catches everything and does nothing."""
    for path in sources(*ROOMS):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ExceptHandler):
                continue
            broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
            )
            assert not (broad and all(isinstance(line, ast.Pass) for line in node.body)), f"{label(path)}:{node.lineno}"


FLOORS = (ROOT / "docs" / "architecture.md").read_text().partition("\n## The way")[0].split("\n### ")[1:]
"""Of the map: each begins with the folders that it is about."""
ROOM = re.compile(r"`([\w/*]+(?:\.py|/))`")


@pytest.mark.parametrize("floor", FLOORS, ids=lambda floor: floor.partition("\n")[0])
def test_every_room_is_on_the_map(floor: str) -> None:
    """docs/architecture.md names every module by itself, by family, or by its package; and none that is not there."""
    heading, _, rows = floor.partition("\n")
    spans = set(ROOM.findall(rows)) - {"protos/"}  # generated
    paths = [path for path in sources(*ROOM.findall(heading)) if path.stem != "__init__"]
    for path in paths:
        packages = [f"{package}/" for package in path.relative_to(ROOT).parent.parts[1:]]
        assert any(fnmatch(path.name, span) for span in spans) or spans.intersection(packages), label(path)
    for span in spans:
        assert any(fnmatch(f"/{label(path)}", f"*/{span}*") for path in paths), f"there is no {span}"


def test_every_floor_is_on_the_map() -> None:
    named = {folder for floor in FLOORS for folder in ROOM.findall(floor.partition("\n")[0])}
    assert named == {f"{room}/" for room in (*ROOMS, "protos") if room != "tests"}
