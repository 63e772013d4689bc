"""Ways to lie that need no knowledge of the protocol's phases: silence, delay, censorship, false answers, floods.

A ``Lie`` stands between an honest node that runs inside a Byzantine member and the network: it sees every message on
its way in and out, and may change it, keep it, or say more. ``Villain`` is what it may use. Lies about proposals and
votes are in ``sim_vote_lies``, those about view changes in ``sim_view_lies``.
"""

from collections import deque
from random import Random
from typing import Any, ClassVar, Protocol

from msgspec.structs import replace

from node.consensus.messages import (
    BatchReply,
    BatchRequest,
    BlockReply,
    BlockRequest,
    Forward,
    Message,
    Proposal,
    Recollection,
    Signed,
    Status,
)
from node.errors import CodecError
from node.model.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, TAG_VOTE
from node.model.transaction import Transaction, decode_transaction
from testnet.sim_world import MS, kind_of


class Villain(Protocol):
    """A Byzantine member as its lies see it. ``epoch``, ``view``, ``height``: where its honest inside says it stands.
    ``heard``: the newest messages that reached it; ``said``: the newest of its own; ``clients``: all clients' keys."""

    index: int
    chain: bytes
    epoch: int
    view: int
    height: int
    others: list[int]
    clients: list[bytes]
    dice: Random
    heard: deque[Message]
    said: deque[Message]

    def sign(self, value: tuple[Any, ...]) -> Signed:
        """Any statement at all, signed with the member's key; ``value`` is (kind, chain, epoch, view, ...)."""
        ...

    def tell(self, to: int, message: Message, delay: int = 0) -> None:
        """Send, past all lies, after ``delay`` microseconds."""
        ...


class Lie:
    """One way to lie, in its base form: the truth."""

    name: ClassVar[str]

    def __init__(self, villain: Villain) -> None:
        self.villain = villain
        self.dice = villain.dice

    def outgoing(self, to: int, message: Message) -> Message | None:
        """What goes to ``to`` in place of ``message``."""
        return message

    def incoming(self, peer: int, message: Message) -> Message | None:
        """What the honest inside gets in place of ``message``."""
        return message

    def refuses(self, tx: Transaction) -> bool:
        """Whether a client's transaction is to be ignored."""
        return False

    def act(self) -> None:
        """Called now and then."""

    def some(self) -> frozenset[int]:
        """Some of the others: at least one, perhaps all."""
        count = self.dice.randint(1, len(self.villain.others))
        return frozenset(self.dice.sample(self.villain.others, count))


class Silence(Lie):
    """Says nothing to some, or nothing of one kind (checklist 6)."""

    name = "silence"
    KINDS: ClassVar = ("proposal", "prepare", "commit", "view-change", "new-view", "blockreply", "batchreply", "status")

    def __init__(self, villain: Villain) -> None:
        super().__init__(villain)
        self._redraw()

    def _redraw(self) -> None:
        self._deaf = self.some()
        self._kinds = frozenset(self.dice.sample(self.KINDS, self.dice.choice((1, 2, len(self.KINDS)))))

    def outgoing(self, to: int, message: Message) -> Message | None:
        return None if to in self._deaf and kind_of(message) in self._kinds else message

    def act(self) -> None:
        if self.dice.random() < 0.1:
            self._redraw()


class Delay(Lie):
    """Says what it has to say, just before the others' patience ends (checklist 33)."""

    name = "delay"

    def __init__(self, villain: Villain) -> None:
        super().__init__(villain)
        self._delay_ms = self.dice.choice((150, 400, 800, 900, 950))
        self._kinds = self.dice.choice(
            (("proposal",), ("proposal", "pre-prepare"), ("new-view",), ("prepare", "commit"))
        )

    def outgoing(self, to: int, message: Message) -> Message | None:
        if kind_of(message) not in self._kinds:
            return message
        self.villain.tell(to, message, self._delay_ms * MS)
        return None


class Censorship(Lie):
    """Does not want to know of some clients' transactions (checklist 28, 32)."""

    name = "censorship"

    def __init__(self, villain: Villain) -> None:
        super().__init__(villain)
        self.victims = frozenset(self.dice.sample(villain.clients, self.dice.randint(1, len(villain.clients))))

    def _passed(self, message: Message) -> Message | None:
        if not isinstance(message, Forward):
            return message
        left = tuple(raw for raw in message.transactions if not self._is_unwanted(raw))
        return Forward(left) if left else None

    def _is_unwanted(self, raw: bytes) -> bool:
        try:
            return decode_transaction(raw).payload.sender in self.victims
        except CodecError:
            return False

    def outgoing(self, to: int, message: Message) -> Message | None:
        return self._passed(message)

    def incoming(self, peer: int, message: Message) -> Message | None:
        return self._passed(message)

    def refuses(self, tx: Transaction) -> bool:
        return tx.payload.sender in self.victims


class FalseStatus(Lie):
    """Claims views and heights that are not so."""

    name = "false-status"

    def outgoing(self, to: int, message: Message) -> Message | None:
        if not isinstance(message, Status) or self.dice.random() < 0.3:
            return message
        far = self.dice.choice((-50, -1, 1, 3, 40, 10**6, 2**60))
        if self.dice.random() < 0.5:
            return replace(message, stored=max(0, message.stored + far))
        return replace(message, view=max(0, message.view + far))


class FalseReplies(Lie):
    """Corrupts or withholds what peers ask for: blocks, certificates, batches (checklist 40, 42)."""

    name = "false-replies"

    def outgoing(self, to: int, message: Message) -> Message | None:
        if self.dice.random() < 0.2:
            return message
        if isinstance(message, BlockReply):
            return self._blocks(message)
        if isinstance(message, BatchReply):
            return BatchReply(tuple(self._spoilt(batch) for batch in message.batches))
        return message

    def _blocks(self, message: BlockReply) -> Message | None:
        dice = self.dice
        blocks = list(message.blocks)
        place = dice.randrange(len(blocks))
        header, body, certificate = blocks[place]
        match dice.choice(("header", "body", "certificate", "newest", "nothing", "silence", "other", "order", "again")):
            case "header":
                blocks[place] = (self._spoilt(header), body, certificate)
            case "body":
                blocks[place] = (header, self._spoilt(body), certificate)
            case "certificate":
                blocks[place] = (header, body, self._spoilt(certificate))
            case "newest":
                del blocks[place + 1 :]
            case "nothing":
                blocks = []
            case "silence":
                return None
            case "other":
                blocks[place] = (header, body, dice.choice(message.blocks)[2])
            case "order":
                blocks.reverse()
            case "again":
                blocks.insert(place, blocks[place])
        return BlockReply(tuple(blocks))

    def _spoilt(self, data: bytes) -> bytes:
        if not data or self.dice.random() < 0.2:
            return self.dice.randbytes(40)
        place = self.dice.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << self.dice.randrange(8)]) + data[place + 1 :]


class FalseMemory(Lie):
    """Of those who ask what they have said it holds nothing, or what others said, or an old certificate (37)."""

    name = "false-memory"

    def outgoing(self, to: int, message: Message) -> Message | None:
        if not isinstance(message, Recollection):
            return message
        dice = self.dice
        match dice.choice(("nothing", "silence", "forged", "others", "no block", "other start")):
            case "silence":
                return None
            case "forged":
                forged = [replace(each, signature=dice.randbytes(SIGNATURE_BYTES)) for each in message.statements]
                return replace(message, statements=tuple(forged))
            case "others":
                said = [each for each in (*self.villain.heard, *self.villain.said) if isinstance(each, Signed)]
                return replace(message, statements=tuple(replace(each, sender=to) for each in said[-20:]))
            case "no block":
                return replace(message, certificate=dice.choice((b"", dice.randbytes(60))))
            case "other start":
                return replace(message, start=message.start + 1)
            case _:
                return replace(message, statements=())


class Replay(Lie):
    """Says again, to anybody, what it or others said long ago; and puts words in others' mouths."""

    name = "replay"

    def act(self) -> None:
        villain, dice = self.villain, self.dice
        if not villain.heard or not villain.said:
            return
        for _ in range(dice.randint(1, 6)):
            message = dice.choice(villain.heard if dice.random() < 0.6 else villain.said)
            if isinstance(message, Signed) and dice.random() < 0.3:
                forged = dice.choice((villain.index, dice.choice(villain.others)))
                message = Signed(forged, message.data, dice.randbytes(SIGNATURE_BYTES))
            villain.tell(dice.choice(villain.others), message)


class Flood(Lie):
    """Much of it: garbage, duplicates, votes of a far future, bad signatures, requests (checklist 52, 55)."""

    name = "flood"
    BURST: ClassVar = 24

    def act(self) -> None:
        villain, dice = self.villain, self.dice
        target = dice.choice(villain.others)
        make = dice.choice((self._garbage, self._far, self._unsigned, self._request, self._again, self._transactions))
        for _ in range(dice.randint(1, self.BURST)):
            message = make()
            if message is not None:
                villain.tell(target, message)

    def _garbage(self) -> Message:
        data = self.dice.randbytes(self.dice.randint(0, 60))
        tag = TAG_VOTE if self.dice.random() < 0.5 else b""
        return Signed(self.villain.index, tag + data, self.dice.randbytes(SIGNATURE_BYTES))

    def _far(self) -> Message:
        villain, dice = self.villain, self.dice
        view = villain.view + dice.choice((0, 1, 10**6))
        height = villain.height + dice.choice((1, 17, 20, 33, 10**6))
        kind = dice.choice(("prepare", "commit", "pre-prepare"))
        return villain.sign((kind, villain.chain, villain.epoch, view, height, dice.randbytes(32)))

    def _unsigned(self) -> Message:
        villain, dice = self.villain, self.dice
        value = ("prepare", villain.chain, villain.epoch, villain.view, villain.height + 1, dice.randbytes(32))
        return replace(villain.sign(value), signature=dice.randbytes(SIGNATURE_BYTES))

    def _request(self) -> Message:
        if self.dice.random() < 0.5:
            return BlockRequest(self.dice.choice((1, 2, max(1, self.villain.height))))
        return BatchRequest(tuple(self.dice.randbytes(32) for _ in range(self.dice.randint(1, 40))))

    def _again(self) -> Message | None:
        mine = [message for message in self.villain.said if isinstance(message, Signed | Proposal)]
        return mine[-1] if mine else None

    def _transactions(self) -> Message:
        return Forward((self.dice.randbytes(PUBLIC_KEY_BYTES + SIGNATURE_BYTES),))
