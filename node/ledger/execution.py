"""What executing a batch gives: a block with its results and changes, not yet stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaincode.contract import Event, Value
from node.ledger import blinding
from node.ledger.merkle import TreeUpdate
from node.ledger.state import Overlay
from node.ledger.tree import Tree
from node.model.block import Block, Header
from node.model.receipt import Receipt, Results, join_events, results_root
from node.model.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Execution:
    """A block executed on its parent's state. ``receipts`` and ``transactions`` are in the batch's order.

    ``changes``: state keys to what is stored there, an encoded value behind its blind, None for deleted ones;
    ``values``: the same, decoded.
    """

    block: Block
    block_hash: bytes
    transactions: tuple[Transaction, ...]
    receipts: tuple[Receipt, ...]
    events: tuple[Event, ...]
    results: Results
    changes: dict[bytes, bytes | None]
    values: Mapping[bytes, Value]
    tree: TreeUpdate


@dataclass(frozen=True, slots=True)
class Position:
    """What a header says besides its roots: everything known before execution."""

    chain: bytes
    epoch: int
    height: int
    parent_hash: bytes
    batch_digest: bytes
    time: int
    tx_root: bytes
    members_hash: bytes
    next_members_hash: bytes


def finish(
    position: Position,
    body: bytes,
    transactions: tuple[Transaction, ...],
    receipts: tuple[tuple[Receipt, bytes], ...],
    events: Sequence[tuple[Event, bytes]],
    overlay: Overlay,
    tree: Tree,
) -> Execution:
    """Compute the roots over what was executed and make the block.

    ``receipts`` and ``events``: each with its encoding.
    """
    blind = blinding.of_results(blinding.read(overlay.get(blinding.BLIND)), position.height)
    told = [encoded for _, encoded in events]
    results = Results(tuple([encoded for _, encoded in receipts]), join_events(told), blind)
    changes = overlay.changes(blind)
    update = tree.update(changes)
    header = Header(
        chain=position.chain,
        epoch=position.epoch,
        height=position.height,
        parent_hash=position.parent_hash,
        batch_digest=position.batch_digest,
        time=position.time,
        tx_root=position.tx_root,
        receipts_root=results_root(results.receipts, told, blind),
        state_root=update.root,
        members_hash=position.members_hash,
        next_members_hash=position.next_members_hash,
    )
    return Execution(
        block=Block(header, body),
        block_hash=header.hash,
        transactions=transactions,
        receipts=tuple([receipt for receipt, _ in receipts]),
        events=tuple([event for event, _ in events]),
        results=results,
        changes=changes,
        values=overlay.values(),
        tree=update,
    )
