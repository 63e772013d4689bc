"""Real networks for tests: four node processes on loopback, three homes, budgets issued."""

import asyncio
from collections.abc import Iterator

import pytest

from testnet.cluster import Cluster, last_line
from testnet.neighbourhood import build_neighbourhood, fund


def started(directory: pytest.TempPathFactory, name: str) -> Iterator[Cluster]:
    """A new network, running and funded; taken down afterwards whatever happened."""
    cluster = Cluster(build_neighbourhood(directory.mktemp(name), nodes=4, base_port=None))
    try:
        cluster.start_all()
        cluster.wait_ready()
        asyncio.run(fund(cluster.network))
        yield cluster
    finally:
        cluster.stop_all()
        for node in cluster.network.nodes:
            print(node.name, last_line(node))  # shown by pytest if a test failed


@pytest.fixture(scope="module")
def three_of_four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A funded network whose last node is down from the first block on: as many as may be, and no more, are missing."""
    cluster = Cluster(build_neighbourhood(tmp_path_factory.mktemp("three"), nodes=4, base_port=None))
    try:
        for node in cluster.network.nodes[:3]:
            cluster.start(node)
        for node in cluster.network.nodes[:3]:
            cluster.wait_answer(node)
        asyncio.run(fund(cluster.network))
        yield cluster
    finally:
        cluster.stop_all()


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A network that all tests share: they leave it running, and all four nodes up."""
    yield from started(tmp_path_factory, "shared")


@pytest.fixture(scope="module")
def own_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A network for the tests of one module that stop and kill nodes."""
    yield from started(tmp_path_factory, "own")
