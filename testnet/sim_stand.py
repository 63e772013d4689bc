"""How simulated nodes stand: where each is, whether it votes, and whether it holds more than it may."""

from collections.abc import Collection, Sequence

from node.audit import verify_chain
from node.consensus.settings import most_held
from node.limits import MEMPOOL_TRANSACTIONS, PEER_UNVERIFIED_UNITS
from testnet.sim_node import LOG_REWRITE_BYTES, SimNode


def is_silent(node: SimNode) -> bool:
    """Whether it is down, or follows without voting."""
    return node.driver is None or node.driver.diagnosis().passive_because is not None


def standing(nodes: Sequence[SimNode], byzantine: Collection[int]) -> str:
    """Where all of them are, for people. ``byzantine``: by index."""
    stands = []
    for node in nodes:
        note = " (Byzantine)" if node.index in byzantine else ""
        if node.driver is None:
            stands.append(f"{node.name}{note} {'down' if node.in_service else 'no member'}")
        else:
            status = node.driver.status
            state = "" if status.active else " waiting"
            era = f" epoch {node.driver.epoch.number}" if node.driver.epoch.number else ""
            stands.append(f"{node.name}{note}{era} height {status.height} view {status.view}{state}")
    return ", ".join(stands)


def replay(node: SimNode) -> None:
    """Execute the node's chain again from the genesis on, by contracts that were asked about its newest state before.

    Raises RefusedError for the first block that does not come out as it is stored.
    """
    assert node.ledger is not None
    registry = node.around.registry(node.disk.bundles.get)
    registry.at(node.ledger.state.get)
    verify_chain(node.disk.store, node.around.genesis, registry, jobs=0)


def bounds_fault(node: SimNode, count: int) -> str | None:
    """What a node among ``count`` has too much of; None if all its buffers are within their bounds."""
    if node.driver is None:
        return None
    status = node.driver.status
    if status.mempool_transactions > MEMPOOL_TRANSACTIONS:
        return f"{node.name} holds {status.mempool_transactions} transactions"
    if status.unverified_transactions > PEER_UNVERIFIED_UNITS * count:
        return f"{node.name} has {status.unverified_transactions} transactions to check"
    if status.consensus_items > most_held(count):
        return f"{node.name} holds {status.consensus_items} messages and batches"
    if status.vote_log_bytes > 64 * LOG_REWRITE_BYTES:
        return f"{node.name} has a vote log of {status.vote_log_bytes} bytes"
    return None
