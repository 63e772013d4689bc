"""A few replicas on an ideal network and with a trivial ledger, driven step by step. Faults are the simulator's.

Signatures are SHA-256 over key and message (``PlainKey``): what they prove is not under test here, and they are quick.
Batches are real, empty of transactions and told apart by their time; their names (``a``, ``b`` ...) are for traces.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from node.consensus.desk import Desk
from node.consensus.messages import (
    EVERYONE,
    BatchReply,
    BatchRequest,
    BlockReply,
    BlockRequest,
    Commit,
    Evidence,
    Execute,
    Message,
    Proposal,
    Ready,
    Recall,
    Recollection,
    Signed,
    Status,
    Supply,
)
from node.consensus.records import LogContents, read_records
from node.consensus.replica import Anchor, Memory, Replica, Settings
from node.consensus.settings import OBSERVER
from node.consensus.statements import Commit as CommitVote
from node.consensus.statements import (
    NewView,
    Prepare,
    PrePrepare,
    Statement,
    Suspect,
    ViewChange,
    decode_statement,
    encode_statement,
)
from node.errors import PeerError
from node.model.block import NULL_BATCH, NULL_DIGEST, Batch, Header, decode_batch, encode_batch, encode_header
from node.model.certificate import Certificate, encode_certificate
from node.model.codec import sha256

CHAIN = bytes(range(32))
GENESIS_HASH = sha256(b"genesis")


class PlainKey:
    """A key whose signatures cost one hash."""

    def __init__(self, index: int) -> None:
        self.public_key = sha256(b"key", bytes([index]))

    def sign(self, message: bytes) -> bytes:
        return plain_signature(self.public_key, message)


def plain_signature(public_key: bytes, message: bytes) -> bytes:
    """What ``PlainKey`` signs."""
    digest = sha256(public_key, message)
    return digest + digest


def plain_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """The verifier that goes with ``PlainKey``."""
    return signature == plain_signature(public_key, message)


def keys(n: int) -> list[PlainKey]:
    """The members' keys by index."""
    return [PlainKey(index) for index in range(n)]


def make_batch(time: int, proposer: int = 0, chain: bytes = CHAIN, epoch: int = 0) -> tuple[bytes, bytes]:
    """(encoded batch, digest) of an empty batch."""
    raw = encode_batch(Batch(chain, epoch, proposer, time, ()))
    return raw, decode_batch(raw).digest


def make_header(height: int, parent_hash: bytes, batch_digest: bytes, members: Sequence[bytes]) -> Header:
    """The header that the harness's ledger gives a batch in its place."""
    root, whom = sha256(b"state", parent_hash, batch_digest), sha256(*members)
    return Header(CHAIN, 0, height, parent_hash, batch_digest, 0, root, root, root, whom, whom)


def sign_as(cluster_keys: Sequence[PlainKey], member: int, statement: Statement, epoch: int = 0) -> Signed:
    """``statement`` as member ``member`` says it."""
    data = encode_statement(statement, CHAIN, epoch)
    return Signed(member, data, cluster_keys[member].sign(data))


@dataclass
class Node:
    """One replica and its disk: ``records`` and ``chain`` outlive a crash."""

    replica: Replica
    records: list[bytes] = field(default_factory=list)
    chain: list[tuple[Header, bytes, Certificate]] = field(default_factory=list)
    executed: list[tuple[int, bytes]] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    forgotten: list[Signed] = field(default_factory=list)
    speculative: tuple[Header, bytes] | None = None
    is_up: bool = True


class Cluster:
    """``n`` nodes; messages wait in ``network`` as (from, to, message) until delivered.

    ``accepts(node, digest)`` answers Validate; ``passes(from, to, message)``: False loses it; ``survives(node)``:
    False cuts its power between a sync and the sending; ``diverging``: nodes whose ledger computes something else.
    ``base``: the epoch starts after this height, and every ledger before; ``observers``: so many more nodes follow.
    """

    def __init__(self, n: int = 4, *, timeout_ticks: int = 20, base: int = 0, observers: int = 0) -> None:
        self.n = n
        self.base = base
        self.memory_of: dict[int, Memory] = {}
        self.timeout_ticks = timeout_ticks
        self.keys = keys(n)
        self.members = tuple(key.public_key for key in self.keys)
        self.network: deque[tuple[int, int, Message]] = deque()
        self.names = {NULL_DIGEST: "null"}
        self.trace: list[str] = []
        self.is_traced = True
        self.errors: list[tuple[int, PeerError]] = []
        self.accepts: Callable[[int, bytes], bool] = lambda node, digest: True
        self.passes: Callable[[int, int, Message], bool] = lambda sender, to, message: True
        self.survives: Callable[[int], bool] = lambda node: True
        self.diverging: set[int] = set()
        self._times = 0
        self._starts = 0
        start = Anchor(base, GENESIS_HASH, None)
        self.nodes = [Node(self._replica(index, start, [])) for index in range(n + observers)]
        self.is_traced = False
        for index in range(n):
            self.obey(index)
        self.deliver()  # each has heard that the others hold none of its votes
        self.is_traced = True

    def _replica(self, index: int, anchor: Anchor, records: list[bytes]) -> Replica:
        me = index if index < self.n else OBSERVER
        settings = Settings(CHAIN, 0, self.members, me, self.base, timeout_ticks=self.timeout_ticks)
        key = self.keys[index % self.n]
        self._starts += 1
        memory = self.memory_of.get(index, Memory.KEPT)
        return Replica(settings, key, plain_verify, anchor, records, memory, self._starts)

    def replica(self, index: int) -> Replica:
        """The replica of a node."""
        return self.nodes[index].replica

    # What happens.

    def propose(self, index: int, name: str | None = None) -> bytes:
        """The next batch, from a primary; its digest."""
        self._times += 1
        raw, digest = make_batch(self._times, index)
        self.names[digest] = name if name is not None else f"b{self._times}"
        self.replica(index).propose(raw, digest)
        self.obey(index)
        return digest

    def tick(self, nodes: Iterable[int] | None = None, *, count: int = 1, pending: bool = False) -> None:
        """Ticks, with all that they send delivered in between."""
        for _ in range(count):
            for index in range(self.n) if nodes is None else nodes:
                if self.nodes[index].is_up:
                    self.replica(index).tick(pending=pending, overdue=False)
                    self.obey(index)
            self.deliver()

    def deliver(self, only: Callable[[int, int, Message], bool] | None = None) -> None:
        """Deliver what waits, and what comes of it, in order; with ``only``, what waits now and passes it."""
        waiting = len(self.network)
        while self.network and (only is None or waiting):
            waiting -= 1
            sender, to, message = self.network.popleft()
            if only is not None and not only(sender, to, message):
                self.network.append((sender, to, message))
            elif self.passes(sender, to, message):
                self.receive(sender, to, message)

    def receive(self, sender: int, to: int, message: Message) -> None:
        """One message arrives."""
        node = self.nodes[to]
        if not node.is_up:
            return
        try:
            if sender < self.n:
                node.replica.step(sender, message)
            elif isinstance(message, BlockRequest):  # who is no member gets blocks, as from the driver
                self._supply(to, Supply(sender, message.first))
        except PeerError as error:
            self.errors.append((to, error))
            self.trace.append(f"{to} drops {self.describe(message)} of {sender}: {error.code}")
        self.obey(to)

    def crash(self, index: int) -> None:
        """The process ends; what was persisted and stored stays."""
        self.nodes[index].is_up = False

    def restart(self, index: int) -> None:
        """It comes back from its disk."""
        node = self.nodes[index]
        anchor = Anchor(self.base, GENESIS_HASH, None)
        if node.chain:
            anchor = Anchor(self.base + len(node.chain), node.chain[-1][0].hash, node.chain[-1][2])
        node.replica = self._replica(index, anchor, list(node.records))
        node.is_up = True
        self.obey(index)

    def wipe(self, index: int) -> None:
        """Its disk is lost; it comes back with an empty one."""
        self.crash(index)
        node = self.nodes[index]
        node.records, node.chain = [], []
        self.memory_of[index] = Memory.LOST
        self.restart(index)
        del self.memory_of[index]

    def backup(self, index: int) -> tuple[list[bytes], list[tuple[Header, bytes, Certificate]]]:
        """A copy of its disk."""
        return list(self.nodes[index].records), list(self.nodes[index].chain)

    def restore(self, index: int, copy: tuple[list[bytes], list[tuple[Header, bytes, Certificate]]]) -> None:
        """It comes back with an old copy of its disk."""
        self.crash(index)
        self.nodes[index].records, self.nodes[index].chain = list(copy[0]), list(copy[1])
        self.restart(index)

    def compact(self, index: int) -> None:
        """The vote log is rewritten."""
        self.nodes[index].records = self.replica(index).log_snapshot()

    # Obeying a replica.

    def obey(self, index: int) -> None:
        """Do what the replica wants until it wants nothing, exactly as a driver must."""
        node = self.nodes[index]
        while ready := node.replica.ready():
            if self.is_traced:
                self._describe_ready(index, ready)
            node.records.extend(ready.persist)
            if ready.persist and not self.survives(index):
                self.crash(index)
                return
            node.evidence.extend(ready.evidence)
            node.forgotten.extend(ready.forgotten)
            self.errors.extend(ready.dropped)
            for send in ready.send:
                everyone = [other for other in range(len(self.nodes)) if other != index]
                targets = everyone if send.to == EVERYONE else [send.to]
                self.network.extend((index, to, send.message) for to in targets)
            for validate in ready.validate:
                node.replica.validated(validate.digest, self.accepts(index, validate.digest))
            for execute in ready.execute:
                self._execute(index, execute)
            for commit in ready.commit:
                self._commit(index, commit)
            for supply in ready.supply:
                self._supply(index, supply)

    def _supply(self, index: int, supply: Supply) -> None:
        place = supply.first - self.base - 1
        blocks = self.nodes[index].chain[place : place + 64]
        encoded = tuple((encode_header(h), body, encode_certificate(c)) for h, body, c in blocks)
        self.network.append((index, supply.peer, BlockReply(encoded)))

    def _execute(self, index: int, execute: Execute) -> None:
        node = self.nodes[index]
        assert execute.height == self.base + len(node.chain) + 1
        assert execute.batch == NULL_BATCH or decode_batch(execute.batch).digest == execute.batch_digest
        node.executed.append((execute.height, execute.batch_digest))
        parent = sha256(b"another") if index in self.diverging else execute.parent_hash
        header = make_header(execute.height, parent, execute.batch_digest, self.members)
        node.speculative = (header, execute.batch)
        node.replica.executed(execute.height, execute.batch_digest, execute.parent_hash, header.hash)

    def _commit(self, index: int, commit: Commit) -> None:
        node = self.nodes[index]
        assert node.speculative is not None
        header, body = node.speculative
        assert (header.height, header.hash) == (commit.height, commit.block_hash)
        node.chain.append((header, body, commit.certificate))
        node.replica.stored(commit.height)

    # Looking.

    def heights(self) -> list[int]:
        """Every node's stored height."""
        return [self.base + len(node.chain) for node in self.nodes]

    def digests(self, index: int) -> list[str]:
        """The names of the batches in a node's chain."""
        return [self.names[header.batch_digest] for header, _, _ in self.nodes[index].chain]

    def assert_one_chain(self) -> None:
        """No two nodes differ at any height."""
        longest = max((node.chain for node in self.nodes), key=len)
        for node in self.nodes:
            assert [block[0].hash for block in node.chain] == [block[0].hash for block in longest[: len(node.chain)]]

    def statement(self, signed: Signed) -> Statement:
        """What a signed message says."""
        return decode_statement(signed.data, CHAIN, 0)

    def memory(self, index: int) -> LogContents:
        """What a node's vote log says."""
        settings = Settings(CHAIN, 0, self.members, index)
        return read_records(self.nodes[index].records, Desk(settings, self.keys[index], plain_verify))

    def logged_votes(self, index: int) -> list[Statement]:
        """Every vote that a node has ever sent, from its vote log: nothing leaves that is not in it."""
        return [vote.statement for vote in self.memory(index).votes]

    def kind(self, message: Message) -> str:
        """``prepare``, ``commit``, ``status`` and so on."""
        return self.describe(message).split(" ", maxsplit=1)[0]

    # Traces.

    def _describe_ready(self, index: int, ready: Ready) -> None:
        say = self.trace.append
        if ready.persist:
            say(f"{index} syncs {len(ready.persist)} records")
        for send in ready.send:
            to = "*" if send.to == EVERYONE else str(send.to)
            say(f"{index} -> {to} {self.describe(send.message)}")
        for validate in ready.validate:
            say(f"{index} validates {self.names[validate.digest]}{'' if validate.fresh else ' (not fresh)'}")
        for execute in ready.execute:
            trusted = " (trusted)" if execute.trusted else ""
            say(f"{index} executes {self.names[execute.batch_digest]} at {execute.height}{trusted}")
        for commit in ready.commit:
            voters = " ".join(str(member) for member, _ in commit.certificate.votes)
            say(f"{index} stores {commit.height} (view {commit.certificate.view}, votes of {voters})")
        for supply in ready.supply:
            say(f"{index} supplies {supply.peer} from {supply.first}")
        for evidence in ready.evidence:
            say(f"{index} has evidence against {evidence.member}")

    def describe(self, message: Message) -> str:
        """A message in a few words."""
        match message:
            case Proposal(pre_prepare, _):
                return "proposal" + self._describe_statement(self.statement(pre_prepare)).removeprefix("pre-prepare")
            case Signed():
                return self._describe_statement(self.statement(message))
            case Status(_, view, stored):
                return f"status view {view} stored {stored}"
            case BatchRequest(digests):
                return "batch-request " + " ".join(self.names[digest] for digest in digests)
            case BatchReply(batches):
                return "batch-reply " + " ".join(self.names[decode_batch(raw).digest] for raw in batches)
            case Recall(_, _, view, stored):
                return f"recall view {view} stored {stored}"
            case Recollection(_, _, _, statements):
                return f"recollection of {len(statements)} statements"
            case BlockRequest(first):
                return f"block-request from {first}"
            case BlockReply(blocks):
                return f"block-reply of {len(blocks)}"
            case _:
                return type(message).__name__

    def _describe_statement(self, statement: Statement) -> str:
        match statement:
            case PrePrepare(view, height, digest):
                return f"pre-prepare view {view} height {height} {self.names[digest]}"
            case Prepare(view, height, digest):
                return f"prepare view {view} height {height} {self.names[digest]}"
            case CommitVote(view, height, _):
                return f"commit view {view} height {height}"
            case Suspect(view):
                return f"suspect view {view}"
            case ViewChange(view, _, prepared):
                items = " ".join(f"{c.height}:{self.names[c.digest]}@{c.view}" for c in prepared)
                return f"view-change to {view} stable {statement.stable_height(self.base)} prepared [{items}]"
            case NewView(view, view_changes, proposals):
                senders = " ".join(str(signed.sender) for signed in view_changes)
                items = " ".join(f"{height}:{self.names[digest]}" for height, digest, _ in proposals)
                return f"new-view {view} from [{senders}] proposals [{items}]"
