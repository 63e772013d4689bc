"""Transactions that wait for a block: bounded, in nonce order per sender, fair between members and their senders.

The pool holds a transaction until a block includes it, it expires, or its nonce is used up by another. Taking
transactions for a batch marks them and keeps them: if a view change loses the batch, ``untake`` offers them again.
Members take turns, and so do the senders of each (``node/turns.py``): who floods delays only itself, and one who has
thousands of keys only its member. The room is shared likewise. A member may hold twice what is free: alone it fills two
thirds, and there is always room for one who comes; a sender may hold as much as its member has left, and a little
always.

Signatures are checked before anything is added here.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final, Protocol

from node.errors import NoRoomError, RefusedError
from node.limits import (
    BATCH_ITEMS,
    BATCH_SHARED_ITEMS,
    MEMBER_SHARE_OF_FREE,
    MEMPOOL_BYTES,
    MEMPOOL_PER_SENDER,
    MEMPOOL_TRANSACTIONS,
    SENDER_SURE_TRANSACTIONS,
)
from node.model.transaction import Transaction
from node.turns import Entry, Member, Sender, Turns

PENDING: Final = "pending"
UNKNOWN: Final = "unknown"

_LOOK_AT = 64


class Nonces(Protocol):
    """What the committed state knows of nonces; ``node.ledger.chain.Ledger`` is one."""

    def nonce_acceptable(self, sender: bytes, nonce: int) -> bool: ...

    def highest_nonce(self, sender: bytes) -> int: ...


class Mempool:
    """The pool. Times are block times in seconds; a transaction is includable up to and including ``not_after``.

    ``whose``: the member that a key's transactions are counted with, None for a key that may send nothing at all.
    """

    def __init__(
        self,
        nonces: Nonces,
        *,
        max_transactions: int = MEMPOOL_TRANSACTIONS,
        max_bytes: int = MEMPOOL_BYTES,
        max_per_sender: int = MEMPOOL_PER_SENDER,
        whose: Callable[[bytes], str | None] = lambda _: "",
    ) -> None:
        self._nonces = nonces
        self._whose = whose
        self.max_transactions = max_transactions
        self._max_bytes = max_bytes
        self._max_per_sender = max_per_sender
        self._by_id: dict[bytes, Entry] = {}
        self._senders: dict[bytes, Sender] = {}
        self._members: dict[str, Member] = {}
        """Those who have sent anything since the start, with what they have been given: no more than are registered."""
        self._turns = Turns()
        self._rested: OrderedDict[bytes, tuple[Member, int]] = OrderedDict()
        """Tags of senders that have nothing here just now: who hands in one at a time is not given more turns by it."""
        self._expected: set[bytes] = set()
        """Ids in batches on their way that are not here: should they be handed in again, they are taken already."""
        self._expiry: list[tuple[int, bytes]] = []
        self._bytes = 0
        self._taken = 0
        self.gone = 0
        """How many have left since the start: how fast there is room again."""

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
        name = self._whose(payload.sender)
        if name is None:
            raise RefusedError("unknown-sender", "this key acts for no member, network, device or meter")
        if not self._nonces.nonce_acceptable(payload.sender, payload.nonce):
            raise self._nonce_refusal(payload.sender, payload.nonce)
        sender = self._senders.get(payload.sender)
        if sender is not None:
            if payload.nonce in sender.entries:
                raise RefusedError("nonce-used", f"another transaction with nonce {payload.nonce} is waiting")
            if len(sender.entries) >= self._max_per_sender:
                text = f"{self._max_per_sender} transactions of this sender are waiting"
                raise NoRoomError(text, len(sender.entries) // 2)
        self._require_room(len(tx.raw), self._members.get(name), sender)

    def member_of(self, key: bytes) -> str | None:
        """The member that the key's transactions are counted with; None for a key that may send nothing: any more, if
        it was changed. What it has here already is counted as it was until it hands in another one."""
        return self._whose(key)

    def waiting_of(self) -> dict[str, int]:
        """How many transactions of each member are held."""
        return {name: member.count for name, member in self._members.items() if member.count}

    def _require_room(self, size: int, member: Member | None, sender: Sender | None) -> None:
        free, free_bytes = self.max_transactions - len(self._by_id), self._max_bytes - self._bytes
        if free <= 0 or size > free_bytes:
            raise NoRoomError(f"{len(self._by_id)} transactions are waiting", 1)
        if member is None:
            return
        room = MEMBER_SHARE_OF_FREE * free - member.count
        room_bytes = MEMBER_SHARE_OF_FREE * free_bytes - member.size_bytes
        if room <= 0 or room_bytes < size:
            text = f"{member.count} transactions of {member.name or 'this kind'} are waiting: that is its share"
            raise NoRoomError(text, 1 - min(0, room))
        if sender is not None and len(sender.entries) >= max(SENDER_SURE_TRANSACTIONS, room):
            raise NoRoomError(f"{len(sender.entries)} transactions of this sender are waiting: that is its share", 1)

    def add(self, tx: Transaction, now: int) -> None:
        """Take in a transaction whose signature was checked. ``now``: block time in seconds.

        Raises RefusedError: "duplicate", "expired", "unknown-sender", "nonce-used" (by a block or by one that waits
        here), "nonce-out-of-window", "mempool-full".
        """
        self.check(tx, now)
        payload = tx.payload
        sender = self._sender(payload.sender)
        entry = Entry(tx)
        self._by_id[tx.id] = sender.entries[payload.nonce] = entry
        self._bytes += len(tx.raw)
        sender.member.count += 1
        sender.member.size_bytes += len(tx.raw)
        heappush(self._expiry, (payload.not_after, tx.id))
        if tx.id in self._expected:
            entry.taken = True
            self._taken += 1
        else:
            self._turns.offer(sender, payload.nonce)

    def take(self, max_bytes: int, max_items: int, max_shared_items: int = BATCH_SHARED_ITEMS) -> list[Transaction]:
        """The next transactions for a batch, in turn; they are marked, and stay until ``committed``.

        The last one may go beyond ``max_items``, or ``max_shared_items`` if they are of several members: one that asks
        for more than a batch should is not left out for ever.
        """
        chosen: list[Transaction] = []
        size = items = 0
        first: Member | None = None
        while items < max_items:
            found = self._turns.next()
            if found is None:
                break
            tx, member = found[1].tx, found[0].member
            if size + len(tx.raw) > max_bytes:
                break
            first = first or member
            if member is not first:
                max_items = min(max_items, max_shared_items)
            self._turns.give(*found)
            size += len(tx.raw)
            items += tx.items
            chosen.append(tx)
        self._taken += len(chosen)
        return chosen

    def is_full(self, transactions: Sequence[Transaction]) -> bool:
        """Whether an honest primary, which fills batches as ``take`` does, adds no more items to these."""
        items = sum([tx.items for tx in transactions])
        if items < BATCH_SHARED_ITEMS:
            return False
        return items >= BATCH_ITEMS or len({self._whose(tx.payload.sender) for tx in transactions}) > 1

    def mark_taken(self, tx_ids: Iterable[bytes]) -> None:
        """These are in a batch on its way that another primary made, or this one before it went down: do not offer them
        too, nor when they are handed in only now."""
        for tx_id in tx_ids:
            self._expected.add(tx_id)
            entry = self._by_id.get(tx_id)
            if entry is not None and not entry.taken:
                entry.taken = True
                self._taken += 1

    def release(self, tx_ids: Iterable[bytes]) -> None:
        """The batches that held these are lost: offer again those that still wait."""
        for tx_id in tx_ids:
            self._expected.discard(tx_id)
            entry = self._by_id.get(tx_id)
            if entry is not None and entry.taken:
                entry.taken = False
                self._taken -= 1
                self._turns.offer(self._senders[entry.tx.payload.sender], entry.tx.payload.nonce)

    def untake(self) -> None:
        """Offer everything again, in the order of arrival: whatever batches were on their way may be lost."""
        self._taken = 0
        self._expected.clear()
        self._turns.clear()
        self._rested.clear()
        for member in self._members.values():
            member.turns.clear()
            member.in_turn = False
            member.tag = member.served = 0
        for sender in self._senders.values():
            sender.free.clear()
            sender.in_turn = False
            sender.tag = 0
        for entry in self._by_id.values():
            entry.taken = False
            self._turns.offer(self._senders[entry.tx.payload.sender], entry.tx.payload.nonce)

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
            self._expected.discard(tx.id)
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

    def _sender(self, key: bytes) -> Sender:
        """The key's, with whom it counts now: a key may have been changed, and act for another member's device."""
        name = self._whose(key) or ""
        before = self._senders.get(key)
        if before is not None and before.member.name == name:
            return before
        member = self._members.get(name)
        if member is None:
            member = self._members[name] = Member(name)
        member.senders += 1
        sender = self._senders[key] = Sender(member)
        rested = self._rested.pop(key, None)
        if rested is not None and rested[0] is member:
            sender.tag = rested[1]
        if before is not None:
            self._move(before, sender)
        return sender

    def _move(self, before: Sender, sender: Sender) -> None:
        sender.entries, before.entries = before.entries, {}
        size = sum(len(entry.tx.raw) for entry in sender.entries.values())
        for member, sign in ((before.member, -1), (sender.member, 1)):
            member.count += sign * len(sender.entries)
            member.size_bytes += sign * size
        before.member.senders -= 1
        for nonce, entry in sender.entries.items():
            if not entry.taken:
                self._turns.offer(sender, nonce)

    def _remove(self, entry: Entry) -> None:
        tx = entry.tx
        key = tx.payload.sender
        sender = self._senders[key]
        del self._by_id[tx.id], sender.entries[tx.payload.nonce]
        self._bytes -= len(tx.raw)
        self._taken -= entry.taken
        self.gone += 1
        sender.member.count -= 1
        sender.member.size_bytes -= len(tx.raw)
        if sender.entries:
            sender.tidy()
        else:
            del self._senders[key]
            sender.member.senders -= 1
            if sender.tag > sender.member.served:
                self._rested[key] = (sender.member, sender.tag)
                if len(self._rested) > self.max_transactions:
                    self._rested.popitem(last=False)
        if len(self._expiry) > 2 * len(self._by_id) + 1024:
            self._expiry = [(other.tx.payload.not_after, tx_id) for tx_id, other in self._by_id.items()]
            heapify(self._expiry)
