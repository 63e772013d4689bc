"""A disk that is full, and then is not: the node stops without voting, says why, and comes back whole."""

import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from testnet.cluster import Cluster, last_line
from testnet.genesis import NetworkNode
from tests.functional.worst_day import Load, is_level, require_chains_verify, require_one_truth, until

ROOM_BYTES = 64 * 1024
DISK_BYTES = 96 * 1024 * 1024
FULL = {"vote-log-failed", "db-failed", "cannot-write", "machine"}
"""What a node may say of a full disk: it depends on which file met it first."""


def ended_with(cluster: Cluster, node: NetworkNode) -> str:
    """Wait until the node has ended by itself; the code that it gave."""
    until(lambda: cluster.pid(node) is None, f"{node.name} goes on with a full disk")
    return last_line(node).rpartition("watt: ")[2].partition(":")[0]


def test_a_file_that_may_not_grow_stops_the_node(own_network: Cluster) -> None:
    """Checklist 58: a write that fails, by a limit on the size of files, is never voted on. The others go on; when
    there is room again the node comes back by itself."""
    victim = own_network.network.nodes[1]
    pid = own_network.pid(victim)
    assert pid is not None
    votes = victim.directory / "data" / "votes" / "votes.log"
    with Load(own_network, [node.gateway for node in own_network.network.nodes if node is not victim]) as load:
        load.goes_on()
        room = votes.stat().st_size + ROOM_BYTES
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, room))
        assert ended_with(own_network, victim) in FULL
        load.goes_on()
        own_network.start(victim)
        until(lambda: is_level(own_network, victim), "it has not come back")
    require_one_truth(own_network, load)


@pytest.fixture
def small_disk(own_network: Cluster, tmp_path: Path) -> Iterator[tuple[NetworkNode, Path]]:
    """A node whose data lie on a small disk of their own, and the directory where that is mounted."""
    node = own_network.network.nodes[2]
    own_network.stop(node)
    data = node.directory / "data"
    kept = tmp_path / "data"
    shutil.move(data, kept)
    data.mkdir()
    options = f"size={DISK_BYTES}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(data)], capture_output=True, check=False
    )
    try:
        shutil.copytree(kept, data, dirs_exist_ok=True)
        if mounted.returncode != 0:
            pytest.skip("only a privileged user may mount a disk; the limit on files has been tried")
        own_network.start(node)
        until(lambda: is_level(own_network, node), "it does not run on the small disk")
        yield node, data
    finally:
        if own_network.pid(node) is not None:
            own_network.stop(node)
        after = tmp_path / "after"
        shutil.copytree(data, after)
        if mounted.returncode == 0:
            subprocess.run(["umount", str(data)], check=True)
        shutil.rmtree(data)
        shutil.move(after, data)
        own_network.start(node)


def test_a_full_disk_stops_the_node_until_there_is_room(
    own_network: Cluster, small_disk: tuple[NetworkNode, Path]
) -> None:
    """Checklist 58: ENOSPC, on a small disk that something else has filled. Starting it again on the full disk harms
    nothing; `watt node doctor` says that the disk is full."""
    victim, data = small_disk
    filler = data / "somebody-elses-file"
    with Load(own_network, [node.gateway for node in own_network.network.nodes if node is not victim]) as load:
        load.goes_on()
        _fill(filler)
        assert ended_with(own_network, victim) in FULL
        own_network.start(victim)
        assert ended_with(own_network, victim) in FULL | {"db-unusable"}
        told = CliRunner().invoke(main, ["node", "doctor", "--config", str(victim.config_path)])
        assert told.exit_code == 1 and "disk-full" in told.stdout
        load.goes_on()
        filler.unlink()
        own_network.start(victim)
        until(lambda: is_level(own_network, victim), "it has not come back")
    require_one_truth(own_network, load)


def _fill(path: Path) -> None:
    """Write until there is no room, down to the last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (1024 * 1024, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


def test_the_chains_verify(own_network: Cluster) -> None:
    """Checklist 58, 60: of the one whose disk was full."""
    require_chains_verify(own_network, own_network.network.nodes[2:3])
