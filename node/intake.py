"""Transactions from peers: their signatures are checked once, and a peer that sends bad ones is not listened to.

``Verified`` remembers by digest, signature included, whose signature was found good; so a transaction that came through
a gateway, a forward or a proposal is checked once on its way into a block.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from node.errors import CodecError, PeerError, RefusedError
from node.forwarding import Forwarding
from node.limits import FORWARD_TRANSACTIONS, PEER_BAN_TICKS, PEER_UNVERIFIED_TRANSACTIONS, VERIFIED_GENERATION
from node.mempool import Mempool
from node.model.transaction import Transaction, decode_transaction

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
        self._unverified: dict[str, int] = {}
        self._banned_until: dict[str, int] = {}

    @property
    def unverified(self) -> int:
        """How many forwarded transactions wait for their signatures to be checked."""
        return sum(self._unverified.values())

    def forwarded(self, peer: str, raws: Sequence[bytes], tick: int, now: int, changed: Callable[[], None]) -> None:
        """Take in what ``peer`` forwarded; ``changed`` is called if something is added after this has returned.

        Raises PeerError: "forward-too-long", "bad-transaction"; the peer is then not listened to for a while.
        """
        if self._banned_until.get(peer, 0) > tick:
            return
        if len(raws) > FORWARD_TRANSACTIONS:
            raise self._ban(peer, tick, "forward-too-long", f"{len(raws)} transactions in one message")
        if self._unverified.get(peer, 0) + len(raws) > PEER_UNVERIFIED_TRANSACTIONS:
            return  # it forwards again what it still holds
        unverified: list[Transaction] = []
        for raw in raws:
            try:
                tx = decode_transaction(raw)
            except CodecError as error:
                raise self._ban(peer, tick, "bad-transaction", str(error)) from error
            if tx.payload.chain != self._chain:
                raise self._ban(peer, tick, "bad-transaction", "it is of another chain")
            if tx.digest in self._verified:
                self._add(tx, now)
            elif tx.id not in self._pool and self._pool.includable(tx, now):
                unverified.append(tx)
        if unverified:
            self._unverified[peer] = self._unverified.get(peer, 0) + len(unverified)

            def checked(answers: list[bool]) -> None:
                self._unverified[peer] -= len(unverified)
                for tx, good in zip(unverified, answers, strict=True):
                    if good:
                        self._verified.add(tx.digest)
                        self._add(tx, now)
                if not all(answers):
                    self._banned_until[peer] = tick + PEER_BAN_TICKS
                changed()

            self._check(unverified, checked)

    def _add(self, tx: Transaction, now: int) -> None:
        try:
            self._pool.add(tx, now)
        except RefusedError:
            return  # known, used up, or no room: the node that it came from keeps it
        self._forwarding.received(tx.id)

    def _ban(self, peer: str, tick: int, code: str, message: str) -> PeerError:
        self._banned_until[peer] = tick + PEER_BAN_TICKS
        return PeerError(code, message)
