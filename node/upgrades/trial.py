"""Trying an upgrade on a copy of a node's data before anybody votes on it: `watt admin upgrade try`.

Twice. First the migration runs on a copy of the newest state, as it would in the next block: how long it takes, which
entries it changes, which root comes out. Then past blocks are executed again as if it had become active some blocks
ago, on a state of that height, made from the node's newest snapshot below it, or from block 0: the same transactions in
the same order, and every receipt that comes out otherwise is told. Both are done by the executor that nodes have; what
is forced is only that the upgrade is scheduled.

The node's data are not changed, not even by opening them: files that LevelDB never changes are linked, the others
copied, while LevelDB's own lock is held, so that no node runs on them meanwhile.
"""

import fcntl
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from chaincode import motion_record, upgrades
from chaincode.contract import Context
from chaincode.keys import table_of
from chaincode.registry import registry_with
from chaincode.upgrades import Bundle, Find, Scheduled, active
from node.audit_ahead import bad
from node.epochs import verified_epochs
from node.errors import ConfigError, NodeFault, RefusedError
from node.executor import HOOK_STEPS
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.model.block import Batch, Header, decode_header, encode_batch
from node.model.certificate import Certificate
from node.model.epoch import Boundary
from node.model.genesis import Genesis
from node.model.keys import verify
from node.model.receipt import Receipt
from node.setup import DATABASE_NAME
from node.snapshot.load import load as load_snapshot
from node.snapshot.offer import Trust, checked_offer
from node.snapshot.shelf import SNAPSHOTS_NAME, Shelf
from node.upgrades.bundle import Files, load
from node.upgrades.library import UPGRADES_NAME, Library
from node.whatif import Run, Scratch

Progress = Callable[[int, int], None]
_MOTION = 2**40
"""The number of the motion that was never voted on."""
MAX_DIFFERENCES = 1_000
"""So many are kept; all are counted."""


class Migration(NamedTuple):
    """``outcome``: "ok", or the code with which it failed; ``written`` and ``deleted``: entries by table; ``root``: of
    the state after the next block, were it empty; ``micros``: how long the migration took."""

    height: int
    outcome: str
    micros: int
    written: dict[str, int]
    deleted: dict[str, int]
    root: bytes


class Difference(NamedTuple):
    """A transaction whose receipt would have been another."""

    height: int
    tx_id: bytes
    call: str
    was: str
    would_be: str


class Replay(NamedTuple):
    """``first`` to ``last`` were executed again, beginning with the state of block ``base``; ``outcome``: of the
    migration in the first of them. ``differing``: how many receipts differ."""

    base: int
    first: int
    last: int
    transactions: int
    outcome: str
    differing: int
    differences: tuple[Difference, ...]
    root: bytes


class Trial(NamedTuple):
    """``replay``: None if there is no state to begin with, which ``why_not`` explains. ``in_force``: since which block
    this very bundle is in force on these data already; 0 if it is not."""

    digest: bytes
    in_force: int
    migration: Migration
    replay: Replay | None
    why_not: str


def try_upgrade(
    data: Path, genesis: Genesis, bundle: Files, blocks: int, scratch: Path, progress: Progress = lambda at, end: None
) -> Trial:
    """Try ``bundle`` on a copy of the node's ``data``, with its last ``blocks`` blocks, in ``scratch``.

    Raises RefusedError: "bad-bundle", "bad-chain", "no-block" before block 1, "upgrade-missing" if another one is;
    ConfigError: "db-missing", "db-locked", "cannot-write", and what opening data raises.
    """
    find = _with(bundle, load(bundle), Library(data / UPGRADES_NAME).find)
    copy = scratch / "head"
    copy_database(data / DATABASE_NAME, copy)
    head = _Copy(copy, genesis, find)
    try:
        if not head.run.ledger.head.height:
            raise RefusedError("no-block", "there is no block in these data to try anything on")
        stored = _Copy.source(data, head.run.ledger)
        in_force = next((row.height for row in active(head.run.ledger.state.get) if row.digest == bundle.digest), 0)
        migration = head.migrate(bundle)
        replay, why_not = _replay(stored, scratch, genesis, find, bundle, blocks, progress)
        return Trial(bundle.digest, in_force, migration, replay, why_not)
    finally:
        head.run.close()


class _Source(NamedTuple):
    """The copied ledger, whose blocks are read, and the node's snapshots."""

    ledger: Ledger
    shelf: Shelf
    head: Header


class _Copy:
    """A ledger that may be changed, with the upgrade at hand."""

    def __init__(self, directory: Path, genesis: Genesis, find: Find) -> None:
        self.run = Run(directory, genesis, registry_with(find))
        self._genesis = genesis

    @staticmethod
    def source(data: Path, ledger: Ledger) -> _Source:
        """What is replayed: of the ledger as it is now."""
        return _Source(ledger, Shelf(data / SNAPSHOTS_NAME), ledger.head)

    def migrate(self, bundle: Files) -> Migration:
        """What becomes of the upgrade in the next block; what the migration alone does to the newest state."""
        block = self.force(bundle)
        outcome, ledger = _outcome(block), self.run.ledger
        written, deleted, micros = Counter[str](), Counter[str](), 0
        if outcome == motion_record.DONE:
            overlay = ledger.state.overlay()
            overlay.begin()
            began = time.perf_counter_ns()
            self._find(bundle).migrate(self._context(overlay))
            overlay.keep()
            micros = (time.perf_counter_ns() - began) // 1000
            for key, value in overlay.changes().items():
                (deleted if value is None else written)[table_of(key).decode("ascii", "replace")] += 1
        counted = (dict(sorted(written.items())), dict(sorted(deleted.items())))
        return Migration(ledger.head.height + 1, outcome, micros, *counted, block.block.header.state_root)

    def force(self, bundle: Files) -> Execution:
        """The next block, without transactions, had a vote scheduled the upgrade for it. It is not stored, what
        schedules it is not either."""
        ledger = self.run.ledger
        batch = Batch(self._genesis.chain, ledger.epoch_at(ledger.head.height + 1).number, 0, ledger.head.time, ())
        self.schedule(bundle)
        return self.run.executor.execute(ledger.head.height + 1, encode_batch(batch))

    def schedule(self, bundle: Files) -> None:
        """Write into the state that the upgrade becomes active in the next block."""
        ledger = self.run.ledger
        overlay = ledger.state.overlay()
        overlay.begin()
        ctx = self._context(overlay)
        first = ledger.head.height + 1
        coming = Scheduled(first, _MOTION, bundle.manifest.name, bundle.digest)
        motion_record.decided(ctx, _MOTION, "upgrade", (coming.name, coming.digest), first)
        if upgrades.scheduled(ctx.get) is not None:
            ctx.delete(upgrades.SCHEDULED)
        upgrades.schedule(ctx, coming)
        overlay.keep()
        self.run.write(overlay)

    def _find(self, bundle: Files) -> Bundle:
        found = self.run.executor.registry.find(bundle.digest)
        assert found is not None
        return found

    def _context(self, overlay: object) -> Context:
        head = self.run.ledger.head
        return Context(
            overlay,  # type: ignore[arg-type]
            chain=self._genesis.chain,
            height=head.height + 1,
            time=head.time,
            previous_time=head.time,
            sender=b"",
            tx_id=bytes(32),
            step_limit=HOOK_STEPS,
            verifier=verify,
        )


def _replay(
    source: _Source, scratch: Path, genesis: Genesis, find: Find, bundle: Files, blocks: int, progress: Progress
) -> tuple[Replay | None, str]:
    """Execute the last ``blocks`` blocks again, with the upgrade active from the first of them that can be."""
    last = source.head.height
    wanted = max(1, last - blocks + 1)
    directory = scratch / "past"
    base = _base(source, directory, genesis, wanted)
    if base is None:
        return None, f"the data begin with block {source.ledger.base} and hold no older snapshot to replay from"
    first = max(wanted, base + 1)
    if first > last:
        return None, f"there is no block after {base}, the newest state that the data hold besides the head's"
    copy = _Copy(directory, genesis, find)
    try:
        for height in range(base + 1, first):
            _as_it_was(copy.run, source.ledger, height)
            progress(height, last)
        copy.schedule(bundle)
        found: list[Difference] = []
        transactions = differing = 0
        outcome = ""
        for height in range(first, last + 1):
            done, real = _anew(copy.run, source.ledger, height), source.ledger.receipts(height)
            outcome = outcome or _outcome(done)
            transactions += len(real)
            for index, (was, would_be) in enumerate(zip(real, done.receipts, strict=True)):
                if was != would_be:
                    differing += 1
                    found += [_difference(height, done, index, was, would_be)] if len(found) < MAX_DIFFERENCES else []
            progress(height, last)
        root = copy.run.ledger.head.state_root
        return Replay(base, first, last, transactions, outcome, differing, tuple(found), root), ""
    finally:
        copy.run.close()


def _base(source: _Source, directory: Path, genesis: Genesis, wanted: int) -> int | None:
    """Put a state from before block ``wanted`` into ``directory``, or the oldest one after it; its height, or None."""
    before = [each for each in source.shelf.kept if source.ledger.base <= each.height < wanted]
    others = [each for each in reversed(source.shelf.kept) if wanted <= each.height < source.head.height]
    if not before and source.ledger.base == 0:
        return 0
    boundaries = source.ledger.boundaries()
    trust = Trust(genesis.chain, verified_epochs(genesis, boundaries, verify), verify)
    for manifest in [*before, *([] if source.ledger.base == 0 else others)]:
        try:
            target = checked_offer(manifest.offer, trust)
        except RefusedError:
            continue
        store = Scratch(directory, create=True, synced=False)
        try:
            known = [each for each in boundaries if _height(each) <= target.height]
            load_snapshot(
                store,
                genesis,
                target,
                known,
                lambda prefix, at=target: source.shelf.read(at.height, at.depth, prefix),  # type: ignore[misc]
            )
            return target.height
        except RefusedError:
            shutil.rmtree(directory)
        finally:
            store.close()
    return 0 if source.ledger.base == 0 else None


def _as_it_was(run: Run, real: Ledger, height: int) -> None:
    """A block before the upgrade: what comes out is what is certified."""
    done = _execute(run, real, height)
    certificate = real.certificate(height)
    if certificate is None or done.block_hash != certificate.block_hash:
        raise bad(height, "it is not what execution gives")
    run.ledger.commit(done, certificate)


def _anew(run: Run, real: Ledger, height: int) -> Execution:
    """A block with the upgrade. The order of its transactions hangs on its parent's hash: it is to be what it was."""
    done = _execute(run, real, height)
    header = done.block.header
    run.ledger.commit(done, Certificate(header.epoch, 0, height, done.block_hash, ()))
    certificate = real.certificate(height)
    if certificate is None:
        raise bad(height, "its certificate is missing")
    run.ledger.head_hash = certificate.block_hash
    return done


def _execute(run: Run, real: Ledger, height: int) -> Execution:
    block = real.block(height)
    if block is None:
        raise bad(height, "it is missing")
    try:
        return run.executor.execute(height, block.body)
    except NodeFault as fault:
        if fault.code == "bad-batch":
            raise RefusedError(
                "no-history", f"height {height}: readings of it were erased: try with the blocks after it (--blocks)"
            ) from fault
        if fault.code == "upgrade-missing":
            raise RefusedError(fault.code, f"height {height}: {fault.message}") from fault
        raise


def _outcome(done: Execution) -> str:
    """What became of the upgrade in a block; "" if it runs no hooks."""
    for event in done.events:
        if event.contract == "motions" and event.topic == "upgrade-active":
            return "ok"
        if event.contract == "motions" and event.topic == "upgrade-failed" and isinstance(event.data, tuple):
            return str(event.data[3])
    return ""


def _difference(height: int, done: Execution, index: int, was: Receipt, would_be: Receipt) -> Difference:
    payload = done.transactions[index].payload
    return Difference(height, was.tx_id, f"{payload.contract}.{payload.method}", _said(was), _said(would_be))


def _said(receipt: Receipt) -> str:
    if receipt.code != "ok":
        return f"{receipt.code} {list(receipt.details)}" if receipt.details else receipt.code
    return f"ok {json.dumps(receipt.result, default=bytes.hex)}"[:200]


def _with(bundle: Files, loaded: Bundle, installed: Find) -> Find:
    return lambda digest: loaded if digest == bundle.digest else installed(digest)


def _height(boundary: Boundary) -> int:
    return decode_header(boundary.header).height


def copy_database(source: Path, target: Path) -> None:
    """Copy a LevelDB that nobody has open; tables, which it never changes, are linked where they can be.

    Raises ConfigError: "db-missing", "db-locked", "cannot-write".
    """
    if not (source / "CURRENT").exists():
        raise ConfigError("db-missing", f"there is no database in {source}")
    lock = None
    try:
        if (source / "LOCK").exists():  # a backup may have none
            lock = os.open(source / "LOCK", os.O_RDWR)
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        target.mkdir(parents=True)
        for path in sorted(source.iterdir()):
            if path.name not in ("LOCK", "LOG", "LOG.old"):
                _copied(path, target / path.name)
    except BlockingIOError as error:
        raise ConfigError("db-locked", f"a node runs on {source}: stop it, or try it on a backup") from error
    except OSError as error:
        raise ConfigError(
            "cannot-write", f"{target}: {error.strerror}; TMPDIR says where else there is room"
        ) from error
    finally:
        if lock is not None:
            os.close(lock)


def _copied(path: Path, target: Path) -> None:
    if path.suffix in (".ldb", ".sst"):
        try:
            os.link(path, target)
            return
        except OSError:  # another disk
            pass
    shutil.copyfile(path, target)
