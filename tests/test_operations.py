"""docs/operations.md cannot lie: with docs/evidence.md it names every code of a node, and every key of its settings."""

import ast
import re
from pathlib import Path

import msgspec
import pytest

from node.config import Config, GatewaySection, Limits, LogSection, MetricsSection, PeerSection
from node.model.genesis import Genesis

ROOT = Path(__file__).parent.parent
PAGE = "".join((ROOT / "docs" / name).read_text() for name in ("operations.md", "evidence.md"))
ERRORS = {"RefusedError", "ConfigError", "CodecError", "NodeFault", "StoreFault", "DivergenceFault", "NotNowError"}
SOURCES = [*sorted((ROOT / "node").rglob("*.py")), ROOT / "testnet" / "cluster.py", ROOT / "testnet" / "genesis.py"]


def codes(path: Path) -> set[str]:
    """The codes that a module raises errors with."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.add(first.value)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_code_is_explained_and_well_formed(path: Path) -> None:
    for code in codes(path):
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code), code
        assert f"`{code}`" in PAGE, f"docs/operations.md does not name {code}"


def test_every_key_of_the_configuration_is_explained() -> None:
    sections: list[tuple[str, type[msgspec.Struct]]] = [
        ("", Config),
        ("peer.", PeerSection),
        ("gateway.", GatewaySection),
        ("limits.", Limits),
        ("metrics.", MetricsSection),
        ("log.", LogSection),
    ]
    for prefix, section in sections:
        for name in section.__struct_fields__:
            if name not in ("peer", "gateway", "limits", "metrics", "log", "directory"):
                assert f"`{prefix}{name}`" in PAGE
    for name in Genesis.__struct_fields__:
        assert f"`{name}`" in PAGE
