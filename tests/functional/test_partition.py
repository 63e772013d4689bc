"""Partitions by the nodes' own link control: a minority waits, a majority goes on, and healing needs no operator."""

import time

import pytest
from click.testing import CliRunner

from cli.main import main
from node.errors import RefusedError
from testnet import partition
from testnet.cluster import Cluster
from testnet.genesis import NetworkNode
from tests.functional.worst_day import Load, height, level, require_chains_verify, require_one_truth, until

HEALED_S = 10.0
"""How soon a healed network makes blocks again, at worst, on a machine that is busy with other tests."""


def watt(cluster: Cluster, *words: str) -> str:
    """Run `watt testnet`; what it says."""
    done = CliRunner().invoke(main, ["testnet", *words, "--dir", str(cluster.network.directory)])
    assert done.exit_code == 0, done.stderr
    return done.stdout + done.stderr


def stands_still(nodes: list[NetworkNode], seconds: float = 2.0) -> None:
    """None of the nodes stores a block for a while, after those that are on their way."""
    time.sleep(0.5)
    before = [height(node) for node in nodes]
    time.sleep(seconds)
    assert [height(node) for node in nodes] == before


def test_a_minority_waits_and_the_majority_goes_on(own_network: Cluster) -> None:
    """Checklist 60: a partition loses nothing that was acknowledged. The primary is in the minority: it is replaced."""
    info = own_network.status()[0].info
    assert info is not None
    lonely = own_network.network.nodes[info.primary]
    others = [node for node in own_network.network.nodes if node is not lonely]
    with Load(own_network, [node.gateway for node in others]) as load:
        load.goes_on()
        assert f"parted: {lonely.name} | " in watt(own_network, "partition", lonely.name)
        load.goes_on()
        stands_still([lonely], 1.0)
        assert "cut_off_from" in watt(own_network, "status")
        watt(own_network, "heal")
        assert "cut_off_from" not in watt(own_network, "status")
        load.goes_on()
    require_one_truth(own_network, load)


def test_two_halves_stand_still_and_go_on_when_joined(own_network: Cluster) -> None:
    """Checklist 17, with real processes: without a quorum nobody commits, and time-outs do not grow meanwhile."""
    nodes = own_network.network.nodes
    level(own_network)
    with Load(own_network) as load:
        load.goes_on()
        partition.partition(own_network, partition.groups_of(own_network, ["0,1", "2,3"]))
        stands_still(list(nodes), 3.0)
        partition.heal(own_network)
        assert load.goes_on(4, HEALED_S) < HEALED_S
    require_one_truth(own_network, load)


def test_whoever_hears_nobody_catches_up(own_network: Cluster) -> None:
    """Checklist 6, 44: a node that is heard and hears nothing falls behind, and catches up under load when joined."""
    deaf = own_network.network.nodes[2]
    rest = [node for node in own_network.network.nodes if node is not deaf]
    groups = [frozenset({deaf.name}), frozenset(node.name for node in rest)]
    with Load(own_network, [node.gateway for node in rest]) as load:
        partition.partition(own_network, groups, one_way=True)
        assert partition.cut(deaf) == partition.Cut((), tuple(node.name for node in rest))
        load.goes_on(60)
        missing = height(rest[0]) - height(deaf)
        partition.heal(own_network)
        assert missing > 5
        until(lambda: height(rest[0]) - height(deaf) <= 1, "it has not caught up under load")
    require_one_truth(own_network, load)


def test_a_quorum_that_is_cut_into_pieces_comes_back(own_network: Cluster) -> None:
    """Checklist 16, 39: everybody alone, then joined one after the other: blocks come with the third."""
    names = [node.name for node in own_network.network.nodes]
    partition.partition(own_network, [frozenset({name}) for name in names])
    stands_still(list(own_network.network.nodes), 1.5)
    before = max(height(node) for node in own_network.network.nodes)
    partition.partition(own_network, [frozenset(names[:3]), frozenset(names[3:])])
    until(lambda: min(height(node) for node in own_network.network.nodes[:3]) > before, "three do not make a quorum")
    partition.heal(own_network)
    require_one_truth(own_network)


@pytest.mark.parametrize(
    ("texts", "code"),
    [(["0,1", "1,2"], "bad-partition"), (["0,1,2,3"], "bad-partition"), (["0,nobody"], "unknown-node")],
)
def test_a_partition_that_makes_no_sense_is_refused(own_network: Cluster, texts: list[str], code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        partition.groups_of(own_network, texts)
    assert caught.value.code == code


def test_the_chains_verify(own_network: Cluster) -> None:
    """Checklist 60, the last part: of the one that was deaf."""
    require_chains_verify(own_network, own_network.network.nodes[2:3])
