"""What keeps a node from starting: one clear line with a stable code, exit status 1, and nothing is damaged."""

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import plyvel
import pytest

from node.config import split_address
from node.files import OsDirectory
from node.ledger import layout
from node.model.codec import encode
from node.votelog import VoteLog
from testnet.cluster import Cluster
from testnet.genesis import GENESIS_NAME, Network, NetworkNode, build_network


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A network on disk that has made a block."""
    network = build_network(tmp_path_factory.mktemp("prepared"), {}, base_port=None)
    cluster = Cluster(network)
    cluster.start_all()
    try:
        cluster.wait_ready()
    finally:
        cluster.stop_all()
    return network


@pytest.fixture
def node(prepared: Network, tmp_path: Path) -> NetworkNode:
    """A copy of node 0 to spoil."""
    shutil.copytree(prepared.directory, tmp_path / "net")
    original = prepared.nodes[0]
    (tmp_path / "net" / "nodes" / original.name / "node.log").unlink()
    return NetworkNode(original.name, 0, tmp_path / "net" / "nodes" / original.name, original.config)


def refused(node: NetworkNode, *options: str) -> tuple[str, str]:
    """Run a node that cannot start: (code, message)."""
    command = [sys.executable, "-m", "cli.main", "node", "run", "--config", str(node.config_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    line = done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    match = re.fullmatch(r"watt: ([a-z-]+): (.+)", line)
    assert match is not None, done.stderr
    return match[1], match[2]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _wait_for_log(node: NetworkNode, word: str) -> None:
    log = node.directory / "node.log"
    deadline = time.monotonic() + 20
    while word not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


SPOILED: list[tuple[str, Callable[[NetworkNode], object], str]] = [
    ("no-config", lambda n: n.config_path.unlink(), "node.toml"),
    ("bad-config", lambda n: n.config_path.write_text("member = "), "node.toml"),
    ("bad-config", lambda n: replace(n.config_path, "[limits]", "[limits]\nsurprise = 1"), "surprise"),
    ("no-genesis", lambda n: (n.directory.parent.parent / GENESIS_NAME).unlink(), GENESIS_NAME),
    (
        "bad-genesis",
        lambda n: replace(n.directory.parent.parent / GENESIS_NAME, '"format": 1', '"format": 2'),
        "format",
    ),
    ("db-other-chain", lambda n: replace(n.directory.parent.parent / GENESIS_NAME, '"testnet"', '"other"'), "chain"),
    ("wrong-passphrase", lambda n: (n.directory / "passphrase").write_text("guess\n"), "node.key.json"),
    ("db-missing", lambda n: shutil.rmtree(n.directory / "data" / "db"), "database"),
    ("db-newer-format", lambda n: _mark_newer(n.directory / "data" / "db"), "format"),
    ("db-corrupt", lambda n: _spoil_manifest(n.directory / "data" / "db"), "db"),
    ("vote-log-other-chain", lambda n: _log_of_another_chain(n.directory / "data" / "votes"), "vote log"),
]


@pytest.mark.parametrize(("code", "spoil", "named"), SPOILED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_node_says_why_it_does_not_start(
    node: NetworkNode, code: str, spoil: Callable[[NetworkNode], object], named: str
) -> None:
    spoil(node)
    found, message = refused(node)
    assert (found, named in message) == (code, True), message


@pytest.mark.parametrize("which", ["peer", "gateway"])
def test_a_port_in_use_is_named(node: NetworkNode, which: str) -> None:
    address = node.config.peer.listen if which == "peer" else node.config.gateway.listen
    with socket.create_server(split_address(address)):
        code, message = refused(node)
        assert code == "port-in-use" and message.startswith(f"cannot listen on {address}; ")


def test_a_torn_vote_log_is_told(prepared: Network, node: NetworkNode) -> None:
    votes = node.directory / "data" / "votes" / "votes.log"
    votes.write_bytes(votes.read_bytes()[:-1])
    cluster = Cluster(Network(node.directory.parent.parent, prepared.genesis, (node,)))
    cluster.start(node)
    try:
        _wait_for_log(node, "running")
    finally:
        cluster.stop(node)
    told = [line for line in (node.directory / "node.log").read_text().splitlines() if "vote-log-torn" in line]
    assert len(told) == 1 and "WARNING" in told[0] and re.search(r"bytes=[1-9]", told[0])


@pytest.mark.parametrize("damage", ["gone", "garbage"])
def test_a_lost_vote_log_is_told_and_does_not_stop_the_node(prepared: Network, node: NetworkNode, damage: str) -> None:
    """Checklist 36."""
    votes = node.directory / "data" / "votes" / "votes.log"
    if damage == "gone":
        shutil.rmtree(votes.parent)
    else:
        votes.write_bytes(b"x" * 99)
    cluster = Cluster(Network(node.directory.parent.parent, prepared.genesis, (node,)))
    cluster.start(node)
    try:
        _wait_for_log(node, "running")
    finally:
        cluster.stop(node)
    told = [line for line in (node.directory / "node.log").read_text().splitlines() if "vote-log-lost" in line]
    assert len(told) == 1 and "ERROR" in told[0] and "does not vote" in told[0]
    aside = votes.with_name("votes.log.damaged-1")
    assert votes.exists() and aside.exists() == (damage == "garbage")
    if aside.exists():
        assert aside.read_bytes() == b"x" * 99 and aside.name in told[0]


def test_a_data_directory_serves_one_process(prepared: Network, node: NetworkNode) -> None:
    cluster = Cluster(Network(node.directory.parent.parent, prepared.genesis, (node,)))
    cluster.start(node)
    try:
        _wait_for_log(node, "running")
        assert refused(node)[0] == "db-locked"
    finally:
        cluster.stop(node)


def _log_of_another_chain(votes: Path) -> None:
    (votes / "votes.log").unlink()
    VoteLog.open(OsDirectory(votes), bytes(31) + b"x")[0].close()


def _mark_newer(database: Path) -> None:
    with plyvel.DB(str(database)) as db:
        db.put(layout.FORMAT, encode((layout.DATABASE_FORMAT + 1, bytes(32))))


def _spoil_manifest(database: Path) -> None:
    for manifest in database.glob("MANIFEST-*"):
        manifest.write_bytes(b"garbage" * 20)
