"""What holds for every test: where its networks listen, and which modules begin."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from testnet import genesis

# How long an example takes says more about the machine than about the code: a time-out of a whole test bounds it.
settings.register_profile("wattledger", deadline=None)
settings.load_profile("wattledger")

WORKERS = 8
"""At most so many run beside one another (Makefile)."""
LONG = (
    *("functional/test_worst_day", "functional/test_damaged_files", "functional/test_bad_start"),
    *("functional/test_company", "functional/test_join", "functional/test_membership", "functional/test_experiment"),
    *("functional/test_testnet_command", "functional/test_retention", "functional/test_upgrades"),
    *("functional/test_outage", "functional/test_disk_full", "functional/test_meter", "functional/test_backup"),
    *("functional/test_faults", "security/test_lying_gateway", "functional/test_policy_command"),
    *("functional/test_supply_command", "functional/test_partition", "security/test_snooping_neighbour"),
)
"""Modules that take half a minute or more, the longest first: one that begins last leaves the other workers idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long modules before the others."""
    rank = {f"{name}.py": place for place, name in enumerate(LONG)}
    names = {item.path: "/".join(item.path.parts[-2:]) for item in items}
    items.sort(key=lambda item: rank.get(names[item.path], len(rank)))


@pytest.fixture(scope="session", autouse=True)
def ports_of_its_own(worker_id: str) -> Iterator[None]:
    """Each worker takes its networks' ports from a part of its own: none is taken by another's between looking for free
    ones and listening there."""
    number = int(worker_id.removeprefix("gw")) if worker_id.startswith("gw") else 0
    share = len(genesis.PORTS) // WORKERS
    first = genesis.PORTS.start + number % WORKERS * share
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(genesis, "PORTS", range(first, first + share))
        yield
