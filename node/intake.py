"""Transactions from peers: their signatures are checked once, and a peer that sends bad ones is not listened to.

A peer is listened to so much a second, in transactions and bytes, and no more than it may have unchecked at a time;
what is beyond that is dropped, and a correct peer forwards it again. Signatures are checked peer by peer in turn: one
that forwards a flood delays what it forwards itself, and nobody else's.

``Verified`` remembers by digest, signature included, whose signature was found good; so a transaction that came through
a gateway, a forward or a proposal is checked once on its way into a block.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from node.errors import CodecError, PeerError, RefusedError
from node.forwarding import Forwarding, units_of
from node.limits import (
    FORWARD_TRANSACTIONS,
    FORWARDS_CHECKED_AT_ONCE,
    PEER_BAN_TICKS,
    PEER_UNITS_BURST,
    PEER_UNITS_PER_TICK,
    PEER_UNVERIFIED_UNITS,
    VERIFIED_GENERATION,
)
from node.mempool import Mempool
from node.model.transaction import Transaction, decode_transaction

STRANGER_UNITS: Final = 20
"""What a transaction of a key that nobody knows counts for besides. A correct peer forwards few: it was ahead of us."""
Answers = Callable[[list[bool]], None]


class CheckSignatures(Protocol):
    """Checks the signatures of ``transactions`` and calls ``done`` with an answer for each, at once or later."""

    def __call__(self, transactions: Sequence[Transaction], done: Answers) -> None: ...


class Verified:
    """A bounded set of digests: a generation that fills, and the full one before it."""

    def __init__(self, generation: int = VERIFIED_GENERATION) -> None:
        self._generation = generation
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._young or digest in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(self, digest: bytes) -> None:
        """Remember one digest."""
        if len(self._young) >= self._generation:
            self._old = self._young
            self._young = set()
        self._young.add(digest)

    def update(self, digests: Iterable[bytes]) -> None:
        """Remember several."""
        for digest in digests:
            self.add(digest)


class _Peer:
    """What is known of one peer. ``allowed``: what it may still send now, in units, as of ``tick``."""

    __slots__ = ("allowed", "banned_until", "dropped", "jobs", "tick", "unverified", "unverified_units")

    def __init__(self, tick: int) -> None:
        self.allowed = PEER_UNITS_BURST
        self.tick = tick
        self.banned_until = 0
        self.unverified = 0
        self.unverified_units = 0
        self.dropped = 0
        self.jobs: deque[tuple[list[Transaction], Callable[[list[bool]], None]]] = deque()

    def pays(self, units: int, tick: int) -> bool:
        """Whether it may send so much at this tick; what it has is overdrawn by one message at most."""
        self.allowed = min(PEER_UNITS_BURST, self.allowed + (tick - self.tick) * PEER_UNITS_PER_TICK)
        self.tick = tick
        if self.allowed <= 0:
            return False
        self.allowed -= units
        return True


class Intake:
    """Puts what peers forward into the pool; peers are known by name."""

    def __init__(
        self, pool: Mempool, forwarding: Forwarding, verified: Verified, chain: bytes, check: CheckSignatures
    ) -> None:
        self._pool = pool
        self._forwarding = forwarding
        self._verified = verified
        self._chain = chain
        self._check = check
        self._peers: dict[str, _Peer] = {}
        self._turns: deque[_Peer] = deque()
        """Those who have something to be checked."""
        self._being_checked = 0
        self._is_giving = False

    @property
    def unverified(self) -> int:
        """How many forwarded transactions wait for their signatures to be checked."""
        return sum(peer.unverified for peer in self._peers.values())

    def dropped(self) -> dict[str, int]:
        """How many transactions of each peer were not listened to since the start, for more than its share."""
        return {name: peer.dropped for name, peer in self._peers.items() if peer.dropped}

    def forwarded(self, name: str, raws: Sequence[bytes], tick: int, now: int, changed: Callable[[], None]) -> None:
        """Take in what the peer ``name`` forwarded; ``changed`` is called if something is added after this has
        returned.

        Raises PeerError: "forward-too-long", "bad-transaction"; the peer is then not listened to for a while.
        """
        peer = self._peers.get(name)
        if peer is None:
            peer = self._peers[name] = _Peer(tick)
        if peer.banned_until > tick:
            return
        if len(raws) > FORWARD_TRANSACTIONS:
            raise _ban(peer, tick, "forward-too-long", f"{len(raws)} transactions in one message")
        units = units_of(len(raws), sum(map(len, raws)))
        if peer.unverified_units + units > PEER_UNVERIFIED_UNITS or not peer.pays(units, tick):
            peer.dropped += len(raws)
            return  # it forwards again what it still holds
        unverified: list[Transaction] = []
        for raw in raws:
            try:
                tx = decode_transaction(raw)
            except CodecError as error:
                raise _ban(peer, tick, "bad-transaction", str(error)) from error
            if tx.payload.chain != self._chain:
                raise _ban(peer, tick, "bad-transaction", "it is of another chain")
            if tx.digest in self._verified:
                self._add(tx, now)
            elif self._is_wanted(tx, peer, now):
                unverified.append(tx)
        if unverified:

            def checked(answers: list[bool]) -> None:
                peer.unverified -= len(unverified)
                peer.unverified_units -= units
                self._being_checked -= len(unverified)
                for tx, good in zip(unverified, answers, strict=True):
                    if good:
                        self._verified.add(tx.digest)
                        self._add(tx, now)
                if not all(answers):
                    peer.banned_until = tick + PEER_BAN_TICKS
                changed()
                self._give()

            peer.unverified += len(unverified)
            peer.unverified_units += units
            if not peer.jobs:
                self._turns.append(peer)
            peer.jobs.append((unverified, checked))
            self._give()

    def _is_wanted(self, tx: Transaction, peer: _Peer, now: int) -> bool:
        """Whether the pool would take it in: if not, its signature is not worth a check. Anybody can sign rightly with
        a key that nobody knows; such a one is paid for dearly."""
        try:
            self._pool.check(tx, now)
        except RefusedError as error:
            peer.allowed -= STRANGER_UNITS if error.code == "unknown-sender" else 0
            return False
        return True

    def _give(self) -> None:
        """Have checked what may be, peers in turn; an answer that comes at once leaves the rest to the outer call."""
        if self._is_giving:
            return
        self._is_giving = True
        try:
            while self._turns and self._being_checked < FORWARDS_CHECKED_AT_ONCE:
                peer = self._turns.popleft()
                transactions, done = peer.jobs.popleft()
                if peer.jobs:
                    self._turns.append(peer)
                self._being_checked += len(transactions)
                self._check(transactions, done)
        finally:
            self._is_giving = False

    def _add(self, tx: Transaction, now: int) -> None:
        try:
            self._pool.add(tx, now)
        except RefusedError:
            return  # known, used up, or no room: the node that it came from keeps it
        self._forwarding.received(tx.id)


def _ban(peer: _Peer, tick: int, code: str, message: str) -> PeerError:
    peer.banned_until = tick + PEER_BAN_TICKS
    return PeerError(code, message)
