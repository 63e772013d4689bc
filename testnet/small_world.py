"""Runs one history of the small scope: five participants with the production consensus core, in lockstep.

The ledger is one line and a signature one hash; there are no disks, and nobody crashes. All else is the core as it is.
At first the network is whole until no correct member is passive; then come the history's views and splits; then the
network is whole again, and must decide. Judged from outside:

- one block at a height, under a certificate of three members, on whichever copy;
- no correct member signs two different votes for one (view, height, phase), nor votes in a view that it has left;
- no correct member holds proof against another, believes to have forgotten votes of its own, or stops;
- within HEAL_TICKS of the healing all correct members have stored the same new block.
"""

import functools
import multiprocessing
import os
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from node.consensus.messages import EVERYONE, BlockReply, Commit, Execute, Message
from node.consensus.replica import Anchor, Replica, Settings
from node.errors import PeerError
from node.model.block import Batch, Header, decode_batch, encode_batch, encode_header
from node.model.certificate import Certificate, certificate_fault, encode_certificate
from node.model.codec import decode_trusted, sha256
from node.model.keys import TAG_VOTE
from testnet.checker import CheckFailed
from testnet.sim_trace import describe, short
from testnet.small_scope import COPY, MEMBERS, NOBODY, QUORUM, History, side_of

HEAL_TICKS: Final = 60
VIEW_TICKS: Final = 12
"""A view that has not begun within so many ticks of the split does not begin: no side has a quorum."""
MAX_HOPS: Final = 200
"""No exchange goes on for so long without a tick."""

CHAIN: Final = sha256(b"small scope")
GENESIS_HASH: Final = sha256(b"block 0")

Trace = Callable[[str], None]


class Key:
    """A ``Signer`` whose signatures cost one hash: what they prove is not in question. ``note`` hears of each."""

    def __init__(self, member: int, note: Callable[[bytes], None]) -> None:
        self.public_key = key_of(member)
        self._note = note

    def sign(self, message: bytes) -> bytes:
        self._note(message)
        return _signature(self.public_key, message)


@functools.cache
def key_of(member: int) -> bytes:
    """Of a member."""
    return sha256(b"member", bytes([member]))


@functools.lru_cache(maxsize=1 << 14)
def _signature(key: bytes, message: bytes) -> bytes:
    digest = sha256(key, message)
    return digest + digest


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """The ``Verify`` that goes with ``Key``."""
    return signature == _signature(public_key, message)


KEYS: Final = tuple(key_of(member) for member in range(MEMBERS))
MEMBERS_HASH: Final = sha256(*KEYS)


@functools.lru_cache(maxsize=1 << 12)
def make_header(height: int, parent_hash: bytes, digest: bytes) -> Header:
    """The header that the ledger of one line gives a batch in its place."""
    root = sha256(parent_hash, digest)
    return Header(CHAIN, 0, height, parent_hash, digest, 0, root, root, root, MEMBERS_HASH, MEMBERS_HASH)


@functools.lru_cache(maxsize=1 << 12)
def _batch(member: int, number: int) -> tuple[bytes, bytes]:
    raw = encode_batch(Batch(CHAIN, 0, member, number, ()))
    return raw, decode_batch(raw).digest


@dataclass(slots=True)
class Participant:
    """A copy of a member: its replica, and the chain on its disk."""

    member: int
    replica: Replica
    chain: list[tuple[Header, bytes, Certificate]] = field(default_factory=list)
    executed: tuple[Header, bytes] | None = None
    offered: int = -1
    """The view (or, after the healing, the tick) in which it proposed last."""


class Judge:
    """What must never be. Raises CheckFailed."""

    def __init__(self) -> None:
        self.blocks: dict[int, bytes] = {}
        self._votes: dict[tuple[int, str, int, int], object] = {}
        self._left: dict[int, int] = {}

    def signed(self, member: int, message: bytes) -> None:
        """A correct member signs a statement."""
        value: Any = decode_trusted(message[len(TAG_VOTE) :])
        kind, _, _, view, *rest = value
        if kind in ("pre-prepare", "prepare", "commit"):
            height, digest = rest
            phase = "commit" if kind == "commit" else "prepare"  # a proposal is the primary's prepare
            if self._votes.setdefault((member, phase, view, height), digest) != digest:
                raise CheckFailed(f"m{member} signed two different {phase}s of view {view} at height {height}")
            if view < self._left.get(member, 0):
                raise CheckFailed(f"m{member} signed a {kind} of view {view} after it had left it")
        elif kind in ("view-change", "new-view"):
            if self._votes.setdefault((member, kind, view, 0), rest) != rest:
                raise CheckFailed(f"m{member} signed two different {kind}s of view {view}")
            if kind == "view-change":
                self._left[member] = view

    def stored(self, member: int, header: Header, certificate: Certificate) -> None:
        """A participant stores a block."""
        if self.blocks.setdefault(header.height, header.hash) != header.hash:
            raise CheckFailed(f"two blocks at height {header.height}, the second on m{member}")
        fault = certificate_fault(certificate, CHAIN, KEYS, QUORUM, verify)
        if fault is not None:
            raise CheckFailed(
                f"m{member} stored block {header.height} under a certificate that proves nothing: {fault}"
            )


class SmallWorld:
    """One history. ``run`` returns when all is well, or raises CheckFailed or what the code under test raised."""

    def __init__(self, history: History, trace: Trace | None = None) -> None:
        self._history = history
        self._trace = trace
        self._judge = Judge()
        self._split = 0
        self._healed = False
        self._ticks = 0
        self._batches = 0
        self._begun = -1
        self._network: deque[tuple[int, int, Message]] = deque()
        self._participants = [self._start(member) for member in (*range(MEMBERS), history.twin)]
        self._correct = [p for number, p in enumerate(self._participants) if number not in (history.twin, COPY)]

    def _start(self, member: int) -> Participant:
        is_twin = member == self._history.twin
        key = Key(member, (lambda message: None) if is_twin else functools.partial(self._judge.signed, member))
        settings = Settings(
            CHAIN, 0, KEYS, member, timeout_ticks=3, timeout_cap_ticks=6, resend_ticks=2, status_ticks=2, behind_ticks=2
        )
        replica = Replica(settings, key, verify, Anchor(0, GENESIS_HASH, None), [])
        if is_twin and not self._history.is_shy:
            # An honest copy falls silent when it meets votes of the other. The member that it plays would not.
            replica._desk.watch_own(lambda data, signature: None)
        return Participant(member, replica)

    def run(self) -> None:
        """Live through it."""
        history = self._history
        self._begin()
        for view, (split, cut, ear) in enumerate(zip(history.splits, history.cuts, history.ears, strict=True)):
            if view == 0:
                self._divide(split)
                self._offer_all()
            self._reach(view)
            for _ in range(min(cut, MAX_HOPS)):
                self._hop()
            self._divide((*history.splits, 0)[view + 1], ear)
            self._settle()
        self._heal()

    def _begin(self) -> None:
        """Start all of them; the network is whole until each has heard that the others hold no votes of its own."""
        for number in range(COPY + 1):
            self._obey(number)
        self._settle()
        for _ in range(VIEW_TICKS):
            if all(p.replica.passive_because is None for p in self._participants):
                return
            self._tick()
            self._settle()
        raise CheckFailed("a member is passive on a network where nothing has happened")

    def _divide(self, split: int, ear: int = NOBODY) -> None:
        if ear != NOBODY:
            under_way, self._network = self._network, deque()
            for item in under_way:
                if item[1] == ear:
                    self._deliver(*item)
                else:
                    self._network.append(item)
        self._split = split
        sides = [[number for number in range(COPY + 1) if side_of(self._split, number) == side] for side in (0, 1)]
        self._say(f"split {' '.join(map(str, sides[0]))} | {' '.join(map(str, sides[1]))}")

    def _reach(self, view: int) -> None:
        """Let time pass until somebody proposes in ``view`` or a later one, if it comes to that."""
        for _ in range(VIEW_TICKS):
            if self._begun >= view:
                return
            self._tick()
            while self._network and self._begun < view:
                self._hop()

    def _heal(self) -> None:
        self._divide(0)
        self._healed = True
        goal = max(len(p.chain) for p in self._participants) + 1
        for _ in range(HEAL_TICKS):
            self._tick()
            self._settle()
            if min(len(p.chain) for p in self._correct) >= goal:
                return
        stands = [f"m{p.member} height {p.replica.height} view {p.replica.view}" for p in self._correct]
        raise CheckFailed(f"no new block within {HEAL_TICKS} ticks of the healing: {', '.join(stands)}")

    # The network, in lockstep.

    def _tick(self) -> None:
        self._ticks += 1
        for number, participant in enumerate(self._participants):
            participant.replica.tick(pending=True, overdue=False)
            self._obey(number)
        self._offer_all()

    def _settle(self) -> None:
        for _ in range(MAX_HOPS):
            if not self._network:
                return
            self._hop()
        raise CheckFailed(f"messages beget messages for {MAX_HOPS} hops")

    def _hop(self) -> None:
        """Deliver all that is under way, in the order in which it was sent."""
        for _ in range(len(self._network)):
            self._deliver(*self._network.popleft())
        self._offer_all()

    def _deliver(self, sender: int, to: int, message: Message) -> None:
        if side_of(self._split, sender) != side_of(self._split, to):
            return
        if self._trace is not None:
            self._say(f"{sender} -> {to} {describe(message)}")
        participant = self._participants[to]
        try:
            participant.replica.step(self._participants[sender].member, message)
        except PeerError as error:
            self._say(f"{to} drops it: {error}")
        self._obey(to)

    def _offer_all(self) -> None:
        """Whoever may propose does: once a view, and after the healing once a tick. The copies differ in what."""
        for number, participant in enumerate(self._participants):
            replica = participant.replica
            if not replica.wants_batch or (replica.next_height != replica.height + 1 and self._healed):
                continue
            moment = self._ticks if self._healed else replica.view
            if participant.offered < moment:
                participant.offered = moment
                self._begun = max(self._begun, replica.view)
                self._batches += 1
                raw, digest = _batch(participant.member, self._batches)
                replica.propose(raw, digest)
                self._obey(number)

    # What a driver does.

    def _obey(self, number: int) -> None:
        participant = self._participants[number]
        while ready := participant.replica.ready():
            for send in ready.send:
                self._post(number, send.to, send.message)
            for validate in ready.validate:
                participant.replica.validated(validate.digest, True)
            for execute in ready.execute:
                self._execute(participant, execute)
            for commit in ready.commit:
                self._commit(number, participant, commit)
            for supply in ready.supply:
                blocks = participant.chain[supply.first - 1 :]
                encoded = tuple((encode_header(h), body, encode_certificate(c)) for h, body, c in blocks)
                self._post(number, supply.peer, BlockReply(encoded))
            if ready.forgotten and participant.member != self._history.twin:
                raise CheckFailed(f"m{participant.member}, who is correct, is told that it has forgotten a vote")
            for evidence in ready.evidence:
                if evidence.member != self._history.twin:
                    raise CheckFailed(f"proof against m{evidence.member}, who is correct")

    def _post(self, number: int, to: int, message: Message) -> None:
        me = self._participants[number].member
        for receiver, participant in enumerate(self._participants):
            if participant.member != me and to in (EVERYONE, participant.member):
                self._network.append((number, receiver, message))

    def _execute(self, participant: Participant, execute: Execute) -> None:
        header = make_header(execute.height, execute.parent_hash, execute.batch_digest)
        participant.executed = (header, execute.batch)
        participant.replica.executed(execute.height, execute.batch_digest, execute.parent_hash, header.hash)

    def _commit(self, number: int, participant: Participant, commit: Commit) -> None:
        executed = participant.executed
        if executed is None or executed[0].hash != commit.block_hash or commit.height != len(participant.chain) + 1:
            raise CheckFailed(f"m{participant.member} is to store at {commit.height} what it did not execute")
        header, body = executed
        self._say(f"{number} stores h{header.height} {short(header.hash)}")
        self._judge.stored(participant.member, header, commit.certificate)
        participant.chain.append((header, body, commit.certificate))
        participant.replica.stored(commit.height)

    def _say(self, line: str) -> None:
        if self._trace is not None:
            self._trace(f"{self._ticks:4} {line}")


@dataclass(frozen=True, slots=True)
class HistoryResult:
    """What became of one history; ``failure`` is None if all was well."""

    history: str
    failure: str | None
    detail: str = ""


def run_history(history: History, trace: Trace | None = None) -> HistoryResult:
    """Never raises for what goes wrong in the history: that is the result's ``failure``."""
    try:
        SmallWorld(history, trace).run()
    except CheckFailed as error:
        return HistoryResult(history.name, str(error))
    except Exception as error:  # noqa: BLE001 - any exception of the code under test is a finding, with its place
        return HistoryResult(history.name, f"{type(error).__name__}: {error}", traceback.format_exc(limit=-5))
    return HistoryResult(history.name, None)


def run_histories(histories: Sequence[History], processes: int = 0) -> Iterator[HistoryResult]:
    """Many, on all cores unless ``processes`` says how many; results as they come."""
    workers = min(processes or os.cpu_count() or 1, len(histories))
    if workers <= 1:
        yield from map(run_history, histories)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(run_history, histories, chunksize=32)
