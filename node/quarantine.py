"""Peers that send garbage are not listened to for a while: reading and checking it costs more than making it.

Pure and bounded: the driver tells of every fault, and asks before it reads. A correct peer may send something odd now
and then: a block that it was asked for too long ago, a vote from another epoch. Those cost nothing and do not count.
What counts is what nobody sends by accident.
"""

from collections import deque
from typing import Final

from node.limits import TICKS_PER_SECOND

COUNTED: Final = frozenset(
    {
        "bad-batch",
        "bad-block",
        "bad-new-view",
        "bad-recollection",
        "bad-signature",
        "bad-view-change",
        "closed-height",
        "malformed",
        "not-primary",
        "null-proposal",
        "oversize",
        "primary-prepares",
        "wrong-body",
        "wrong-chain",
    }
)
"""The codes of ``PeerError`` that count."""

MOST_FAULTS: Final = 16
"""So many within FAULT_TICKS, and the peer is muted."""
FAULT_TICKS: Final = TICKS_PER_SECOND
MUTE_TICKS: Final = 10 * TICKS_PER_SECOND

MESSAGES_PER_TICK: Final = 1024
"""Read of one peer within a tick; ten times what a peer sends with a full window at n = 40. The rest is lost."""


class Quarantine:
    """Who is muted, by member name; ``tick`` is the driver's own count."""

    def __init__(self) -> None:
        self._faults: dict[str, deque[int]] = {}
        self._muted_until: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._read_tick = -1

    def note(self, peer: str, code: str, tick: int) -> bool:
        """``peer`` sent something with this fault; True if it is muted because of it, from now on."""
        if code not in COUNTED:
            return False
        faults = self._faults.setdefault(peer, deque(maxlen=MOST_FAULTS))
        faults.append(tick)
        if len(faults) < MOST_FAULTS or tick - faults[0] > FAULT_TICKS:
            return False
        del self._faults[peer]
        self._muted_until[peer] = tick + MUTE_TICKS
        return True

    def admits(self, peer: str, tick: int) -> bool:
        """Whether a message of ``peer`` is to be read."""
        if self._read_tick != tick:
            self._read_tick = tick
            self._read.clear()
        if tick < self._muted_until.get(peer, 0):
            return False
        count = self._read[peer] = self._read.get(peer, 0) + 1
        return count <= MESSAGES_PER_TICK

    def is_muted(self, peer: str, tick: int) -> bool:
        """Whether nothing of ``peer`` is read at present."""
        return tick < self._muted_until.get(peer, 0)

    def keep(self, peers: frozenset[str]) -> None:
        """Forget all but these: the members have changed."""
        self._faults = {peer: faults for peer, faults in self._faults.items() if peer in peers}
        self._muted_until = {peer: tick for peer, tick in self._muted_until.items() if peer in peers}
        self._read = {peer: count for peer, count in self._read.items() if peer in peers}
