"""Transactions that wait for a block: bounded, in nonce order per sender, fair between senders.

The pool holds a transaction until a block includes it, it expires, or its nonce is used up by another. Taking
transactions for a batch marks them and keeps them: if a view change loses the batch, ``untake`` offers them again.
Senders take turns, one transaction each, so that one who floods delays only itself.

Signatures are checked before anything is added here.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final, Protocol

from node.errors import RefusedError
from node.limits import MEMPOOL_BYTES, MEMPOOL_PER_SENDER, MEMPOOL_TRANSACTIONS
from node.model.transaction import Transaction

PENDING: Final = "pending"
UNKNOWN: Final = "unknown"

_LOOK_AT = 64


class Nonces(Protocol):
    """What the committed state knows of nonces; ``node.ledger.chain.Ledger`` is one."""

    def nonce_acceptable(self, sender: bytes, nonce: int) -> bool: ...

    def highest_nonce(self, sender: bytes) -> int: ...


class _Entry:
    __slots__ = ("taken", "tx")

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self.taken = False


class _Sender:
    """One sender's transactions by nonce. ``free``: a heap of the nonces not taken; it may name some that are gone."""

    __slots__ = ("entries", "free", "in_turn")

    def __init__(self) -> None:
        self.entries: dict[int, _Entry] = {}
        self.free: list[int] = []
        self.in_turn = False


class Mempool:
    """The pool. Times are block times in seconds; a transaction is includable up to and including ``not_after``.

    ``knows``: which keys may send anything at all.
    """

    def __init__(
        self,
        nonces: Nonces,
        *,
        max_transactions: int = MEMPOOL_TRANSACTIONS,
        max_bytes: int = MEMPOOL_BYTES,
        max_per_sender: int = MEMPOOL_PER_SENDER,
        knows: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        self._nonces = nonces
        self._knows = knows
        self.max_transactions = max_transactions
        self._max_bytes = max_bytes
        self._max_per_sender = max_per_sender
        self._by_id: dict[bytes, _Entry] = {}
        self._senders: dict[bytes, _Sender] = {}
        self._turns: OrderedDict[bytes, None] = OrderedDict()
        self._expiry: list[tuple[int, bytes]] = []
        self._bytes = 0
        self._taken = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, tx_id: bytes) -> bool:
        return tx_id in self._by_id

    @property
    def size_bytes(self) -> int:
        """The bytes of all transactions held."""
        return self._bytes

    @property
    def untaken(self) -> int:
        """How many transactions are not in a batch on its way."""
        return len(self._by_id) - self._taken

    def get(self, tx_id: bytes) -> Transaction | None:
        """The transaction, if it waits here."""
        entry = self._by_id.get(tx_id)
        return entry.tx if entry is not None else None

    def ids(self) -> Iterable[bytes]:
        """The ids of all transactions held, in the order of arrival."""
        return self._by_id.keys()

    def status(self, tx_id: bytes) -> str:
        """ "pending" or "unknown"; what is committed, the ledger knows."""
        return PENDING if tx_id in self._by_id else UNKNOWN

    def check(self, tx: Transaction, now: int) -> None:
        """Whether ``add`` would take it in just now; raises as it does. Cheap: for before a signature is checked."""
        payload = tx.payload
        if tx.id in self._by_id:
            raise RefusedError("duplicate", "this transaction is waiting already")
        if payload.not_after < now:
            raise RefusedError("expired", f"not_after {payload.not_after} has passed, block time is {now}")
        if payload.sender not in self._senders and not self._knows(payload.sender):
            raise RefusedError("unknown-sender", "this key acts for no member, network, device or meter")
        if not self._nonces.nonce_acceptable(payload.sender, payload.nonce):
            raise self._nonce_refusal(payload.sender, payload.nonce)
        sender = self._senders.get(payload.sender)
        if sender is not None:
            if payload.nonce in sender.entries:
                raise RefusedError("nonce-used", f"another transaction with nonce {payload.nonce} is waiting")
            if len(sender.entries) >= self._max_per_sender:
                raise RefusedError("mempool-full", f"{self._max_per_sender} transactions of this sender are waiting")
        if len(self._by_id) >= self.max_transactions or self._bytes + len(tx.raw) > self._max_bytes:
            raise RefusedError("mempool-full", f"{len(self._by_id)} transactions are waiting")

    def add(self, tx: Transaction, now: int) -> None:
        """Take in a transaction whose signature was checked. ``now``: block time in seconds.

        Raises RefusedError: "duplicate", "expired", "unknown-sender", "nonce-used" (by a block or by one that waits
        here), "nonce-out-of-window", "mempool-full".
        """
        self.check(tx, now)
        payload = tx.payload
        sender = self._senders.get(payload.sender)
        if sender is None:
            sender = self._senders[payload.sender] = _Sender()
        entry = _Entry(tx)
        self._by_id[tx.id] = sender.entries[payload.nonce] = entry
        self._bytes += len(tx.raw)
        heappush(self._expiry, (payload.not_after, tx.id))
        self._offer(sender, payload.sender, payload.nonce)

    def take(self, max_bytes: int, max_items: int) -> list[Transaction]:
        """The next transactions for a batch, senders in turn; they are marked, and stay until ``committed``.

        The last one may go beyond ``max_items``: one that asks for more than a batch should is not left out for ever.
        """
        chosen: list[Transaction] = []
        size = items = 0
        while self._turns and items < max_items:
            key, _ = self._turns.popitem(last=False)
            sender = self._senders[key]
            entry = _first_free(sender)
            if entry is None:
                sender.in_turn = False
                continue
            if size + len(entry.tx.raw) > max_bytes:
                self._turns[key] = None
                self._turns.move_to_end(key, last=False)
                break
            heappop(sender.free)
            entry.taken = True
            size += len(entry.tx.raw)
            items += entry.tx.items
            chosen.append(entry.tx)
            if sender.free:
                self._turns[key] = None
            else:
                sender.in_turn = False
        self._taken += len(chosen)
        return chosen

    def mark_taken(self, tx_ids: Iterable[bytes]) -> None:
        """These are in a batch on its way that another primary made: do not offer them too."""
        for tx_id in tx_ids:
            entry = self._by_id.get(tx_id)
            if entry is not None and not entry.taken:
                entry.taken = True
                self._taken += 1

    def release(self, tx_ids: Iterable[bytes]) -> None:
        """The batches that held these are lost: offer again those that still wait."""
        for tx_id in tx_ids:
            entry = self._by_id.get(tx_id)
            if entry is not None and entry.taken:
                entry.taken = False
                self._taken -= 1
                payload = entry.tx.payload
                self._offer(self._senders[payload.sender], payload.sender, payload.nonce)

    def untake(self) -> None:
        """Offer everything again, in the order of arrival: whatever batches were on their way may be lost."""
        self._taken = 0
        self._turns.clear()
        for sender in self._senders.values():
            sender.free.clear()
            sender.in_turn = False
        for entry in self._by_id.values():
            entry.taken = False
            payload = entry.tx.payload
            self._offer(self._senders[payload.sender], payload.sender, payload.nonce)

    def includable(self, tx: Transaction, now: int) -> bool:
        """Whether a block of time ``now`` on the committed state could still include it with effect."""
        payload = tx.payload
        return payload.not_after >= now and self._nonces.nonce_acceptable(payload.sender, payload.nonce)

    def has_includable(self, now: int) -> bool:
        """Whether anything here could be in a block of time ``now``; the oldest that could not are dropped."""
        for entry in list(islice(self._by_id.values(), _LOOK_AT)):
            if self.includable(entry.tx, now):
                return True
            self._remove(entry)
        return bool(self._by_id)

    def committed(self, transactions: Iterable[Transaction]) -> None:
        """A stored block holds these: they, and whatever waits with the same nonces, are done."""
        for tx in transactions:
            payload = tx.payload
            sender = self._senders.get(payload.sender)
            if sender is not None:
                entry = sender.entries.get(payload.nonce)
                if entry is not None:
                    self._remove(entry)

    def drop(self, tx_id: bytes) -> None:
        """Forget a transaction that can no longer be included."""
        entry = self._by_id.get(tx_id)
        if entry is not None:
            self._remove(entry)

    def drop_expired(self, now: int) -> None:
        """Forget what can no longer be included in a block of time ``now``."""
        while self._expiry and self._expiry[0][0] < now:
            self.drop(heappop(self._expiry)[1])

    def _nonce_refusal(self, sender: bytes, nonce: int) -> RefusedError:
        highest = self._nonces.highest_nonce(sender)
        if nonce > highest:
            return RefusedError("nonce-out-of-window", f"nonce {nonce} is too far above the highest used, {highest}")
        return RefusedError("nonce-used", f"nonce {nonce} is used, or too far below the highest used, {highest}")

    def _offer(self, sender: _Sender, key: bytes, nonce: int) -> None:
        heappush(sender.free, nonce)
        if not sender.in_turn:
            sender.in_turn = True
            self._turns[key] = None

    def _remove(self, entry: _Entry) -> None:
        tx = entry.tx
        key = tx.payload.sender
        sender = self._senders[key]
        del self._by_id[tx.id], sender.entries[tx.payload.nonce]
        self._bytes -= len(tx.raw)
        self._taken -= entry.taken
        if not sender.entries:
            del self._senders[key]
            self._turns.pop(key, None)
        elif len(sender.free) > 2 * len(sender.entries) + 16:
            sender.free = [nonce for nonce, other in sender.entries.items() if not other.taken]
            heapify(sender.free)
        if len(self._expiry) > 2 * len(self._by_id) + 1024:
            self._expiry = [(other.tx.payload.not_after, tx_id) for tx_id, other in self._by_id.items()]
            heapify(self._expiry)


def _first_free(sender: _Sender) -> _Entry | None:
    """The sender's entry of the lowest nonce that is not taken; what is gone or taken is dropped on the way."""
    while sender.free:
        entry = sender.entries.get(sender.free[0])
        if entry is not None and not entry.taken:
            return entry
        heappop(sender.free)
    return None
