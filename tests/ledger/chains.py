"""Small chains for tests: four members who sign everything, a few senders, the sample contracts."""

from collections.abc import Sequence
from typing import Any

from chaincode.registry import Registry
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.ledger.store import MemoryStore, Store
from node.model.block import NULL_BATCH, Batch, encode_batch
from node.model.certificate import Certificate, commit_bytes
from node.model.genesis import Genesis, Member, Token
from node.model.keys import SigningKey
from node.model.transaction import Transaction, sign_transaction
from tests.chaincode.samples import Plain, Sample

MEMBERS = [SigningKey(bytes([number]) * 32) for number in range(1, 5)]
SENDERS = [SigningKey(bytes([number]) * 32) for number in range(100, 106)]
FOREVER = 2**40
START = 1_000_000


def make_genesis(name: str = "test", **contracts: dict[str, Any]) -> Genesis:
    members = tuple(Member(f"member-{i}", key.public_key.hex(), "") for i, key in enumerate(MEMBERS))
    return Genesis(1, name, Token("WATT", 9, 1_000_000), members, 0, START, 1, contracts)


def certify(execution: Execution, signers: Sequence[int] = (0, 1, 2)) -> Certificate:
    header = execution.block.header
    signed = commit_bytes(header.chain, header.epoch, 0, header.height, execution.block_hash)
    votes = tuple((index, MEMBERS[index].sign(signed)) for index in signers)
    return Certificate(header.epoch, 0, header.height, execution.block_hash, votes)


class Chain:
    """A ledger that is fed batches, each certified by a quorum."""

    def __init__(self, store: Store | None = None, genesis: Genesis | None = None) -> None:
        self.store = MemoryStore() if store is None else store
        self.genesis = genesis or make_genesis()
        self.registry = Registry([Sample(), Plain()])
        self.reopen()

    def reopen(self) -> None:
        """What a restart leaves: everything anew from the store."""
        self.ledger = Ledger.open(self.store, self.genesis, self.registry)
        self.executor = Executor(self.ledger, self.registry, self.genesis)

    def tx(self, sender: int, nonce: int, method: str, *, not_after: int = FOREVER, **args: Any) -> Transaction:
        return sign_transaction(SENDERS[sender], self.genesis.chain, nonce, "sample", method, args, not_after)

    def body(self, *transactions: Transaction, after: int = 1) -> bytes:
        time = self.ledger.head.time + after
        return encode_batch(Batch(self.genesis.chain, 0, 0, time, tuple(tx.raw for tx in transactions)))

    def execute(self, *transactions: Transaction, after: int = 1) -> Execution:
        return self.executor.execute(self.ledger.head.height + 1, self.body(*transactions, after=after))

    def add(self, *transactions: Transaction, after: int = 1) -> Execution:
        """Execute a batch and commit it."""
        execution = self.execute(*transactions, after=after)
        self.ledger.commit(execution, certify(execution))
        return execution

    def add_null(self) -> Execution:
        execution = self.executor.execute(self.ledger.head.height + 1, NULL_BATCH)
        self.ledger.commit(execution, certify(execution))
        return execution
