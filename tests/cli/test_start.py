"""What a command costs before it does anything: households wait for it at every one."""

import subprocess
import sys

_PROVEN = """
import chaincode.checker as checker
from node.upgrades.library import client_registry
client_registry()
assert not checker._passed, "the sources of contracts were read"
"""


def test_a_wallet_does_not_read_the_sources_of_contracts() -> None:
    subprocess.run([sys.executable, "-c", _PROVEN], check=True, timeout=60)
