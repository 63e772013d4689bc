"""`watt node doctor` and the metrics of real nodes: what is wrong is said in words, and on whom it depends."""

import json
import os
import shutil
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from node import control
from node.diagnosis import NOTE
from testnet import partition
from testnet.cluster import Cluster
from testnet.genesis import GENESIS_NAME, NetworkNode, build_network, free_ports, load_network
from tests.functional.worst_day import height, until


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Four nodes, of which the last is down from the first block on; the first shows metrics."""
    directory = tmp_path_factory.mktemp("doctor")
    network = build_network(directory, {}, base_port=None)
    config = network.nodes[0].config_path
    taken = {address for node in network.nodes for address in (node.gateway, node.config.peer.listen)}
    free = next(address for port in free_ports(2 * len(taken)) if (address := f"127.0.0.1:{port}") not in taken)
    config.write_text(config.read_text() + f'\n[metrics]\nlisten = "{free}"\n')
    cluster = Cluster(load_network(directory))
    for node in cluster.network.nodes[:3]:
        cluster.start(node)
    try:
        for node in cluster.network.nodes[:3]:
            cluster.wait_answer(node)
        until(lambda: height(cluster.network.nodes[0]) > 0, "three of four make no block")
        yield cluster
    finally:
        cluster.stop_all()


def doctor(node: NetworkNode) -> tuple[int, dict[str, str], dict[str, Any] | None]:
    """Exit status, what is said by code (but for notes), and the report."""
    done = CliRunner().invoke(main, ["node", "doctor", "--config", str(node.config_path), "--json"])
    answer = json.loads(done.stdout)
    told = {finding["code"]: finding["text"] for finding in answer["findings"] if finding["level"] != NOTE}
    assert answer["healthy"] == (not told) == (done.exit_code == 0)
    return done.exit_code, told, answer["report"]


def test_a_dead_peer_is_named(street: Cluster) -> None:
    """Checklist 2, too: with one member down from the first block on, the others work."""
    status, told, report = doctor(street.network.nodes[0])
    assert status == 1 and set(told) == {"link-down"}
    assert "no link to node-3" in told["link-down"] and "nothing listens there" in told["link-down"]
    assert report is not None and report["height"] > 0
    outside = CliRunner().invoke(main, ["node", "doctor", "--node", street.network.nodes[0].gateway])
    assert outside.exit_code == 1 and "it reaches 3 of 4 members" in outside.stdout


def test_a_node_that_never_ran_is_told_from_one_that_was_stopped_or_killed(street: Cluster) -> None:
    node = street.network.nodes[3]
    assert set(doctor(node)[1]) == {"down"}
    street.start(node)
    street.wait_answer(node)
    until(lambda: doctor(node)[0] == 0, "a whole network is not healthy")
    words = CliRunner().invoke(main, ["node", "doctor", "--config", str(node.config_path)]).stdout
    assert "node-3: block" in words and "reaches 3 of 3 others" in words
    street.stop(node)
    assert set(doctor(node)[1]) == {"down"}
    street.start(node)
    street.wait_answer(node)
    street.kill(node)
    assert set(doctor(node)[1]) == {"down", "killed"}


def test_a_stall_names_those_whom_it_waits_for(street: Cluster) -> None:
    """A network without its quorum: who is out of reach, since when, and what the consensus waits for on them."""
    nodes = street.network.nodes
    partition.partition(street, [frozenset({nodes[0].name}), frozenset(node.name for node in nodes[1:])])
    until(lambda: "no-quorum" in doctor(nodes[1])[1], "the stall is not told")
    told = doctor(nodes[1])[1]
    assert "reaches 2 of 4" in told["no-quorum"] and "node-0" in told["no-quorum"] and "node-3" in told["no-quorum"]
    assert any(code.startswith("waits-") and "node-0 (its link is cut here)" in text for code, text in told.items())
    partition.heal(street)
    until(lambda: set(doctor(nodes[1])[1]) == {"link-down"}, "it is not healthy after the healing")


def test_a_process_that_is_stopped_does_not_answer(street: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ASK_SECONDS", 0.5)
    pid = street.pid(street.network.nodes[2])
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        assert set(doctor(street.network.nodes[2])[1]) == {"no-answer"}
    finally:
        os.kill(pid, signal.SIGCONT)


def test_metrics_are_scraped(street: Cluster) -> None:
    listen = street.network.nodes[0].config.metrics.listen
    with urllib.request.urlopen(f"http://{listen}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    assert found["watt_height"] > 0 and found["watt_peers_up"] == 2
    assert found['watt_link_up{peer="node-3"}'] == 0 and found['watt_link_heard{peer="node-1"}'] == 1
    assert found["watt_vote_log_sync_seconds_count"] > 0 and found["watt_blocks_total"] > 0
    assert sum(value for name, value in found.items() if name.startswith("watt_view_changes_total")) > 0


def test_every_view_change_is_logged_with_its_cause(street: Cluster) -> None:
    log = (street.network.nodes[1].directory / "node.log").read_text()
    changes = [line for line in log.splitlines() if "view-change view=" in line]
    assert changes and all(" cause=" in line and " took-ms=" in line and " primary=node-" in line for line in changes)


def _cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


DAMAGES: list[tuple[str, Callable[[Path], object]]] = [
    ("vote-log-damaged", lambda home: (home / "data" / "votes" / "votes.log").write_bytes(b"x" * 99)),
    ("vote-log-missing", lambda home: (home / "data" / "votes" / "votes.log").unlink()),
    ("db-missing", lambda home: shutil.rmtree(home / "data" / "db")),
    ("no-genesis", lambda home: (home.parent.parent / GENESIS_NAME).unlink()),
    ("damaged-file", lambda home: (home / "data" / "votes" / "votes.log.damaged-1").touch()),
]


@pytest.mark.parametrize(("code", "damage"), DAMAGES, ids=[code for code, _ in DAMAGES])
def test_what_is_on_disk_is_told_and_not_touched(
    street: Cluster, tmp_path: Path, code: str, damage: Callable[[Path], object]
) -> None:
    shutil.copytree(street.network.directory, tmp_path / "net", ignore=shutil.ignore_patterns("*.sock"))
    copied = tmp_path / "net" / "nodes" / "node-3"
    _cut(copied / "data" / "votes" / "votes.log", 1)
    damage(copied)
    before = _files(copied)
    told = doctor(NetworkNode("node-3", 3, copied, street.network.nodes[3].config))[1]
    assert code in told
    assert _files(copied) == before


def _files(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}
