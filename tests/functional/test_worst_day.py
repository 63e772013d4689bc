"""Real processes on their worst day: killed, frozen, restarted one by one and all at once, under load."""

import os
import random
import signal
import time
from collections.abc import Iterator
from functools import partial

import pytest

from testnet.cluster import Cluster
from testnet.genesis import NetworkNode
from tests.functional.worst_day import (
    Load,
    height,
    info_of,
    is_level,
    level,
    require_chains_verify,
    require_one_truth,
    until,
)

KILLS = 3
SEED = 60
FROZEN_S = 3.0


@pytest.fixture
def everybody(own_network: Cluster) -> Iterator[Cluster]:
    """The network with all nodes up, before the test and after it."""
    yield own_network
    for node in own_network.network.nodes:
        pid = own_network.pid(node)
        if pid is None:
            own_network.start(node)
        else:
            os.kill(pid, signal.SIGCONT)
    level(own_network, own_network.network.nodes)


def primary_of(cluster: Cluster) -> NetworkNode:
    """The node that proposes, as those that answer say."""
    infos = [status.info for status in cluster.status() if status.info is not None]
    return cluster.network.nodes[max(infos, key=lambda info: info.view).primary]


def send_signal(cluster: Cluster, node: NetworkNode, number: signal.Signals) -> None:
    pid = cluster.pid(node)
    assert pid is not None
    os.kill(pid, number)


def test_random_nodes_are_killed_again_and_again_under_load(everybody: Cluster) -> None:
    """Checklist 60, 27, 35, 36: f nodes at a time, at random moments; no acknowledged transaction is lost or doubled,
    and all nodes hold the same."""
    dice = random.Random(SEED)
    with Load(everybody) as load:
        for _ in range(KILLS):
            load.goes_on(dice.randint(4, 20))
            victim = dice.choice(everybody.network.nodes)
            everybody.kill(victim)
            load.goes_on(dice.randint(4, 20))
            everybody.start(victim)
            until(partial(is_level, everybody, victim), f"{victim.name} has not caught up under load")
    require_one_truth(everybody, load)


def test_a_node_that_dies_at_its_first_votes_starts_again(everybody: Cluster) -> None:
    """Checklist 35, 36: killed as soon as it answers, several times in a row, while it catches up and votes."""
    victim = everybody.network.nodes[3]
    with Load(everybody, everybody.network.gateways[:3]) as load:
        for _ in range(2):
            everybody.kill(victim)
            everybody.start(victim)
            everybody.wait_answer(victim)
        load.goes_on()
    require_one_truth(everybody, load)


def test_a_frozen_primary_is_replaced_and_comes_back(everybody: Cluster) -> None:
    """Checklist 54, 18: SIGSTOP: its sockets stay open and swallow what is sent. It slows nobody down, and when it goes
    on it believes the others and not its stopped clock."""
    frozen = primary_of(everybody)
    others = [node for node in everybody.network.nodes if node is not frozen]
    with Load(everybody, [node.gateway for node in others]) as load:
        load.goes_on()
        send_signal(everybody, frozen, signal.SIGSTOP)
        time.sleep(FROZEN_S)
        load.goes_on(20)
        assert primary_of_all(others) != frozen.index
        send_signal(everybody, frozen, signal.SIGCONT)
        until(lambda: is_level(everybody, frozen), "it has not caught up")
        load.goes_on()
    require_one_truth(everybody, load)


def primary_of_all(nodes: list[NetworkNode]) -> int:
    """The primary's index, on which these nodes agree after a while."""
    found: set[int] = set()

    def agree() -> bool:
        found.clear()
        found.update(info_of(node).primary for node in nodes)
        return len(found) == 1

    until(agree, f"different primaries: {found}")
    return found.pop()


def test_a_quorum_that_was_frozen_goes_on(everybody: Cluster) -> None:
    """Checklist 18, 39: two of four are frozen: nothing moves. They go on, and so does the network, in the same view or
    another, with what was under way."""
    frozen = everybody.network.nodes[1:3]
    with Load(everybody, [everybody.network.nodes[0].gateway]) as load:
        load.goes_on()
        for node in frozen:
            send_signal(everybody, node, signal.SIGSTOP)
        time.sleep(1.0)
        before = height(everybody.network.nodes[0])
        time.sleep(FROZEN_S)
        assert height(everybody.network.nodes[0]) == before
        for node in frozen:
            send_signal(everybody, node, signal.SIGCONT)
        assert load.goes_on() < 10
    require_one_truth(everybody, load)


def test_every_node_is_restarted_in_turn_under_load(everybody: Cluster) -> None:
    """Checklist 28, 44: a rolling restart: clients are served all the while, and nobody has to wait for long."""
    longest = 0.0
    with Load(everybody) as load:
        for node in everybody.network.nodes:
            everybody.stop(node)
            longest = max(longest, load.goes_on())
            everybody.start(node)
            until(partial(is_level, everybody, node), f"{node.name} has not caught up")
        load.goes_on()
    require_one_truth(everybody, load)
    assert longest < 10


def test_the_whole_network_loses_power_under_load(everybody: Cluster) -> None:
    """Checklist 35, 39: kill -9 of all at once; started again, with one that stays dark for a while, it goes on by
    itself, and what was acknowledged is there."""
    nodes = everybody.network.nodes
    with Load(everybody) as load:
        load.goes_on(20)
        for node in nodes:
            send_signal(everybody, node, signal.SIGKILL)
        until(lambda: all(everybody.pid(node) is None for node in nodes), "some are still there")
        for node in nodes[1:]:
            everybody.start(node)
        load.goes_on()
        everybody.start(nodes[0])
        load.goes_on()
    require_one_truth(everybody, load)


def test_the_chains_verify(own_network: Cluster) -> None:
    """Checklist 60: of the one that was killed most often, and of one more."""
    require_chains_verify(own_network, own_network.network.nodes[2:])
