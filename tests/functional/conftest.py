"""Real networks for tests: node processes on loopback, three homes, budgets issued."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from testnet.cluster import Cluster, last_line
from testnet.neighbourhood import build_neighbourhood, fund


def started(cluster: Cluster) -> Iterator[Cluster]:
    """A new network, running and funded; taken down afterwards whatever happened."""
    try:
        cluster.start_all()
        cluster.wait_ready()
        asyncio.run(fund(cluster.network))
        yield cluster
    finally:
        cluster.stop_all()
        for node in cluster.network.nodes:
            print(node.name, last_line(node))  # shown by pytest if a test failed


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A network that all tests share: they leave it as it is. Three nodes of a genesis with four members: the fourth is
    down from the first block on, and everything has to work all the same."""
    whole = build_neighbourhood(tmp_path_factory.mktemp("shared"), nodes=4, base_port=None)
    yield from started(Cluster(replace(whole, nodes=whole.nodes[:3])))


@pytest.fixture(scope="module")
def own_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A network for the tests of one module that stop and kill nodes."""
    yield from started(Cluster(build_neighbourhood(tmp_path_factory.mktemp("own"), nodes=4, base_port=None)))
