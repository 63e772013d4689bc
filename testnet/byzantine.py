"""Byzantine replicas, made of honest ones: by wrapping, and by twinning. Honest code has no switches for them.

*Wrapping*: an honest node runs inside. What reaches it and what leaves it goes through lies (``sim_lies``,
``sim_vote_lies``, ``sim_view_lies``), several in one history, each on and off in turn, so that the member is trusted
with enough to be dangerous. It has its key, and can sign anything.

*Twinning*: two honest nodes have one identity. Each talks to a part of the network, and the parts change. Neither lies,
and yet together they vote twice. (Bano et al., "Twins: BFT Systems Made Robust", OPODIS 2021.)

Both can be had in one member. At most f members of a history are faulty at all: Byzantine, or with a disk that loses
what it promised (``sim_disk_faults``). More would be a stall, or a fork, by arithmetic.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

from node.consensus.messages import Message, Signed, Status
from node.driver import Driver
from node.model.codec import encode
from node.model.epoch import Epoch
from node.model.keys import TAG_VOTE
from node.model.transaction import Transaction
from testnet.sim_epochs import machine_of, member_name
from testnet.sim_lies import (
    Censorship,
    Delay,
    FalseMemory,
    FalseReplies,
    FalseStatus,
    Flood,
    Lie,
    Replay,
    Silence,
)
from testnet.sim_view_lies import FalseNewViews, FalseViewChanges, Unrest
from testnet.sim_vote_lies import Accomplice, BadProposals, Equivocation, TwoVotes
from testnet.sim_world import MS, SECOND, Agenda, RememberedKey

BYZANTINE_KINDS: Final = ("byzantine", "twin")

LIES: Final[tuple[type[Lie], ...]] = (
    Silence,
    Delay,
    Censorship,
    FalseStatus,
    FalseReplies,
    FalseMemory,
    Replay,
    Flood,
    Equivocation,
    TwoVotes,
    Accomplice,
    BadProposals,
    FalseViewChanges,
    FalseNewViews,
    Unrest,
)

_HEARD: Final = 200
_SHY: Final = 0.2
_ACT_EVERY: Final = 150 * MS


class Inside(Protocol):
    """An honest node that runs in a Byzantine member."""

    driver: Driver | None

    def signer(self, epoch: Epoch) -> RememberedKey | None: ...

    def receive(self, peer: int, message: Message) -> None: ...

    def submit(self, tx: Transaction) -> str: ...


@dataclass(frozen=True, slots=True)
class Stage:
    """What a Byzantine member finds around it. ``clients``: their keys; ``send(sender, to, message)``: the network."""

    chain: bytes
    count: int
    clients: list[bytes]
    agenda: Agenda
    dice: Random
    send: Callable[[int, int, Message], None]


class Byzantine:
    """A member that does what it likes. ``insides``: one node, or twins."""

    def __init__(
        self, index: int, insides: Sequence[Inside], key: RememberedKey, lies: Sequence[type[Lie]], stage: Stage
    ) -> None:
        self.machine = index
        self.index = index
        """As what it signs: its place in the newest epoch that it has been in."""
        self.chain = stage.chain
        self.epoch = 0
        self.view = 0
        self.height = 0
        self.others = [member for member in range(stage.count) if member != index]
        self.clients = stage.clients
        self.dice = stage.dice
        self.heard: deque[Message] = deque(maxlen=_HEARD)
        self.said: deque[Message] = deque(maxlen=_HEARD)
        self._insides = insides
        self._key = key
        self._agenda = stage.agenda
        self._send = stage.send
        self.lies = [lie(self) for lie in lies]
        self._active = list(self.lies)
        self._is_shy = stage.dice.random() < _SHY
        self.told = 0
        """How many messages were changed, kept or made up."""
        self._sides = dict.fromkeys(self.others, 0)

    def __str__(self) -> str:
        names = ", ".join(lie.name for lie in self.lies)
        return f"{member_name(self.machine)}: {'twins, ' if len(self._insides) > 1 else ''}{names or 'no lies'}"

    def begin(self) -> None:
        """From now on."""
        self._agenda.after(int(self.dice.random() * _ACT_EVERY), self._act)
        self._change()

    def started(self, driver: Driver) -> None:
        """One of the insides has started.

        An honest node falls silent when it meets votes of its own key that it does not know. The member that it plays
        here would not, unless it is shy: then the others must see through a member that seems to be honest.
        """
        if not self._is_shy:
            driver._term.replica._desk.watch_own(lambda data, signature: None)

    # The ports of the honest inside.

    def outgoing(self, inside: Inside, to: int, message: Message) -> None:
        """One of the insides sends."""
        if self._insides[self._sides.get(to, 0)] is not inside:
            return
        if isinstance(message, Status):
            self.view, self.height = message.view, message.stored
        if inside.driver is not None and inside.driver.epoch.number > self.epoch:
            self._enter(inside.driver.epoch, inside)
        self.said.append(message)
        left: Message | None = message
        for lie in self._active:
            if left is not None:
                left = lie.outgoing(to, left)
        if left is not message:
            self.told += 1
        if left is not None:
            self._send(self.machine, to, left)

    def _enter(self, epoch: Epoch, inside: Inside) -> None:
        """There are other members now, and its own index and key may be others, too."""
        self.epoch = epoch.number
        self.others = [machine for each in epoch.members if (machine := machine_of(each.name)) != self.machine]
        self.index = epoch.index_of(member_name(self.machine)) or 0
        self._key = inside.signer(epoch) or self._key

    def incoming(self, peer: int, message: Message) -> None:
        """Another member's message arrives."""
        self.heard.append(message)
        left: Message | None = message
        for lie in self._active:
            if left is not None:
                left = lie.incoming(peer, left)
        if left is not message:
            self.told += 1
        if left is not None:
            self._insides[self._sides.get(peer, 0)].receive(peer, left)

    def submit(self, tx: Transaction) -> str:
        """A client submits: it may be ignored, and may be told anything."""
        if any(lie.refuses(tx) for lie in self._active):
            return "ok"
        return self.dice.choice(self._insides).submit(tx)

    # What lies may use.

    def sign(self, value: tuple[Any, ...]) -> Signed:
        """Any statement at all, signed with the member's key; ``value`` is (kind, chain, epoch, view, ...)."""
        data = TAG_VOTE + encode(value)
        return Signed(self.index, data, self._key.sign(data))

    def tell(self, to: int, message: Message, delay: int = 0) -> None:
        """Send, past all lies, after ``delay`` microseconds."""
        self.told += 1
        if delay:
            self._agenda.after(delay, self._send, self.machine, to, message)
        else:
            self._send(self.machine, to, message)

    # Its moods.

    def _act(self) -> None:
        for lie in self._active:
            lie.act()
        self._agenda.after(_ACT_EVERY, self._act)

    def _change(self) -> None:
        """Some lies rest for a while, and the twins divide the others between them anew."""
        self._active = [lie for lie in self.lies if self.dice.random() < 0.75]
        if len(self._insides) > 1:
            self._sides = {other: self.dice.randrange(2) for other in self.others}
        self._agenda.after(int(self.dice.uniform(0.5, 6.0) * SECOND), self._change)


def draw_lies(dice: Random, *, twins: bool) -> list[type[Lie]]:
    """Which lies a Byzantine member of a history tells: a few, in the order of ``LIES``; twins need none."""
    chosen = dice.sample(LIES, dice.choice((0, 0, 1, 3) if twins else (1, 2, 3, 5, 8)))
    return sorted(chosen, key=LIES.index)
