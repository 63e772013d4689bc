"""Lies about proposals and votes: two of them where there may be one, bad ones, and agreeing with everybody."""

from typing import Any, ClassVar

from node.consensus.messages import Message, Proposal, Signed
from node.errors import CodecError
from node.model.block import NULL_DIGEST, Batch, DecodedBatch, batch_digest, decode_batch, encode_batch
from node.model.codec import sha256
from node.model.keys import SIGNATURE_BYTES
from testnet.sim_lies import Lie, Villain
from testnet.sim_world import value_of

_REMEMBERED = 256


class Equivocation(Lie):
    """As primary: one proposal for some, another one for the others (checklist 5)."""

    name = "equivocation"

    def __init__(self, villain: Villain) -> None:
        super().__init__(villain)
        self._second: dict[bytes, tuple[frozenset[int], Proposal]] = {}

    def outgoing(self, to: int, message: Message) -> Message | None:
        if isinstance(message, Proposal):
            if message.pre_prepare.data not in self._second and self.dice.random() < 0.5:
                self._remember(message)
            fooled, second = self._second.get(message.pre_prepare.data, (frozenset(), message))
            return second if to in fooled else message
        if isinstance(message, Signed) and message.data in self._second:
            fooled, second = self._second[message.data]
            return second.pre_prepare if to in fooled else message
        return message

    def _remember(self, message: Proposal) -> None:
        second = self._other(message)
        if second is not None:
            self._second[message.pre_prepare.data] = (self.some(), second)
            if len(self._second) > _REMEMBERED:
                del self._second[next(iter(self._second))]

    def _other(self, message: Proposal) -> Proposal | None:
        decoded = decode_batch(message.batch)
        batch = decoded.batch
        change = self.dice.choice(("time", "fewer", "order"))
        if change == "fewer" and batch.transactions:
            other = _changed(batch, transactions=batch.transactions[1:])
        elif change == "order" and len(batch.transactions) > 1:
            other = _changed(batch, transactions=tuple(reversed(batch.transactions)))
        else:
            other = _changed(batch, time=batch.time + 1)
        return _proposal(self.villain, message, other)


class TwoVotes(Lie):
    """As backup: votes for one thing to some and for another to the others; as anyone, for blocks that do not exist."""

    name = "two-votes"

    def __init__(self, villain: Villain) -> None:
        super().__init__(villain)
        self._fooled = self.some()
        self._rivals: dict[tuple[str, int, int], list[bytes]] = {}
        self._second: dict[bytes, Signed] = {}

    def outgoing(self, to: int, message: Message) -> Message | None:
        if not isinstance(message, Signed) or message.sender != self.villain.index or to not in self._fooled:
            return message
        value = value_of(message.data)
        if value is None or value[0] not in ("prepare", "commit"):
            return message
        second = self._second.get(message.data)
        if second is None:
            rivals = [digest for digest in self._rivals.get((value[0], value[3], value[4]), ()) if digest != value[5]]
            digest = self.dice.choice(rivals) if rivals else self.dice.randbytes(32)
            second = self._second[message.data] = self.villain.sign((*value[:5], digest))
            if len(self._second) > _REMEMBERED:
                del self._second[next(iter(self._second))]
        return second

    def incoming(self, peer: int, message: Message) -> Message | None:
        signed = message.pre_prepare if isinstance(message, Proposal) else message
        value = value_of(signed.data) if isinstance(signed, Signed) else None
        if value is not None and value[0] in ("pre-prepare", "prepare", "commit"):
            kind = "commit" if value[0] == "commit" else "prepare"
            self._rivals.setdefault((kind, value[3], value[4]), []).append(value[5])
            if len(self._rivals) > _REMEMBERED:
                del self._rivals[next(iter(self._rivals))]
        return message


class Accomplice(Lie):
    """Agrees with whatever anybody says: so any two groups may each have a quorum with it."""

    name = "accomplice"

    def __init__(self, villain: Villain) -> None:
        super().__init__(villain)
        self._seconded: dict[bytes, None] = {}

    def incoming(self, peer: int, message: Message) -> Message | None:
        signed = message.pre_prepare if isinstance(message, Proposal) else message
        if isinstance(signed, Signed) and signed.sender != self.villain.index:
            value = value_of(signed.data)
            if value is not None:
                self._second(value)
        return message

    def _second(self, value: tuple[Any, ...]) -> None:
        kind, chain, epoch, view, *rest = value
        is_primary = view % (len(self.villain.others) + 1) == self.villain.index
        if kind == "pre-prepare" or (kind == "prepare" and not is_primary):
            agreed: tuple[Any, ...] = ("prepare", chain, epoch, view, *rest)
        elif kind == "commit":
            agreed = value
        elif kind == "view-change":
            agreed = (kind, chain, epoch, view, None, ())
        else:
            return
        signed = self.villain.sign(agreed)
        if signed.data in self._seconded:
            return
        self._seconded[signed.data] = None
        if len(self._seconded) > _REMEMBERED:
            del self._seconded[next(iter(self._seconded))]
        for other in self.villain.others:
            if self.dice.random() < 0.8:
                self.villain.tell(other, signed)


class BadProposals(Lie):
    """As primary: batches that nobody should vote for (checklist 7, 57)."""

    name = "bad-proposals"
    CHANGES: ClassVar = (
        "time",
        "a little time",
        "garbage",
        "bad signature",
        "other chain",
        "twice",
        "other proposer",
        "other body",
        "null",
        "bad pre-prepare",
    )

    def __init__(self, villain: Villain) -> None:
        super().__init__(villain)
        self._bad: dict[bytes, Proposal] = {}

    def outgoing(self, to: int, message: Message) -> Message | None:
        if isinstance(message, Signed) and message.data in self._bad:
            return self._bad[message.data].pre_prepare
        if not isinstance(message, Proposal):
            return message
        data = message.pre_prepare.data
        if data not in self._bad:
            if self.dice.random() < 0.5:
                return message
            self._bad[data] = self._spoilt(message) or message
            if len(self._bad) > _REMEMBERED:
                del self._bad[next(iter(self._bad))]
        return self._bad[data]

    def _spoilt(self, message: Proposal) -> Proposal | None:
        dice = self.dice
        batch = decode_batch(message.batch).batch
        first = batch.transactions[0] if batch.transactions else dice.randbytes(80)
        match dice.choice(self.CHANGES):
            case "time":
                batch = _changed(batch, time=max(0, batch.time + dice.choice((-(10**6), -600, 600, 10**6, 2**62))))
            case "a little time":
                batch = _changed(batch, time=batch.time + dice.choice((-3, -2, 2, 3)))
            case "garbage":
                batch = _changed(batch, transactions=(*batch.transactions, dice.randbytes(dice.randint(0, 90))))
            case "bad signature":  # perhaps of a transaction that everybody knows, rightly signed
                batch = _changed(
                    batch, transactions=(*batch.transactions[1:], dice.randbytes(SIGNATURE_BYTES) + first[64:])
                )
            case "other chain":
                batch = _changed(batch, chain=dice.randbytes(32))
            case "twice":
                batch = _changed(batch, transactions=(first, first))
            case "other proposer":
                batch = _changed(batch, proposer=dice.choice(self.villain.others))
            case "other body":
                return Proposal(message.pre_prepare, encode_batch(_changed(batch, time=batch.time + 1)))
            case "null":
                return Proposal(_pre_prepare(self.villain, message, NULL_DIGEST), b"")
            case _:
                forged = dice.randbytes(SIGNATURE_BYTES)
                return Proposal(Signed(message.pre_prepare.sender, message.pre_prepare.data, forged), message.batch)
        return _proposal(self.villain, message, batch)


def _changed(batch: Batch, **changes: Any) -> Batch:
    fields = {name: getattr(batch, name) for name in batch.__struct_fields__}
    return Batch(**{**fields, **changes})


def _proposal(villain: Villain, message: Proposal, batch: Batch) -> Proposal | None:
    """``message`` with another batch, signed."""
    try:
        raw = encode_batch(batch)
    except OverflowError:
        return None
    return Proposal(_pre_prepare(villain, message, _digest(batch, raw)), raw)


def _digest(batch: Batch, raw: bytes) -> bytes:
    """What the batch is called; of one that cannot be decoded, what it might be called."""
    try:
        decoded: DecodedBatch = decode_batch(raw)
        return decoded.digest
    except CodecError:
        return batch_digest(batch, [sha256(tx) for tx in batch.transactions])


def _pre_prepare(villain: Villain, message: Proposal, digest: bytes) -> Signed:
    value = value_of(message.pre_prepare.data)
    assert value is not None  # it is the own node's
    return villain.sign((*value[:5], digest))
