"""What if the rules had been others: past blocks executed again under changed rules, beside what really happened.

The chain is replayed from genesis by the one executor that nodes have: every block must come out with the header, and
so with the state root, that its certificate proves; what was really done is thus asserted and not assumed. Before block
``first`` the state is copied. The copy gets the changed rules, by the contracts' own means: as if a vote had come into
force, as if the grid operator had published another grid. From there on both go on side by side, block by block:
the same transactions at the same times, in the same order (which the parent's hash decides, so the copy takes over that
of the real block). Signatures of transactions are not checked again: the certificates say that members did.

Products that are open at ``first`` keep the terms that they pinned, as they would after a vote; before block 1 there is
none. What people would have ordered under other rules nobody knows: their transactions are what they were, and those
that the changed rules refuse are counted.

Nothing of this touches the node's data. Both states lie in LevelDB under a directory that the caller gives and removes:
room for two states and the headers, no blocks. In memory there are the caches, the markets' open books, and some
hundred bytes for each network and slot settled.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

from chaincode import market_rules
from chaincode.contract import Context, ContractError
from chaincode.grid import Grid, LineSettings, publish_as
from chaincode.market_products import OPEN, find, next_to_open, oldest_unfinished, settings_of
from chaincode.registry import Registry
from node.audit_ahead import bad
from node.epochs import header_fault
from node.errors import CodecError, NodeFault, RefusedError
from node.executor import HOOK_STEPS, Executor
from node.ledger import layout
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.ledger.reading import head_context
from node.ledger.state import Overlay
from node.ledger.store import LevelStore
from node.model.block import NULL_BATCH, DecodedBatch, decode_batch, encode_header, is_erased
from node.model.certificate import Certificate, decode_certificate
from node.model.genesis import Genesis
from node.model.keys import verify
from node.tally import Comparison, Tally, compare

GridLines: TypeAlias = tuple[str, int, tuple[LineSettings, ...]]
"""(root, rate, lines) as the ledger has them."""

_DROPPED = frozenset(family[0] for family in (layout.BODY, layout.RESULTS, layout.TRANSACTION))
_FIRST = (0).to_bytes(layout.HEIGHT_BYTES, "big")


class Change(NamedTuple):
    """What is changed. ``settings``: (name, value) of the market's; ``tariffs``: all of them, or none; ``regrid``: the
    grid that takes the place of the newest one."""

    settings: tuple[tuple[str, int], ...]
    tariffs: tuple[tuple[int, int, int], ...]
    regrid: Callable[[GridLines], GridLines] | None


class Outcome(NamedTuple):
    """``kept``: products that were open at the first block, and kept their terms; ``opened``: those that opened under
    the changed rules; ``blocks``: how many were compared."""

    first: int
    last: int
    blocks: int
    kept: int
    opened: int
    comparison: Comparison


class Scratch(LevelStore):
    """Keeps the state and what proves it, not the blocks behind it; of those the first, which makes it a ledger."""

    def write(self, puts: Mapping[bytes, bytes | None]) -> None:
        kept = {key: value for key, value in puts.items() if key[0] not in _DROPPED or key[1:] == _FIRST}
        super().write(kept)


class Run:
    """A ledger under replay, and what is counted of it; on the states in ``directory`` if there are some."""

    def __init__(self, directory: Path, genesis: Genesis, registry: Registry) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._store = Scratch(directory, create=True, synced=False)
        try:
            self.ledger = Ledger.open(self._store, genesis, registry)
        except BaseException:
            self._store.close()
            raise
        self.executor = Executor(self.ledger, registry, genesis)
        self.tally = Tally()

    def count(self, execution: Execution) -> None:
        """Take the block that is the head now into account."""
        self.tally.take(execution, head_context(self.ledger))

    def write(self, overlay: Overlay) -> None:
        """Change the state after the head, by no block: only a copy that nobody certifies can."""
        changes = overlay.changes()
        update, height = self.ledger.tree.update(changes), self.ledger.head.height
        puts: dict[bytes, bytes | None] = {layout.STATE + key: value for key, value in changes.items()}
        puts.update(self.ledger.tree.puts(height, changes))
        self._store.write(puts)
        self.ledger.state.apply(overlay.values())
        self.ledger.tree.apply(height, update)

    def close(self) -> None:
        self._store.close()


class WhatIf:
    """Fed with the blocks from 1 to ``last``; compares from ``first`` on. Close it in the end."""

    def __init__(
        self, genesis: Genesis, registry: Registry, first: int, last: int, change: Change, directory: Path
    ) -> None:
        """``directory``: an empty one, or none yet, for the states. Raises RefusedError("bad-range")."""
        if not 1 <= first <= last:
            raise RefusedError("bad-range", f"from {first} to {last}: the first block is 1, the last not before it")
        self._genesis = genesis
        self._registry = registry
        self._first = first
        self._last = last
        self._change = change
        self._directory = directory
        self._real = Run(directory / "real", genesis, registry)
        self._changed: Run | None = None
        self._kept = 0

    def feed(self, header: bytes, body: bytes, certificate: bytes) -> None:
        """The next block as it is stored. Raises RefusedError: "bad-chain" if it is not what execution gives, or its
        certificate does not prove it; "no-history" if something of it has been erased; of the first changed one, the
        code with which the rules refuse the change."""
        height = self._real.ledger.head.height + 1
        if height == self._first:
            self._fork()
        try:
            decoded = None if body == NULL_BATCH else decode_batch(body)
            proof = decode_certificate(certificate)
        except CodecError as error:
            if is_erased(body):
                raise RefusedError("no-history", f"height {height}: readings in it have been erased") from error
            raise bad(height, f"it cannot be read: {error}") from error
        done = self._execute(height, header, body, decoded, proof)
        if self._changed is not None:
            self._beside(self._changed, done, body, decoded)

    def outcome(self) -> Outcome:
        """The difference, once the last block has been fed."""
        assert self._changed is not None and self._real.ledger.head.height == self._last, "not all blocks were fed"
        real, changed = self._real.tally, self._changed.tally
        blocks = self._last - self._first + 1
        return Outcome(self._first, self._last, blocks, self._kept, changed.opened, compare(real, changed))

    def close(self) -> None:
        """Let go of the states' files."""
        self._real.close()
        if self._changed is not None:
            self._changed.close()

    def _execute(
        self, height: int, header: bytes, body: bytes, decoded: DecodedBatch | None, proof: Certificate
    ) -> Execution:
        """What really happened."""
        try:
            done = self._real.executor.execute(height, body, decoded)
        except NodeFault as fault:
            if fault.code == "upgrade-missing":
                raise RefusedError(fault.code, f"height {height}: {fault.message}") from fault
            raise bad(height, f"it cannot be executed: {fault}") from fault
        made = done.block.header
        if encode_header(made) != header:
            raise bad(height, f"its header is not what execution gives, state root {made.state_root.hex()[:16]}")
        fault_ = header_fault(self._genesis.chain, self._real.ledger.epochs(), made, proof, verify)
        if fault_ is not None:
            raise bad(height, f"its certificate does not hold: {fault_}")
        self._real.ledger.commit(done, proof)
        if self._changed is not None:
            self._real.count(done)
        return done

    def _beside(self, run: Run, real: Execution, body: bytes, decoded: DecodedBatch | None) -> None:
        """The same block on the changed state."""
        height = real.block.header.height
        done = run.executor.execute(height, body, decoded)
        made = done.block.header
        run.ledger.commit(done, Certificate(made.epoch, 0, height, done.block_hash, ()))
        # A block's transactions run in an order that hangs on its parent's hash: it is to be what it was.
        run.ledger.head_hash = real.block_hash
        run.count(done)

    def _fork(self) -> None:
        """Copy the state, and change the rules in the copy. Raises RefusedError("cannot-write")."""
        self._real.close()
        copied = self._directory / "changed"
        try:
            shutil.copytree(self._real.directory, copied)
        except OSError as error:  # of many files it has no errno, and no words but a list of all of them
            why = error.strerror or str(error.args[0][0][2]).split("] ")[-1].split(": ")[0]
            raise RefusedError("cannot-write", f"{copied}: {why}; TMPDIR says where else there is room") from error
        self._real = Run(self._real.directory, self._genesis, self._registry)
        run = self._changed = Run(copied, self._genesis, self._registry)
        self._kept = _open_products(head_context(run.ledger))
        overlay = run.ledger.state.overlay()
        overlay.begin()
        try:
            self._apply(self._context(run, overlay))
        except ContractError as error:
            raise RefusedError(error.code, f"the changed rules: {error.message}") from error
        overlay.keep()
        run.write(overlay)

    def _apply(self, ctx: Context) -> None:
        settings, tariffs, regrid = self._change
        if settings or tariffs:
            pending = market_rules.scheduled(ctx)
            market_rules.put_in_force(ctx, market_rules.merged(settings_of(ctx), settings, tariffs), None)
            if pending is not None:  # what was voted on comes into force all the same, beside what is changed here
                market_rules.drop_scheduled(ctx)
                later = market_rules.merged(pending.settings, settings, tariffs)
                market_rules.schedule(ctx, pending.first_height, pending.proposal, later)
        if regrid is not None:
            _, *newest = cast("tuple[int, str, int, tuple[LineSettings, ...]]", Grid().tree(ctx))
            publish_as(ctx, *regrid(cast("GridLines", tuple(newest))))

    def _context(self, run: Run, overlay: Overlay) -> Context:
        head = run.ledger.head
        return Context(
            overlay,
            chain=self._genesis.chain,
            height=self._first,
            time=head.time,
            previous_time=head.time,
            sender=b"",
            tx_id=bytes(32),
            step_limit=HOOK_STEPS,
            verifier=verify,
        )


def _open_products(ctx: Context) -> int:
    """How many products are open."""
    products = [find(ctx, slot) for slot in range(oldest_unfinished(ctx), next_to_open(ctx) or 0)]
    return len([product for product in products if product is not None and product.state == OPEN])
