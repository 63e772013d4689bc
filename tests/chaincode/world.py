"""A world for contract tests: the real registry, state and journal, without blocks, signatures or disks.

world = World([Accounts(), Market()], {"market": {"slot_seconds": 1800}})
world.call(KEY, "market", "place", device="home-01/load", ...)      # raises ContractError, undone
assert world.refused(KEY, "market", "place", device=...) == "over-budget"
world.next_block(time=world.time + 10)                              # end_block, then begin_block at that time
world.query("market", "book", slot=5)
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from chaincode.contract import Context, Contract, ContractError, Event, Value
from chaincode.registry import Registry
from node.ledger.layout import STATE
from node.ledger.state import Overlay, WorldState, require_value
from node.ledger.store import MemoryStore
from node.limits import QUERY_ROWS, QUERY_STEPS
from node.model.codec import sha256
from node.model.keys import verify
from node.witness import RecordingState

CHAIN = bytes(32)
STEPS = 10_000_000


class World:
    """One chain's state with blocks that are only their hooks. ``events``: all emitted so far, in order."""

    def __init__(
        self,
        contracts: Sequence[Contract] | Registry,
        settings: dict[str, dict[str, Any]] | None = None,
        *,
        time: int = 0,
    ) -> None:
        self.registry = contracts if isinstance(contracts, Registry) else Registry(contracts)
        self.height = 0
        self.time = self.previous_time = time
        self.events: list[Event] = []
        self._store = MemoryStore()
        self._base = WorldState(self._store, self.registry.indexed)
        self.state: Overlay = self._base.overlay()
        self._calls = 0
        with self.transaction() as ctx:
            self.registry.genesis(ctx, settings or {})
        self.height = 1
        with self.transaction() as ctx:
            self.registry.begin_block(ctx)

    @contextmanager
    def transaction(self, sender: bytes = b"") -> Iterator[Context]:
        """A context whose writes and events are kept, or undone if the body raises. For module functions."""
        self._calls += 1
        ctx = Context(
            self.state,
            chain=CHAIN,
            height=self.height,
            time=self.time,
            previous_time=self.previous_time,
            sender=sender,
            tx_id=sha256(b"test", self._calls.to_bytes(8, "big")),
            step_limit=STEPS,
            verifier=verify,
        )
        self.state.begin()
        try:
            yield ctx
        except BaseException:
            self.state.undo()
            raise
        require_value(tuple((event.topic, event.keys, event.data) for event in ctx.events))
        self.state.keep()
        self.events.extend(ctx.events)

    def call(self, sender: bytes, contract: str, method: str, **args: Any) -> Value:
        """Run a transaction; returns its result. A ContractError undoes it and is raised."""
        with self.transaction(sender) as ctx:
            result = self.registry.call(ctx, contract, method, args)
            require_value(result)
            return result

    def refused(self, sender: bytes, contract: str, method: str, **args: Any) -> str:
        """Run a transaction that must be refused; returns the code."""
        try:
            self.call(sender, contract, method, **args)
        except ContractError as error:
            return error.code
        raise AssertionError(f"{contract}.{method} was not refused")

    def query(self, contract: str, method: str, *, sender: bytes = b"", **args: Any) -> Value:
        """Run a query; what it writes is undone."""
        ctx = Context(
            self.state,
            chain=CHAIN,
            height=self.height,
            time=self.time,
            previous_time=self.previous_time,
            sender=sender,
            tx_id=b"",
            step_limit=STEPS,
            verifier=verify,
        )
        self.state.begin()
        try:
            return self.registry.call(ctx, contract, method, args, "query")
        finally:
            self.state.undo()

    def proven_reads(self, contract: str, method: str, **args: Any) -> int:
        """How many entries are proven with a query's answer, as of the last block, within a gateway's bounds."""
        state = RecordingState(self._base, QUERY_ROWS)
        ctx = Context(
            state,
            chain=CHAIN,
            height=self.height,
            time=self.time,
            previous_time=self.previous_time,
            sender=b"",
            tx_id=b"",
            step_limit=QUERY_STEPS,
            verifier=verify,
        )
        self.registry.call(ctx, contract, method, args, "query")
        return len(state.reads)

    def next_block(self, time: int | None = None) -> None:
        """Finish this block and begin the next one at ``time`` (default: the same)."""
        with self.transaction() as ctx:
            self.registry.end_block(ctx)
        changes = self.state.changes()
        self._store.write({STATE + key: value for key, value in changes.items()})
        self._base.apply(self.state.values())
        self.state = self._base.overlay()
        self.previous_time, self.time = self.time, self.time if time is None else time
        self.height += 1
        with self.transaction() as ctx:
            self.registry.begin_block(ctx)

    def next_event(self) -> int | None:
        """What the calendar asks for in this state."""
        with self.transaction() as ctx:
            return self.registry.next_event(ctx)
