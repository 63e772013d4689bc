"""Executes a batch on the state after the head: a pure function of that state and the batch's bytes.

The way of a block, in order:

1. ``begin_block`` of every contract, in the registry's order;
2. the transactions, senders in the order of SHA-256(parent hash + sender), each sender's by nonce, then id: a batch
   is a set, and its proposer cannot gain by its order;
3. ``end_block`` of every contract; then the table of nonces, the Merkle root, the header.

Before all that, in the first block at or after its height, an upgrade of contracts becomes active, or is recorded as
failed (``chaincode/upgrades.py``). A node that has not got its bundle, or that of one that is active, cannot execute:
NodeFault("upgrade-missing").

A null batch has none of this but the table. A transaction of another chain, expired, or with a nonce that is used or
out of the window is not executed at all (``ledger.chain.UNUSED_CODES``). Any other uses its nonce and runs by
itself: what it wrote and emitted is undone if it fails. ContractError is a refusal by the rules and gives the receipt
its code; any other exception of a contract is a mistake in it, the code is "internal" and the log has the
traceback; errors of the machine (OSError, MemoryError, StoreFault) are this node's alone: NodeFault, no block.

A hook that fails, whichever way, is undone too, the event "hook-failed" with (hook, code) tells of it, and the block
goes on: all nodes fail alike, and a chain that stood still could not even be repaired by a transaction. Within a hook
the contract may try units of work apart (``Context.attempt``): a unit's failure is undone by itself, and logged.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from chaincode.contract import Context, Contract, ContractError, Event, Value
from chaincode.registry import Registry
from chaincode.upgrades import ACTIVE, Bundle, Scheduled, activate, fail, scheduled
from node.errors import CodecError, NodeFault
from node.ledger import blinding, nonces
from node.ledger.chain import Ledger
from node.ledger.execution import Execution, Position, finish
from node.ledger.reading import LOCAL_STEPS, ReadOnlyState, head_context
from node.ledger.state import Overlay, require_value
from node.model.block import NULL_BATCH, NULL_DIGEST, DecodedBatch, decode_batch
from node.model.codec import sha256
from node.model.genesis import Genesis
from node.model.keys import SIGNATURE_BYTES, TAG_HOOK, verify
from node.model.merkle_list import EMPTY_ROOT
from node.model.receipt import OK, Receipt, encode_event, encode_receipt
from node.model.transaction import Transaction
from node.witness import UNPROVEN_REFUSALS, RecordingState, run_query

# What one call may do. These are rules: nodes that differ in them compute different states.
TRANSACTION_STEPS = 20_000
HOOK_STEPS = 20_000_000
TRANSACTION_VALUE_BYTES = 64 * 1024
"""The largest value that a transaction may write, and all its events together."""
HOOK_VALUE_BYTES = 8 * 1024 * 1024
HOOK_EVENTS_BYTES = 128 * HOOK_STEPS
"""All events of a hook together: more than its steps allow, so that an auction ends by its steps if by anything. A fill
takes 6 steps and 220 bytes at least, 20 and 750 if names are at their longest; a settled payment 5 and 300."""
RECEIPT_BYTES = 16 * 1024

HOOK_FAILED = "hook-failed"
INTERNAL = "internal"

_logger = logging.getLogger(__name__)


class Executor:
    """Executes batches and answers queries on a ledger's head."""

    def __init__(self, ledger: Ledger, registry: Registry, genesis: Genesis) -> None:
        self._ledger = ledger
        self._first = registry
        self._now = registry
        self._chain = genesis.chain
        self._next_event: tuple[bytes, int | None] | None = None
        self._failed: tuple[bytes, frozenset[str]] = (b"", frozenset())

    @property
    def registry(self) -> Registry:
        """The contracts by the state after the head."""
        now = self._first.at(self._ledger.state.get)
        if now is not self._now:
            self._ledger.state.index(now.indexed)
            self._now = now
        return now

    def require_upgrades(self) -> None:
        """Whether this node can execute the next block. Raises NodeFault("upgrade-missing")."""
        self._ready_for(self._ledger.head.height + 1)

    def coming_upgrade(self) -> tuple[Scheduled, bool] | None:
        """The upgrade that is scheduled, and whether its bundle is installed here."""
        coming = scheduled(self._ledger.state.get)
        return None if coming is None else (coming, self._first.find(coming.digest) is not None)

    def _ready_for(self, height: int) -> tuple[Registry, tuple[Scheduled, Bundle] | None]:
        """The contracts at the beginning of a block, and what is to become active in it."""
        registry = self.registry
        for missing in registry.missing.values():
            raise _missing(missing.name, missing.digest, f"it is active since block {missing.height}")
        coming = scheduled(self._ledger.state.get)
        if coming is None or height < coming.first_height:
            return registry, None
        bundle = registry.find(coming.digest)
        if bundle is None:
            raise _missing(coming.name, coming.digest, f"it becomes active in block {coming.first_height}")
        return registry, (coming, bundle)

    def execute(self, height: int, body: bytes, decoded: DecodedBatch | None = None) -> Execution:
        """Execute ``body`` (an encoded batch, or NULL_BATCH) on top of the head; ``decoded``: the same, if at hand.

        Raises NodeFault: "wrong-height" if ``height`` does not follow the head, "bad-batch" if the body is none
        (consensus never agrees on one), "upgrade-missing", "machine" and StoreFault if the machine fails.
        """
        head = self._ledger.head
        if height != head.height + 1:
            raise NodeFault("wrong-height", f"asked to execute height {height} on top of {head.height}")
        if body != NULL_BATCH and decoded is None:
            try:
                decoded = decode_batch(body)
            except CodecError as error:
                raise NodeFault("bad-batch", f"agreed on what is no batch: {error}") from error
        overlay = self._ledger.state.overlay()
        time = head.time if decoded is None else max(head.time, decoded.batch.time)
        transactions = () if decoded is None else decoded.transactions
        registry, upgrade = self._ready_for(height)
        run = _BlockRun(registry, overlay, self._chain, height, time, head.time)
        if decoded is None:
            receipts: tuple[tuple[Receipt, bytes], ...] = ()
        else:
            if upgrade is not None:
                run.upgrade(*upgrade)
            run.hooks("begin_block")
            receipts = run.transactions(transactions, self._ledger.head_hash)
            run.hooks("end_block")
        epoch, next_epoch = self._ledger.epoch_at(height), self._ledger.epoch_at(height + 1)
        position = Position(
            chain=self._chain,
            epoch=epoch.number,
            height=height,
            parent_hash=self._ledger.head_hash,
            batch_digest=NULL_DIGEST if decoded is None else decoded.digest,
            time=time,
            tx_root=EMPTY_ROOT if decoded is None else decoded.tx_root,
            members_hash=self._ledger.members_hash(epoch),
            next_members_hash=self._ledger.members_hash(next_epoch),
        )
        execution = finish(position, body, transactions, receipts, run.events, overlay, self._ledger.tree)
        self._failed = (execution.block_hash, _failed_contracts(execution.events))
        return execution

    def next_event(self) -> int | None:
        """The block time at which the calendar wants a block, by the state after the head; None if it wants none.

        A contract whose hook failed in the head block is not asked: a mistake in it would call for block after block.
        """
        if self._next_event is None or self._next_event[0] != self._ledger.head_hash:
            self._next_event = (self._ledger.head_hash, self._earliest_event(self._failed_in_head()))
        return self._next_event[1]

    def _failed_in_head(self) -> frozenset[str]:
        """The contracts whose hook failed in the head block."""
        block_hash, failed = self._failed
        if block_hash != self._ledger.head_hash:  # not executed here: read at the start
            failed = _failed_contracts(self._ledger.events(self._ledger.head.height))
        return failed

    def _earliest_event(self, failed: frozenset[str]) -> int | None:
        due = []
        for contract in self.registry.contracts:
            if contract.name in failed or type(contract).next_event is Contract.next_event:
                continue
            ctx = head_context(self._ledger)
            try:
                due.append(contract.next_event(ctx))
            except (NodeFault, OSError, MemoryError):
                raise  # this machine's, not the contract's: the driver stops the node
            except Exception:
                _logger.exception("a mistake in the calendar of contract %r", contract.name)
        return min([time for time in due if time is not None], default=None)

    def query(
        self,
        contract: str,
        method: str,
        args: Mapping[str, Any],
        sender: bytes = b"",
        *,
        steps: int = LOCAL_STEPS,
        rows: int | None = None,
    ) -> Value:
        """Answer a query from the state after the head.

        ``steps``: how many reads it may do; ``rows``: how many entries of tuples these may bring, None for any number.
        Raises ContractError: "unknown-contract", "unknown-method", "bad-args", "step-limit", "too-much", "read-only",
        "internal", or what the query raises.
        """
        state = ReadOnlyState(self._ledger.state, rows)
        return run_query(self.registry, self._ledger.head, state, contract, method, args, sender, steps)

    def query_proven(
        self,
        contract: str,
        method: str,
        args: Mapping[str, Any],
        sender: bytes = b"",
        *,
        steps: int = LOCAL_STEPS,
        rows: int | None = None,
    ) -> tuple[Value, tuple[tuple[bytes, bytes | None, tuple[bytes, ...]], ...]]:
        """``query`` with what it read: (key, entry or None, proof) each; ``node/witness.py`` checks it.

        A refusal by the rules is an answer too: None, with what it rests on. Raises ContractError with one of
        ``UNPROVEN_REFUSALS``: "not-provable" if the query scans or reads too much, the others as ``query`` does.
        """
        state = RecordingState(self._ledger.state, rows)
        value: Value = None
        try:
            value = run_query(self.registry, self._ledger.head, state, contract, method, args, sender, steps)
        except ContractError as error:
            if error.code in UNPROVEN_REFUSALS:
                raise
        state.reads[ACTIVE] = None  # whose code the answer is by, whoever checks it has to know
        return value, tuple([(key, *self._ledger.prove(key)) for key in state.reads])


class _BlockRun:
    """One block under way: its overlay, and the events so far, each with its encoding."""

    def __init__(
        self, registry: Registry, overlay: Overlay, chain: bytes, height: int, time: int, previous_time: int
    ) -> None:
        self._registry = registry
        self._overlay = overlay
        self._chain = chain
        self._height = height
        self._time = time
        self._previous_time = previous_time
        self._blind = blinding.read(overlay.get(blinding.BLIND))
        self.events: list[tuple[Event, bytes]] = []

    def upgrade(self, coming: Scheduled, bundle: Bundle) -> None:
        """Let an upgrade become active, by itself: what follows in this block is done by its contracts, if it could."""
        receipt = self._step(partial(self._migrated, coming, bundle))
        if receipt.code == OK:
            self._registry = self._registry.at(self._overlay.get)
            _logger.info("upgrade-active name=%s digest=%s height=%d", coming.name, coming.digest.hex(), self._height)
            return
        _logger.error("upgrade-failed name=%s digest=%s code=%s", coming.name, coming.digest.hex(), receipt.code)
        self._step(partial(_failed_upgrade, coming, receipt.code))

    def _migrated(self, coming: Scheduled, bundle: Bundle, ctx: Context) -> None:
        activate(ctx, coming, bundle)
        self._registry.at(self._overlay.get)  # whether they can stand beside the others

    def _step(self, work: Callable[[Context], None]) -> Receipt:
        ctx = self._context(b"", sha256(TAG_HOOK, b"upgrade", self._height.to_bytes(8, "big")), HOOK_STEPS)
        ctx.contract = "motions"
        return self._attempt(ctx, partial(work, ctx), HOOK_VALUE_BYTES, HOOK_EVENTS_BYTES)[0]

    def hooks(self, hook: str) -> None:
        """Run "begin_block" or "end_block" of every contract that has one, each by itself."""
        for contract in self._registry.contracts:
            if getattr(type(contract), hook) is getattr(Contract, hook):
                continue
            name = f"{contract.name}.{hook}"
            ctx = self._context(b"", sha256(TAG_HOOK, name.encode(), self._height.to_bytes(8, "big")), HOOK_STEPS)
            ctx.contract = contract.name
            receipt, _ = self._attempt(ctx, partial(getattr(contract, hook), ctx), HOOK_VALUE_BYTES, HOOK_EVENTS_BYTES)
            for failure in ctx.failures:
                _logger.error("block %d: a part of %s was undone: %s", self._height, name, failure, exc_info=failure)
            if receipt.code != OK:
                _logger.error("block %d: the hook %s failed and was undone: %s", self._height, name, receipt.code)
                event = Event(contract.name, HOOK_FAILED, (), (hook, receipt.code))
                self.events.append((event, encode_event(event)))

    def transactions(self, batch: Sequence[Transaction], parent_hash: bytes) -> tuple[tuple[Receipt, bytes], ...]:
        """Execute ``batch`` in canonical order; the receipts are in the batch's order."""
        senders = dict.fromkeys([tx.payload.sender for tx in batch])
        ranks = {sender: sha256(parent_hash, sender) for sender in senders}
        entries = {sender: nonces.read(self._overlay.get(nonces.NONCES + sender)) for sender in senders}
        used = set()
        receipts: dict[bytes, tuple[Receipt, bytes]] = {}
        for tx in sorted(batch, key=lambda tx: (ranks[tx.payload.sender], tx.payload.nonce, tx.id)):
            sender, nonce = tx.payload.sender, tx.payload.nonce
            code = self._unfit(tx) or nonces.fault(entries[sender], nonce)
            if code is None:
                entries[sender] = nonces.use(entries[sender], nonce)
                used.add(sender)
                receipts[tx.id] = self._transaction(tx)
            else:
                receipts[tx.id] = _failed(tx.id, code, ())
        self._overlay.begin()
        for sender in senders:
            if sender in used:
                self._overlay.put(nonces.NONCES + sender, nonces.written(entries[sender]))
        if batch:
            signatures = sorted([tx.raw[:SIGNATURE_BYTES] for tx in batch])
            self._overlay.put(blinding.BLIND, blinding.stirred(self._blind, signatures))
        self._overlay.keep()
        return tuple([receipts[tx.id] for tx in batch])

    def _unfit(self, tx: Transaction) -> str | None:
        if tx.payload.chain != self._chain:
            return "wrong-chain"
        if tx.payload.not_after < self._time:
            return "expired"
        return None

    def _transaction(self, tx: Transaction) -> tuple[Receipt, bytes]:
        payload = tx.payload
        ctx = self._context(payload.sender, tx.id, TRANSACTION_STEPS)
        call = partial(self._registry.call, ctx, payload.contract, payload.method, payload.args)
        return self._attempt(ctx, call, TRANSACTION_VALUE_BYTES, TRANSACTION_VALUE_BYTES)

    def _context(self, sender: bytes, tx_id: bytes, steps: int) -> Context:
        return Context(
            self._overlay,
            chain=self._chain,
            height=self._height,
            time=self._time,
            previous_time=self._previous_time,
            sender=sender,
            tx_id=tx_id,
            step_limit=steps,
            verifier=verify,
            blind=blinding.of_call(self._blind, tx_id),
        )

    def _attempt(
        self, ctx: Context, call: Callable[[], Value], value_bytes: int, events_bytes: int
    ) -> tuple[Receipt, bytes]:
        """Run one call: keep what it wrote and emitted if each value and all events fit, else undo it."""
        overlay = self._overlay
        overlay.begin()
        try:
            result = call()
            receipt = Receipt(ctx.tx_id, OK, (), result)
            require_value(result)
            encoded = encode_receipt(receipt)
            events = [(event, _encoded(event)) for event in ctx.events]
            size, told = overlay.seal(), sum([len(event) for _, event in events])
            if size > value_bytes or told > events_bytes or len(encoded) > RECEIPT_BYTES:
                raise ContractError("too-large", f"a value of {size} bytes, events of {told}, or the result")
        except ContractError as error:
            overlay.undo()
            return _failed(ctx.tx_id, error.code, error.details)
        except NodeFault:
            raise
        except (OSError, MemoryError) as error:
            raise NodeFault("machine", f"the machine failed in block {self._height}: {error!r}") from error
        except Exception:
            what = (ctx.tx_id.hex(), self._height, ctx.contract)
            _logger.exception("internal tx=%s height=%d contract=%s: a mistake in the contract", *what)
            overlay.undo()
            return _failed(ctx.tx_id, INTERNAL, ())
        overlay.keep()
        self.events.extend(events)
        return receipt, encoded


def _failed_upgrade(coming: Scheduled, code: str, ctx: Context) -> None:
    fail(ctx, coming, code)


def _missing(name: str, digest: bytes, why: str) -> NodeFault:
    return NodeFault("upgrade-missing", f"the upgrade {name} with digest {digest.hex()} is not installed here: {why}")


def _failed_contracts(events: Sequence[Event]) -> frozenset[str]:
    return frozenset([event.contract for event in events if event.topic == HOOK_FAILED])


def _encoded(event: Event) -> bytes:
    for part in (event.topic, event.keys, event.data):
        require_value(part)
    return encode_event(event)


def _failed(tx_id: bytes, code: str, details: tuple[int, ...]) -> tuple[Receipt, bytes]:
    receipt = Receipt(tx_id, code, details, None)
    try:
        if not all(type(number) is int for number in details):
            raise TypeError("details are integers")
        return receipt, encode_receipt(receipt)
    except (CodecError, TypeError):
        _logger.exception("a mistake in a contract: the refusal %r with details that are no integers", code)
        return _failed(tx_id, INTERNAL, ())
