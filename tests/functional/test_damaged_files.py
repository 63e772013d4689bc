"""Files that a disk, or somebody, has damaged: a node names the file and says what to do, or fetches the data anew.

Every kind of file that a node reads is cut, or overwritten in part. What may never happen: a traceback, a start that
votes on what cannot be trusted, or damage to what was sound.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from node.config import load_config
from node.parts import EVIDENCE_NAME
from testnet.cluster import Cluster, last_line
from testnet.genesis import GENESIS_NAME, NetworkNode, build_network, free_ports
from tests.functional.test_bad_start import refused

KEY, TLS_KEY, CERTIFICATE = "node.key.json", "tls.key.json", "tls.crt"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running network; tests stop and spoil copies of its nodes, or the last one and bring it back."""
    cluster = Cluster(build_network(tmp_path_factory.mktemp("damaged"), {}, base_port=None))
    cluster.start_all()
    try:
        cluster.wait_ready(height=2)
        yield cluster
    finally:
        cluster.stop_all()


@pytest.fixture(scope="module")
def sound(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a node, which runs again, has on disk."""
    node = cluster.network.nodes[2]
    cluster.stop(node)
    copy = tmp_path_factory.mktemp("sound") / node.name
    shutil.copytree(node.directory, copy)
    (copy / "node.log").unlink()
    cluster.start(node)
    cluster.wait_ready()
    return copy


@pytest.fixture
def node(cluster: Cluster, sound: Path, tmp_path: Path) -> NetworkNode:
    """That copy, to spoil, with a genesis document of its own, and addresses that nobody else has."""
    original, place = cluster.network.nodes[2], tmp_path / "net" / "nodes" / sound.name
    shutil.copytree(sound, place)
    shutil.copy(cluster.network.directory / GENESIS_NAME, tmp_path / "net")
    config = place / "node.toml"
    text = config.read_text()
    addresses = original.config.peer.listen, original.config.gateway.listen
    for address, port in zip(addresses, free_ports(2), strict=True):
        text = text.replace(address, f"127.0.0.1:{port}")
    config.write_text(text)
    return NetworkNode(original.name, original.index, place, load_config(config))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garble(path: Path) -> None:
    """Overwrite a part in the middle, as a bad sector does."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = b"\xa5" * min(64, len(data) - middle)
    path.write_bytes(data)


DAMAGE: tuple[Callable[[Path], None], ...] = (cut, garble)
CODES = {
    "node.toml": {"bad-config"},
    GENESIS_NAME: {"bad-genesis", "db-other-chain", "wrong-key-file"},
    KEY: {"bad-key-file", "wrong-passphrase"},
    TLS_KEY: {"bad-key-file", "wrong-passphrase"},
    CERTIFICATE: {"bad-certificate", "wrong-certificate"},
    "passphrase": {"no-passphrase", "wrong-passphrase"},
}


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_named(node: NetworkNode, name: str, damage: Callable[[Path], None]) -> None:
    """Checklist 53: in one line, with what to do."""
    path = node.directory / name if name != GENESIS_NAME else node.directory.parent.parent / name
    before = path.read_bytes()
    damage(path)
    code, message = refused(node)
    assert code in CODES[name], message
    if code not in ("wrong-passphrase", "db-other-chain", "wrong-key-file"):  # these say what does not fit what
        assert name in message
    path.write_bytes(before)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("pattern", ["CURRENT", "MANIFEST-*"])
def test_a_damaged_database_is_named_with_the_way_out(
    node: NetworkNode, pattern: str, damage: Callable[[Path], None]
) -> None:
    database = node.directory / "data" / "db"
    for path in database.glob(pattern):
        damage(path)
    code, message = refused(node)
    assert code in ("db-corrupt", "db-unusable"), message
    assert str(database) in message
    if code == "db-corrupt":
        assert "watt node join" in message


def join(cluster: Cluster, node: NetworkNode) -> None:
    sources = [word for other in cluster.network.nodes[:2] for word in ("--from", other.gateway)]
    result = CliRunner().invoke(main, ["node", "join", "--config", str(node.config_path), *sources])
    assert result.exit_code == 0, result.output


def height(cluster: Cluster, node: NetworkNode) -> int:
    info = next(status.info for status in cluster.status() if status.node == node)
    return info.height if info is not None else 0


def follows(cluster: Cluster, node: NetworkNode) -> None:
    """Wait until it has a block more than the others have now."""
    reached = max(height(cluster, other) for other in cluster.network.nodes[:2])
    deadline = time.monotonic() + 40
    while height(cluster, node) <= reached:
        assert time.monotonic() < deadline, last_line(node)
        time.sleep(0.2)


def test_a_node_whose_tables_are_damaged_stops_and_comes_back_from_its_peers(cluster: Cluster) -> None:
    """Checklist 53: what the disk spoiled is not voted on; all of it can be had from others."""
    node = cluster.network.nodes[3]
    cluster.stop(node)
    tables = [path for pattern in ("*.ldb", "*.log") for path in (node.directory / "data" / "db").glob(pattern)]
    assert tables
    for path in tables:
        garble(path)
    code, message = refused(node)
    assert code == "db-corrupt" and "watt node join" in message
    join(cluster, node)
    cluster.start(node)
    follows(cluster, node)
    assert "Traceback" not in (node.directory / "node.log").read_text()


def test_a_damaged_snapshot_is_not_served_and_stops_nobody(node: NetworkNode) -> None:
    made = CliRunner().invoke(main, ["node", "snapshot", "--config", str(node.config_path)])
    assert made.exit_code == 0, made.output
    (manifest,) = (node.directory / "data" / "snapshots").glob("*/manifest")
    sound = manifest.read_bytes()
    for spoiled in (sound[:-9], b"", sound.replace(sound[20:52], bytes(32)), b"\x91" * 9_000):
        manifest.write_bytes(spoiled)
        command = ["-m", "cli.main", "node", "snapshot", "--list", "--json", "--config", str(node.config_path)]
        listed = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=60, check=False)
        assert (listed.returncode, listed.stdout.strip()) == (0, "[]"), listed.stderr
        assert "Traceback" not in listed.stderr


def test_a_damaged_vote_log_is_set_aside_and_the_node_follows(cluster: Cluster) -> None:
    """Checklist 36: it stores what the others make, and does not vote before that is safe."""
    node = cluster.network.nodes[3]
    cluster.stop(node)
    votes, log = node.directory / "data" / "votes" / "votes.log", node.directory / "node.log"
    votes.write_bytes(b"\xa5" * 99)
    said = len(log.read_text())
    cluster.start(node)
    follows(cluster, node)
    told = log.read_text()[said:]
    assert "vote-log-lost" in told and "does not vote" in told and "Traceback" not in told
    assert list(votes.parent.glob("votes.log.damaged-*"))


def test_evidence_that_was_damaged_proves_nothing(node: NetworkNode) -> None:
    directory = node.directory / "data" / EVIDENCE_NAME
    directory.mkdir()
    for name, content in (("half.json", b'{"format": 1, "kind"'), ("noise.json", bytes(range(256)))):
        (directory / name).write_bytes(content)
        told = CliRunner().invoke(
            main, ["node", "verify", "--evidence", str(directory / name), "--config", str(node.config_path)]
        )
        assert told.exit_code == 1 and "watt: bad-evidence: " in told.output and name in told.output
