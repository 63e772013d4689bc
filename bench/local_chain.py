"""A real ledger in one process, for benchmarks without a network: real contracts, blocks certified by keys at hand."""

import time
from collections.abc import Sequence
from typing import Any, Final

from chaincode.registry import Registry, default_registry
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.store import MemoryStore
from node.model.block import Batch, encode_batch
from node.model.certificate import Certificate, commit_bytes
from node.model.genesis import Genesis
from node.model.keys import SigningKey
from node.model.transaction import sign_transaction

KEY: Final = SigningKey(bytes(31) + b"\1")
"""Everybody's: nothing hangs on who signs here."""
FOREVER: Final = 2**40


class LocalChain:
    """A chain in memory. ``slowest_s`` and ``all_s``: processor time of its slowest block and of all, to execute."""

    def __init__(
        self, genesis: Genesis, members: Sequence[SigningKey] = (KEY,), registry: Registry | None = None
    ) -> None:
        """``members``: who certify blocks, all of them, by index; ``registry``: all contracts if none is given."""
        registry = registry or default_registry()
        self.genesis = genesis
        self.registry = registry
        self.store = MemoryStore()
        self.ledger = Ledger.open(self.store, genesis, registry)
        self.executor = Executor(self.ledger, registry, genesis)
        self._members = members
        self.slowest_s = self.all_s = 0.0
        self._nonce = 0

    def block(self, at: int, *calls: tuple[str, str, dict[str, Any]]) -> None:
        """A block of these calls."""
        raws = []
        for contract, method, args in calls:
            self._nonce += 1
            raws.append(sign_transaction(KEY, self.genesis.chain, self._nonce, contract, method, args, FOREVER).raw)
        head = self.ledger.head
        body = encode_batch(Batch(self.genesis.chain, 0, 0, max(at, head.time), tuple(raws)))
        began = time.process_time()
        execution = self.executor.execute(head.height + 1, body)
        took = time.process_time() - began
        self.slowest_s, self.all_s = max(self.slowest_s, took), self.all_s + took
        header = execution.block.header
        signed = commit_bytes(header.chain, header.epoch, 0, header.height, execution.block_hash)
        votes = tuple([(index, member.sign(signed)) for index, member in enumerate(self._members)])
        self.ledger.commit(execution, Certificate(header.epoch, 0, header.height, execution.block_hash, votes))

    def go_to(self, at: int) -> None:
        """All blocks that the calendar asks for until then."""
        while (due := self.executor.next_event()) is not None and due <= at:
            self.block(due)
