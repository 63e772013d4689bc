"""What may be simulated: kinds of faults, what clients do, how many nodes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from testnet.byzantine import BYZANTINE_KINDS
from testnet.sim_disk_faults import DISK_KINDS
from testnet.sim_faults import KINDS
from testnet.sim_market import Trading
from testnet.sim_members import MEMBER_KINDS
from testnet.sim_upgrades import UPGRADE_KINDS
from testnet.sim_workload import Payments, Workload

FAULT_KINDS: Final = (*KINDS, *BYZANTINE_KINDS, *DISK_KINDS, *MEMBER_KINDS, *UPGRADE_KINDS)
ALL_FAULTS: Final = frozenset(FAULT_KINDS)
WORKLOADS: Final[dict[str, Callable[[], Workload]]] = {"payments": Payments, "market": Trading}


@dataclass(frozen=True, slots=True)
class Options:
    """What to simulate. ``nodes``: 0 leaves it to the seed (4, or sometimes 7)."""

    faults: frozenset[str] = ALL_FAULTS
    nodes: int = 0
    workload: str = "payments"
