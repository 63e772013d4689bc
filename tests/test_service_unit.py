"""The unit that `watt node systemd` prints: what it closes and bounds, and that systemd takes it as it is."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from node.keyfile import TESTNET
from node.setup import CONFIG_NAME, NodeFiles, init_node

ANALYZE = shutil.which("systemd-analyze")
CLOSED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "ProtectProc": "invisible",
    "MemoryDenyWriteExecute": "yes",
    "CapabilityBoundingSet": "",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "UMask": "0077",
}
BOUNDED = ("MemoryMax", "TasksMax", "LimitNOFILE", "StartLimitBurst")
MOST_EXPOSED = 20
"""Tenths of `systemd-analyze security`, which calls what is below "OK"; 100 is a service with nothing closed."""


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unit of a node whose directory has a name that systemd would read as several, and with a specifier."""
    directory = tmp_path_factory.mktemp("machine") / "a %h node"
    init_node(NodeFiles(directory, "ann", "genesis.json", "127.0.0.1:7501", "127.0.0.1:7401", {}), "secret", TESTNET)
    words = ["node", "systemd", "--config", str(directory / CONFIG_NAME), "--user", "root"]
    made = CliRunner().invoke(main, words)
    assert made.exit_code == 0, made.output
    place = directory.parent / "watt.service"
    place.write_text(made.stdout)
    return place


def settings(unit: Path) -> Mapping[str, str]:
    lines = [line for line in unit.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_what_is_closed_and_bounded(unit: Path) -> None:
    found = settings(unit)
    assert {name: found.get(name) for name in CLOSED} == CLOSED
    assert all(found[name].rstrip("GM").isdecimal() for name in BOUNDED)
    assert found["LimitCORE"] == found["MemorySwapMax"] == "0", "keys are in memory"
    assert "--passphrase-file %d/watt-passphrase" in found["ExecStart"] and "LoadCredentialEncrypted" in found
    assert not re.search("@[A-Z]+@", unit.read_text()), "everything is filled in"


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd here")
def test_systemd_takes_it_and_finds_little_exposed(unit: Path) -> None:
    assert ANALYZE is not None
    checked = subprocess.run([ANALYZE, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0 and str(unit) not in checked.stderr, checked.stderr
    words = [ANALYZE, "security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", str(unit)]
    exposed = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert exposed.returncode == 0, exposed.stdout[-500:] + exposed.stderr
