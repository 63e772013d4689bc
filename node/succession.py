"""What a node does about epochs, besides living in one (``term.py``).

When the last block before a new epoch is stored, the driver ends its replica and begins another (``Driver``). Around
that moment:

- who has a link to this node, and is shown by which certificate (``neighbours``): the members of this epoch, of the
  next, who follow already, and for FAREWELL_BLOCKS of the one before, who may still lack its last blocks;
- what members that are a step ahead say in the next epoch already is kept for it (``Ahead``);
- a member that was removed stays until the others have its last block (``Leave``).
"""

from collections import deque
from collections.abc import Mapping

from chaincode.validators import epoch_count, epoch_row
from node.consensus.messages import BlockRequest, Message, Proposal, Signed, Status
from node.consensus.settings import WINDOW, Memory
from node.errors import CodecError
from node.ledger.chain import Ledger
from node.limits import AHEAD_BYTES_PER_PEER, AHEAD_MESSAGES_PER_PEER, FAREWELL_BLOCKS, LEAVE_TICKS
from node.model.codec import decode
from node.model.epoch import Epoch
from node.model.keys import TAG_VOTE
from node.ports import Ports
from node.supply import Supplier
from node.term import Term
from node.transport.peer import Peer


def near_epochs(ledger: Ledger) -> tuple[Epoch, ...]:
    """The epoch of the next block, the one before it and the one that is scheduled, as far as there are any."""
    number = ledger.epoch_at(ledger.head.height + 1).number
    return tuple([epoch for epoch in ledger.epochs() if epoch.number >= number - 1])


def neighbours(ledger: Ledger, me: str, addresses: Mapping[str, str]) -> tuple[Peer, ...]:
    """Who links to this node, and it to them. ``addresses``: name to host:port, as the operator says; otherwise what
    the chain says counts, if it says anything."""
    certificates: dict[str, str] = {}  # each to its member, those of newer epochs first
    said: dict[str, str] = {}
    past = ledger.epoch_at(ledger.head.height + 1).number - 1
    for epoch in reversed(near_epochs(ledger)):
        if epoch.number == past and is_farewell_over(ledger):
            continue
        for member in epoch.members:
            certificates.setdefault(member.tls_certificate, member.name)
        if epoch.number < epoch_count(ledger.state.get):
            for seat in epoch_row(ledger.state.get, epoch.number).seats:
                said.setdefault(seat.name, seat.address)
    names = dict.fromkeys(name for name in certificates.values() if name != me)
    return tuple(
        [
            Peer(
                name,
                addresses.get(name) or said.get(name, ""),
                tuple([pem for pem, owner in certificates.items() if owner == name]),
            )
            for name in names
        ]
    )


def is_farewell_over(ledger: Ledger) -> bool:
    """Whether the certificates of the epoch before open no link any more: who was removed is to see nothing further,
    and a key that was rotated is to be worth nothing to whoever has it."""
    height = ledger.head.height
    return height + 1 >= ledger.epoch_at(height + 1).first_height + FAREWELL_BLOCKS


def epoch_said(message: Message) -> int | None:
    """The epoch of a vote or proposal, by its own bytes; None for other messages, and for what is malformed."""
    match message:
        case Signed():
            data = message.data
        case Proposal():
            data = message.pre_prepare.data
        case _:
            return None
    try:
        value = decode(data[len(TAG_VOTE) :])
    except CodecError:
        return None
    if type(value) is not tuple or len(value) < 3:
        return None
    epoch = value[2]
    return epoch if type(epoch) is int else None


class Ahead:
    """Votes and proposals of the next epoch that came before its base was stored here: without them, its first blocks
    would wait until they are sent again. Bounded in messages and bytes for each peer, since nothing of it is checked;
    beyond that, what comes is dropped."""

    def __init__(self) -> None:
        self._messages: deque[tuple[str, Message]] = deque()
        self._held: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def keep(self, peer: str, message: Message) -> None:
        """Keep it, if the peer's room is not full."""
        count, size = self._held.get(peer, (0, 0))
        size += _size(message)
        if count < AHEAD_MESSAGES_PER_PEER and size <= AHEAD_BYTES_PER_PEER:
            self._messages.append((peer, message))
            self._held[peer] = (count + 1, size)

    def take(self) -> list[tuple[str, Message]]:
        """All of them, in the order of their coming; none are left."""
        messages = list(self._messages)
        self._messages.clear()
        self._held.clear()
        return messages


def _size(message: Message) -> int:
    if isinstance(message, Proposal):
        return len(message.batch) + len(message.pre_prepare.data)
    return len(message.data) if isinstance(message, Signed) else 0


class Leave:
    """A removed member's last duty: the last block with its vote may be stored here alone, so it stays and supplies it
    until a quorum of those who go on has said that it has stored it, or for LEAVE_TICKS."""

    def __init__(self, epoch: Epoch, quorum: int) -> None:
        """``epoch``: the first one without this member."""
        self.epoch = epoch
        self._quorum = quorum
        self._have_it: set[str] = set()
        self._ticks_left = LEAVE_TICKS

    def heard(self, peer: str, message: Message) -> None:
        """A member of the new epoch said something."""
        if isinstance(message, Status) and message.stored >= self.epoch.base:
            self._have_it.add(peer)

    def tick(self) -> bool:
        """One tick has passed; whether this node may go."""
        self._ticks_left -= 1
        return len(self._have_it) >= self._quorum or self._ticks_left <= 0


class Succession:
    """The epochs around the one that a driver lives in: which one comes, who is a guest here, and when to go."""

    def __init__(self, ledger: Ledger, me: str, ports: Ports, supplier: Supplier) -> None:
        self._ledger = ledger
        self._me = me
        self._ports = ports
        self._ahead = Ahead()
        self._supplier = supplier
        self._leave: Leave | None = None
        self._lowest: dict[str, int] = {}
        """Member to the lowest height that it has said, since this process runs, to be its newest."""
        self.coming: Epoch | None = None
        """The epoch after this one, if it is scheduled."""
        self.guests: tuple[str, ...] = ()
        """Those who have a link and no seat, by name: they are told how far there are blocks."""

    def start(self, term: Term) -> None:
        """The node starts, with this term."""
        self._admit(term)
        self.look(term)

    def look(self, term: Term) -> None:
        """Whether the state says by now who comes after the present members, and from which height on."""
        number, epochs = term.epoch.number + 1, self._ledger.epochs()
        if self.coming is None and number < len(epochs):
            self.coming = epochs[number]
            term.replica.end_at(self.coming.base)
            self._admit(term)

    def takes(self, term: Term, peer: str, message: Message) -> bool:
        """Whether the message is none for the term: kept for the next one, or a guest's, who is answered if it asks for
        blocks."""
        coming = self.coming
        if coming is not None and term.replica.height + WINDOW >= coming.base and epoch_said(message) == coming.number:
            if coming.index_of(peer) is not None:
                self._ahead.keep(peer, message)
            return True
        if term.index_of(peer) is None:
            if isinstance(message, BlockRequest):
                reply = self._supplier.for_guest(peer, message.first)
                if reply is not None:
                    self._ports.send((peer,), reply)
            return True
        if isinstance(message, Status):
            self._lowest[peer] = min(message.stored, self._lowest.get(peer, message.stored))
        if self._leave is not None:
            self._leave.heard(peer, message)
        return False

    def memory(self, term: Term, coming: Epoch) -> Memory:
        """What this node knows of its votes in the coming epoch, which begins now.

        Who observes until then has asked nobody about them, and may have voted before its disk was wiped. If a quorum
        has said, since this process runs, that it had not even the block before the last of the present epoch, none of
        its correct members had voted for the last one. So that was not certified yet, and there was no vote to cast.
        """
        if not term.settings.is_observer:
            return term.replica.memory
        still_here = [name for name in term.others if self._lowest.get(name, coming.base) < coming.base - 1]
        return Memory.CONTINUED if len(still_here) >= term.settings.quorum else term.memory

    def begun(self, old: Term, term: Term) -> list[tuple[str, Message]]:
        """The coming epoch is there; returns what was kept for it."""
        self.coming = None
        self._lowest.clear()
        if old.is_member and not term.is_member:
            self._leave = Leave(term.epoch, term.settings.quorum)
        self._admit(term)
        self.look(term)
        return self._ahead.take()

    def tick(self) -> None:
        """One tick has passed."""
        self._supplier.tick()
        if self._leave is not None and self._leave.tick():
            self._ports.removed(self._leave.epoch.first_height)

    def _admit(self, term: Term) -> None:
        names = {member.name for epoch in near_epochs(self._ledger) for member in epoch.members}
        self.guests = tuple(sorted(names - {self._me, *term.others}))
        self._ports.epochs_changed()
