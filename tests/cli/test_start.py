"""What a command costs before it does anything: households wait for it at every one."""

import subprocess
import sys

import pytest

_PROVEN = """
import chaincode.checker as checker
from node.upgrades.library import client_registry
client_registry()
assert not checker._passed, "the sources of contracts were read"
"""

_NEEDLESS = {"cryptography", "fpdf", "networkx", "numpy", "pandas", "pyarrow", "rich", "scipy"}
"""What takes long to load, and most commands can do without: tables and certificates are loaded when there are any."""


def test_a_wallet_does_not_read_the_sources_of_contracts() -> None:
    subprocess.run([sys.executable, "-c", _PROVEN], check=True, timeout=60)


@pytest.mark.parametrize("words", [["wallet", "order"], ["wallet", "balance"], ["market", "products"]])
def test_what_a_command_does_not_use_is_not_loaded(words: list[str]) -> None:
    loaded = f"import sys\nfrom cli.main import main\nmain({[*words, '--help']}, standalone_mode=False)\n"
    told = subprocess.run(
        [sys.executable, "-c", loaded + "print(*{name.partition('.')[0] for name in sys.modules})"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert not _NEEDLESS & set(told.stdout.splitlines()[-1].split())
