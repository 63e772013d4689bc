"""What is seen of a node that does not run: its last words, its files, its ports."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from node.config import split_address
from node.postmortem import findings_on_disk, probe
from node.votelog import LOG_NAME
from testnet.genesis import NetworkNode, build_network, free_ports


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> NetworkNode:
    """A node that never ran."""
    return build_network(tmp_path_factory.mktemp("net"), {}, base_port=None).nodes[0]


def told(node: NetworkNode, log: Path | None) -> dict[str, str]:
    return {finding.code: finding.text for finding in findings_on_disk(node.config, log)}


LAST_LINES = [
    ("2026-01-01T00:00:00.000Z CRITICAL watt.node node-fault code=db-failed: no space left", "db-failed", "no space"),
    ("watt: port-in-use: cannot listen on 127.0.0.1:1", "port-in-use", "cannot listen"),
    ("2026-01-01T00:00:00.000Z INFO watt.node stopped height=12", "stopped", "height=12"),
    ("2026-01-01T00:00:00.000Z INFO watt.peers link-up peer=south", "killed", "link-up"),
    ("\xff\x00 torn", "killed", "torn"),
    ("killed while it wrote " + "x" * 100_000, "killed", "killed, crashed"),
]


@pytest.mark.parametrize(("line", "code", "named"), LAST_LINES, ids=[words for *_, words in LAST_LINES])
def test_the_last_words_of_the_log(node: NetworkNode, tmp_path: Path, line: str, code: str, named: str) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100_000 + b"\n" + line.encode("latin-1") + b"\n")
    assert named in told(node, log)[code] and len(told(node, log)[code]) < 700


def test_a_fault_is_found_above_what_the_command_said(node: NetworkNode, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("CRITICAL watt.node node-fault code=diverged: block 7\nwatt: diverged: block 7\n")
    assert set(told(node, log)) == {"down", "diverged", "no-data"}


@pytest.mark.parametrize("log", [None, Path("/nowhere/at/all")])
def test_without_a_log_that_is_said(node: NetworkNode, log: Path | None) -> None:
    assert set(told(node, log)) == {"down", "no-log", "no-data"}


def test_a_port_that_somebody_else_has_is_named(node: NetworkNode) -> None:
    with socket.create_server(split_address(node.config.peer.listen)):
        assert "`peer.listen`" in told(node, None)["port-in-use"]


def test_a_database_that_another_process_holds_is_told(node: NetworkNode) -> None:
    lock = node.directory / "data" / "db" / "LOCK"
    lock.parent.mkdir(parents=True)
    lock.touch()
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"1\n"
        found = told(node, None)
        holder.communicate(b"\n")
    assert "no-control-socket" in found and "down" not in found
    (node.directory / "data" / "votes" / LOG_NAME).unlink()
    assert {"down", "vote-log-missing"} <= set(told(node, None))


def test_an_address_is_probed() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    assert probe(address) == "nothing listens there"
    with socket.create_server(split_address(address)):
        assert probe(address) == "something listens there"
    assert probe("no-such-host.invalid:1").startswith("it cannot be reached")
