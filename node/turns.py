"""Whose transaction is next: members take turns, and the senders of a member within its turns.

Fair queueing by start tags, on two levels. Everybody has a *tag*: how much it has been given. The one with the smallest
is next, and what it is given is added to its tag. Who comes anew, or after a pause, begins at the tag of whoever was
served last: a pause earns nothing, and nobody who comes waits for more than one transaction of each that is there.
What is given is counted in bytes, an item as so many as a full batch has for each of its items: who sends large ones
has fewer turns. Each step costs the logarithm of how many wait.
"""

from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from node.limits import BATCH_BYTES, BATCH_ITEMS
from node.model.transaction import Transaction

ITEM_BYTES: Final = BATCH_BYTES // BATCH_ITEMS
_SLACK: Final = 16


class Entry:
    """A transaction of the pool; ``taken``: it is in a batch on its way."""

    __slots__ = ("taken", "tx")

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self.taken = False


class Member:
    """What one member's keys have in the pool. ``served``: the tag of the sender of its that was served last."""

    __slots__ = ("count", "in_turn", "name", "senders", "served", "size_bytes", "tag", "turns")

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.size_bytes = 0
        self.tag = 0
        self.in_turn = False
        self.senders = 0
        self.served = 0
        self.turns: list[tuple[int, int, Sender]] = []


class Sender:
    """One key's transactions by nonce. ``free``: a heap of the nonces not taken; it may name some that are gone."""

    __slots__ = ("entries", "free", "in_turn", "member", "tag")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.entries: dict[int, Entry] = {}
        self.free: list[int] = []
        self.in_turn = False
        self.tag = 0

    def first_free(self) -> Entry | None:
        """The entry of the lowest nonce that is not taken; what is gone or taken is dropped on the way."""
        while self.free:
            entry = self.entries.get(self.free[0])
            if entry is not None and not entry.taken:
                return entry
            heappop(self.free)
        return None

    def tidy(self) -> None:
        """Drop what is gone, if it is most of what is there."""
        if len(self.free) > 2 * len(self.entries) + _SLACK:
            self.free = [nonce for nonce, entry in self.entries.items() if not entry.taken]
            heapify(self.free)


class Turns:
    """The order. Whoever is offered and has nothing any more is passed over when its turn comes."""

    def __init__(self) -> None:
        self._turns: list[tuple[int, int, Member]] = []
        self._served = 0
        self._number = 0
        """Counts up: of equal tags, the one that came first is first."""

    def clear(self) -> None:
        """Nobody waits, and nobody has been given anything."""
        self._turns.clear()
        self._served = 0

    def offer(self, sender: Sender, nonce: int) -> None:
        """The sender's transaction with this nonce waits."""
        heappush(sender.free, nonce)
        if sender.in_turn:
            return
        member = sender.member
        sender.in_turn = True
        sender.tag = max(sender.tag, member.served)
        if len(member.turns) > 2 * member.senders + _SLACK:
            member.turns = [turn for turn in member.turns if turn[2].entries]
            heapify(member.turns)
        self._number += 1
        heappush(member.turns, (sender.tag, self._number, sender))
        if not member.in_turn:
            member.in_turn = True
            member.tag = max(member.tag, self._served)
            heappush(self._turns, (member.tag, self._number, member))

    def next(self) -> tuple[Sender, Entry] | None:
        """Whose turn it is, and with what; ``give`` gives it."""
        while self._turns:
            member = self._turns[0][2]
            while member.turns:
                sender = member.turns[0][2]
                entry = sender.first_free()
                if entry is not None:
                    return sender, entry
                heappop(member.turns)
                sender.in_turn = False
            heappop(self._turns)
            member.in_turn = False
        return None

    def give(self, sender: Sender, entry: Entry) -> None:
        """What ``next`` has just returned is given: it is taken, and the turn is over."""
        member = sender.member
        cost = max(len(entry.tx.raw), ITEM_BYTES * entry.tx.items)
        heappop(sender.free)
        entry.taken = True
        self._served, member.served = member.tag, sender.tag
        member.tag += cost
        sender.tag += cost
        self._number += 1
        heapreplace(self._turns, (member.tag, self._number, member))
        if sender.free:
            heapreplace(member.turns, (sender.tag, self._number, sender))
        else:
            heappop(member.turns)
            sender.in_turn = False
