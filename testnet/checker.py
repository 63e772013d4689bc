"""Judges a history from outside: it sees what nodes sent and stored, and believes nothing that they say of themselves.

Checked while it happens (``CheckFailed`` at once):

- one canonical chain: at each height every node stores the same block, on the block before it, in order, never again
  or backwards, under a certificate that a stranger can verify (checklist 8, 21, 46), and no contract breaks down in it;
- the members of each height are those that the governance transactions in the chain make them (``sim_epochs``), and
  nobody else's votes or certificates count (checklist 47);
- no member ever signs two different votes for one (epoch, view, height, phase), nor votes in a view that it has
  left; a pre-prepare is the primary's prepare (checklist 2, 20);
- no vote leaves before it is on the node's disk, synced, and a prepare not before the batch's body (checklist 35); the
  disks themselves are read too, by ``sim_audit``, at every start and at the end;
- each block is executed by the code that the chain's own votes make it (``sim_upgrade_books``), by nodes that have it,
  and of one prepared batch all make one block: who lacks the code stops right before, and has voted for no result;
- nobody accuses a member that is not faulty; whoever was shown two proposals holds the proof (checklist 5).

Of Byzantine members nothing is demanded. Members whose disks broke their promises must still store the one chain.

Checked at the end (``check_end``): all correct nodes stand at one height and hold every acknowledged transaction where
it was acknowledged; every transaction took effect at most once; the workload's own bookkeeping agrees.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from node.consensus.messages import Evidence, Message, Proposal, Signed
from node.consensus.quorum import primary_of, quorum
from node.errors import RefusedError
from node.evidence import EVIDENCE_FORMAT, EvidenceFile, Said, check_evidence
from node.executor import HOOK_FAILED, INTERNAL
from node.ledger.chain import UNUSED_CODES, Ledger
from node.ledger.execution import Execution
from node.model.block import decode_batch
from node.model.certificate import Certificate, certificate_fault
from node.model.epoch import Boundary, Epoch, encode_boundary
from node.model.genesis import Genesis
from node.model.keys import Verify
from node.model.receipt import Receipt
from node.model.transaction import Transaction
from testnet.sim_audit import logged_statements
from testnet.sim_epochs import EpochBooks, member_name
from testnet.sim_upgrade_books import UpgradeBooks
from testnet.sim_world import value_of

_VOTES = ("pre-prepare", "prepare", "commit")
_VOTE_FIELDS = 6


class CheckFailed(Exception):
    """The history breaks a promise."""


@dataclass(frozen=True, slots=True)
class ChainBlock:
    """A block of the canonical chain, as the first node that stored it had it."""

    block_hash: bytes
    parent_hash: bytes
    time: int
    is_null: bool
    transactions: tuple[Transaction, ...]
    receipts: tuple[Receipt, ...]
    code: bytes = b""
    """The digest of the upgrade whose code is in force in it, as the chain's votes say; empty for the first code."""


class Books(Protocol):
    """A workload's own bookkeeping: re-derives from the chain's transactions what the contracts must have done."""

    def check(self, chain: Sequence[ChainBlock], opening_time: int, query: Callable[..., object]) -> str | None:
        """None, or what is wrong. ``chain``: from height 1; ``opening_time``: block 0's; ``query(contract, method,
        **args)`` asks one node."""
        ...


class Checker:
    """Watches one history."""

    def __init__(
        self,
        genesis: Genesis,
        genesis_hash: bytes,
        verify: Verify,
        byzantine: frozenset[int] = frozenset(),
        forgetful: frozenset[int] = frozenset(),
        pardoned: frozenset[int] = frozenset(),
        failing: frozenset[bytes] = frozenset(),
        installed: Callable[[int], Collection[bytes]] = lambda node: (),
    ) -> None:
        """``byzantine``: members of whom nothing is demanded; ``forgetful``: those whose disks break their promises;
        ``pardoned``: those of them who may vote twice. The others may not, but which view they had left they may have
        forgotten with everybody else: no barrier of heights can tell. ``failing``: the upgrades whose migration fails;
        ``installed``: the digests of those that a node has."""
        self._byzantine = byzantine
        self._forgetful = forgetful
        self._pardoned = pardoned
        self._genesis = genesis
        self._chain_id = genesis.chain
        self._epochs = EpochBooks(genesis)
        self.upgrades = UpgradeBooks(self._epochs, failing)
        self._installed = installed
        self._verify = verify
        self._genesis_hash = genesis_hash
        self.chain: list[ChainBlock] = []
        """The canonical chain from height 1."""
        self.acknowledged: dict[bytes, int] = {}
        """Transaction id to the height at which a client was first told that it took effect."""
        self._heights: dict[int, int] = {}
        self._accusations: set[tuple[int, int]] = set()
        self._slots: dict[tuple[int, str, int, int, int], bytes] = {}
        self._sent: set[tuple[int, bytes]] = set()
        self._left_views: dict[tuple[int, int], int] = {}
        self._results: dict[tuple[int, int, int], tuple[int, bytes]] = {}
        self._bodies: dict[bytes, bytes] = {}

    # While it happens.

    def check_sent(self, node: int, message: Message, durable: Callable[[], bytes]) -> None:
        """``node`` sends ``message``; ``durable()`` is its vote log as the platter holds it."""
        if isinstance(message, Proposal):
            self._bodies.setdefault(decode_batch(message.batch).digest, message.batch)
            self._check_vote(node, message.pre_prepare, durable)
        elif isinstance(message, Signed) and self._author(message) == node:
            self._check_vote(node, message, durable)

    @property
    def members(self) -> Epoch:
        """The epoch of the block after the newest."""
        return self._epochs.at(len(self.chain) + 1)

    def _author(self, signed: Signed) -> int | None:
        """On which machine the member runs that a statement is said to be of."""
        value = value_of(signed.data)
        return None if value is None or type(value[2]) is not int else self._epochs.machine(value[2], signed.sender)

    def _check_vote(self, node: int, signed: Signed, durable: Callable[[], bytes]) -> None:
        if (node, signed.data) in self._sent:
            return
        self._sent.add((node, signed.data))
        value = value_of(signed.data)
        assert value is not None  # the core made it
        kind, chain, epoch, view = value[:4]
        self._expect(chain == self._chain_id, f"n{node} signed for another chain")
        self._expect(self._is_signed(node, epoch, signed), f"n{node} sent a bad signature")
        if kind in _VOTES:
            _, _, _, _, height, digest = value
            self._check_slot(node, kind, epoch, view, height, digest)
            if kind == "commit":
                self._check_result(node, epoch, view, height, digest)
            left = self._left_views.get((node, epoch), 0)
            self._expect(
                view >= left or node in self._forgetful,
                f"n{node} sent a {kind} of view {view} after it had left for view {left}",
            )
        elif kind == "view-change":
            self._claim((node, kind, epoch, view, 0), signed.data)
            self._left_views[node, epoch] = max(view, self._left_views.get((node, epoch), 0))
        elif kind == "new-view":
            self._claim((node, kind, epoch, view, 0), signed.data)
            for height, digest, _ in value[5]:
                self._check_slot(node, "pre-prepare", epoch, view, height, digest)
        if kind != "suspect":
            log = durable()
            self._expect(signed.signature in log, f"n{node} sent a {kind} of view {view} before it was on its disk")
            if kind == "prepare":
                body = self._bodies.get(value[5])
                self._expect(body is None or body in log, f"n{node} prepared a batch that its disk does not hold")

    def _check_result(self, node: int, epoch: int, view: int, height: int, block_hash: bytes) -> None:
        """``node`` votes for what it got when it executed the batch that was prepared at a height."""
        lacking = self._lacking(node, height)
        self._expect(not lacking, f"n{node} votes for the result of block {height} without the upgrade {lacking}")
        if node in self._pardoned:
            return
        other, theirs = self._results.setdefault((epoch, view, height), (node, block_hash))
        self._expect(theirs == block_hash, f"n{other} and n{node} made two blocks of one batch at height {height}")

    def _lacking(self, node: int, height: int) -> str:
        """Without which upgrade's code ``node`` is that needs it to execute the block at ``height``."""
        if height > len(self.chain) + 1:
            raise CheckFailed(f"n{node} has a result for height {height}, and nobody has stored {height - 1}")
        have = self._installed(node)
        return " ".join(digest.hex()[:12] for digest in sorted(self.upgrades.needs(height)) if digest not in have)

    def check_missing(self, node: int, height: int) -> None:
        """``node``, whose newest block is at ``height``, says that it lacks the code of the next one."""
        self._expect(self._lacking(node, height + 1) != "", f"n{node} stopped at {height} for want of what it has")

    def _is_signed(self, node: int, epoch: int, signed: Signed) -> bool:
        key = self._epochs.key(epoch, node)
        return key is not None and self._verify(key, signed.data, signed.signature)

    def _check_slot(self, node: int, kind: str, epoch: int, view: int, height: int, digest: bytes) -> None:
        phase = "commit" if kind == "commit" else "prepare"
        self._claim((node, phase, epoch, view, height), digest)

    def _claim(self, slot: tuple[int, str, int, int, int], content: bytes) -> None:
        before = self._slots.setdefault(slot, content)
        node, phase, _, view, height = slot
        excused = self._pardoned if phase in ("prepare", "commit") else self._forgetful
        self._expect(
            before == content or node in excused,
            f"n{node} signed two different statements: {phase} of view {view}, {height}",
        )

    def check_received(self, node: int, message: Message, stand: Callable[[], tuple[int, int | None, int]]) -> None:
        """``node`` has worked off ``message``. ``stand()``: the epoch and the view that it works in, None if it is
        changing it, and its stored height.

        Whoever has voted for one proposal, and gets another one for the same open place, holds the proof of it.
        """
        signed = message.pre_prepare if isinstance(message, Proposal) else message
        if not isinstance(signed, Signed):
            return
        author = self._author(signed)
        if author not in self._byzantine:
            return
        assert author is not None
        value = value_of(signed.data)
        if value is None or value[0] != "pre-prepare" or len(value) != _VOTE_FIELDS or value[1] != self._chain_id:
            return
        _, _, epoch, said_view, height, digest = value
        voted = self._slots.get((node, "prepare", epoch, said_view, height))
        members = self._epochs.epochs[epoch].members
        if voted is None or voted == digest or signed.sender != primary_of(said_view, len(members)):
            return
        at, view, stored = stand()
        if (epoch, said_view) == (at, view) and height > stored and self._is_signed(author, epoch, signed):
            self._expect(
                (node, author) in self._accusations,
                f"n{node} got two proposals of n{author} for height {height} and holds no evidence",
            )

    def check_log(self, node: int, log: bytes) -> None:
        """What ``node`` has signed, as its disk says: another witness than the network (checklist 20, 35)."""
        for data, signature in logged_statements(log):
            value = value_of(data)
            self._expect(value is not None, f"n{node} has logged a statement that says nothing")
            assert value is not None
            kind, _, epoch, view = value[:4]
            signed = Signed(0, data, signature)
            self._expect(self._is_signed(node, epoch, signed), f"n{node} has logged a bad signature")
            if kind in _VOTES:
                self._check_slot(node, kind, epoch, view, value[4], value[5])
            elif kind == "view-change":
                self._claim((node, kind, epoch, view, 0), data)

    def check_started(self, node: int, height: int) -> None:
        """``node`` starts with this height on its disk."""
        before = 0 if node in self._forgetful else self._heights.get(node, 0)
        self._expect(height >= before, f"n{node} had stored height {before} and starts with {height}")
        self._heights[node] = height

    def check_removed(self, node: int, height: int) -> None:
        """``node`` says that it is no member any more from this height on."""
        before, since = (self._epochs.at(each).index_of(member_name(node)) for each in (height - 1, height))
        self._expect(before is not None and since is None, f"n{node} ends at {height}, and was not removed there")

    def check_evidence(self, node: int, evidence: Evidence, boundaries: Sequence[Boundary] = ()) -> None:
        """``node`` accuses a member. ``boundaries``: what it has to prove the epochs by."""
        said = value_of(evidence.statements[0].data)
        assert said is not None  # the core has read it
        epoch = said[2]
        accused = self._epochs.machine(epoch, evidence.member)
        assert accused is not None
        self._expect(
            accused in self._byzantine or accused in self._forgetful,
            f"n{node} has evidence against n{accused}, who is correct",
        )
        document = EvidenceFile(
            format=EVIDENCE_FORMAT,
            kind=evidence.kind,
            chain=self._chain_id.hex(),
            epoch=epoch,
            member=evidence.member,
            name=member_name(accused),
            statements=tuple(Said(each.data, each.signature) for each in evidence.statements),
            attachment=evidence.attachment,
            boundaries=tuple(encode_boundary(boundary) for boundary in boundaries[:epoch]),
        )
        try:
            check_evidence(document, self._genesis, self._verify)
        except RefusedError as error:
            raise CheckFailed(f"n{node} accuses n{accused} of {evidence.kind}, wrongly: {error}") from error
        self._accusations.add((node, accused))

    def check_stored(self, node: int, execution: Execution, certificate: Certificate) -> None:
        """``node`` has stored a block."""
        header = execution.block.header
        height = header.height
        expected = self._heights.get(node, 0) + 1
        self._expect(height == expected, f"n{node} stored height {height} where {expected} was next")
        self._heights[node] = height
        failed = [event for event in execution.events if event.topic == HOOK_FAILED]
        self._expect(not failed, f"a hook failed in block {height}: {failed}")
        internal = [receipt for receipt in execution.receipts if receipt.code == INTERNAL]
        self._expect(not internal, f"a contract failed in block {height}: {internal}")
        self._expect(
            (certificate.height, certificate.block_hash) == (height, execution.block_hash),
            f"n{node} stored height {height} under the certificate of another block",
        )
        if height > len(self.chain) + 1:
            raise CheckFailed(f"n{node} stored height {height}, and nobody has stored {height - 1}")
        lacking = self._lacking(node, height)
        self._expect(not lacking, f"n{node} executed block {height} without the upgrade {lacking}")
        epoch = self._epochs.at(height)
        needed = quorum(len(epoch.members))
        self._expect(certificate.epoch == epoch.number, f"n{node} stored height {height} of epoch {certificate.epoch}")
        fault = certificate_fault(certificate, self._chain_id, epoch.keys, needed, self._verify)
        self._expect(fault is None, f"n{node} stored height {height} under a certificate that proves nothing: {fault}")
        if height == len(self.chain) + 1:
            parent = self.chain[-1].block_hash if self.chain else self._genesis_hash
            self._expect(header.parent_hash == parent, f"block {height} does not stand on block {height - 1}")
            said = (header.epoch, header.members_hash, header.next_members_hash)
            content = (header.parent_hash, execution.transactions, execution.receipts)
            broken = self._epochs.block(height, *content)
            broken = broken or self.upgrades.block(height, not execution.block.body, *content, execution.events)
            self._expect(broken is None, str(broken))
            right = (epoch.number, self._epochs.hash_at(height), self._epochs.hash_at(height + 1))
            self._expect(said == right, f"block {height} names other members than the chain has")
            self.chain.append(
                ChainBlock(
                    execution.block_hash,
                    header.parent_hash,
                    header.time,
                    not execution.block.body,
                    execution.transactions,
                    execution.receipts,
                    self.upgrades.code,
                )
            )
            return
        canonical = self.chain[height - 1]
        self._expect(
            canonical.block_hash == execution.block_hash,
            f"two blocks at height {height}: {canonical.block_hash.hex()[:12]}, and on n{node} "
            f"{execution.block_hash.hex()[:12]}",
        )
        self._expect(canonical.receipts == execution.receipts, f"n{node} has other receipts at height {height}")

    # At the end.

    def check_end(
        self, ledgers: Sequence[Ledger], submitted: Sequence[bytes], books: Books, query: Callable[..., object]
    ) -> None:
        """All faults are over and everything had its time. ``submitted``: ids that must be in the chain by now;
        ``query``: see ``Books``."""
        heights = [ledger.head.height for ledger in ledgers]
        self._expect(len(set(heights)) == 1, f"nodes stand at heights {heights}")
        roots = {ledger.head.state_root for ledger in ledgers}
        self._expect(len(roots) == 1, f"nodes have {len(roots)} different states")
        for ledger in ledgers:
            self._expect(list(ledger.epochs()) == self._epochs.epochs, "a node knows other epochs than the chain has")
        effective = self._effective()
        for tx_id in submitted:
            self._expect(tx_id in effective, f"transaction {tx_id.hex()[:12]} was submitted and never included")
        for tx_id, height in self.acknowledged.items():
            name = tx_id.hex()[:12]
            self._expect(effective.get(tx_id) == height, f"transaction {name} was acknowledged at {height}, and moved")
            for number, ledger in enumerate(ledgers):
                found = ledger.find(tx_id)
                self._expect(
                    found is not None and found[0] == height, f"n{number} lost acknowledged transaction {name}"
                )
        if self.upgrades.is_used:
            told: Any = query("motions", "upgrades")
            newest = self.upgrades.in_force[-1:]
            self._expect([row[:3] for row in told] == newest, "the state names other upgrades than were decided")
        fault = books.check(self.chain, self._genesis.time_origin, query)
        self._expect(fault is None, f"the books do not agree: {fault}")

    def _effective(self) -> dict[bytes, int]:
        """Where each transaction used its nonce: at most once, and no nonce twice."""
        effective: dict[bytes, int] = {}
        used: dict[tuple[bytes, int], bytes] = {}
        for height, block in enumerate(self.chain, start=1):
            for tx, receipt in zip(block.transactions, block.receipts, strict=True):
                self._expect(tx.id == receipt.tx_id, f"block {height} has the receipts of other transactions")
                if receipt.code in UNUSED_CODES:
                    continue
                slot = (tx.payload.sender, tx.payload.nonce)
                self._expect(slot not in used, f"nonce {tx.payload.nonce} of one sender took effect twice, {height}")
                used[slot] = tx.id
                effective[tx.id] = height
        return effective

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise CheckFailed(otherwise)
