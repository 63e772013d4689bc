"""Attackers meet the same networks of real processes as other functional tests do."""

from collections.abc import Iterator

import pytest

from tests.functional.conftest import network, own_network
from tests.security.closed import Closed, closed_network

__all__ = ["closed", "network", "own_network"]


@pytest.fixture(scope="session")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    """A network with every port closed by certificates, for those who try with others."""
    yield from closed_network(tmp_path_factory.mktemp("closed"))
