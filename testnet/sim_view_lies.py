"""Lies about views: what was prepared, what is stored, who wants to leave, and what a new view starts with."""

from typing import Any

from node.consensus.messages import Message, Signed
from node.consensus.settings import WINDOW
from node.model.block import NULL_DIGEST
from node.model.certificate import decode_certificate, encode_certificate
from node.model.keys import SIGNATURE_BYTES
from testnet.sim_lies import Lie, Villain
from testnet.sim_world import value_of

Value = tuple[Any, ...]

_REMEMBERED = 64


class FalseViewChanges(Lie):
    """Leaves out what it prepared, shows old or false certificates; perhaps another lie to each (checklist 9-13)."""

    name = "false-view-changes"

    def __init__(self, villain: Villain) -> None:
        super().__init__(villain)
        self._old_certificates: list[bytes] = []

    def outgoing(self, to: int, message: Message) -> Message | None:
        value = _own(self.villain, message, "view-change")
        if value is None:
            return message
        kind, chain, epoch, view, stable, prepared = value
        if stable is not None and stable not in self._old_certificates:
            self._old_certificates = [*self._old_certificates[-_REMEMBERED:], stable]
        stable, prepared = self._lie(stable, prepared)
        return self.villain.sign((kind, chain, epoch, view, stable, prepared))

    def _lie(self, stable: bytes | None, prepared: Value) -> tuple[bytes | None, Value]:
        dice = self.dice
        match dice.choice(("nothing prepared", "less", "old", "none", "forged stable", "forged", "view", "digest")):
            case "nothing prepared":
                return stable, ()
            case "less":
                return stable, tuple(item for item in prepared if dice.random() < 0.5)
            case "old" if self._old_certificates:
                old = dice.choice(self._old_certificates)
                height = decode_certificate(old).height
                return old, tuple(item for item in prepared if height < item[1] <= height + WINDOW)
            case "none":
                return None, tuple(item for item in prepared if item[1] <= WINDOW)
            case "forged stable" if stable is not None:
                certificate = decode_certificate(stable)
                far = type(certificate)(
                    certificate.epoch,
                    certificate.view,
                    certificate.height + dice.choice((1, 5, 1000)),
                    dice.randbytes(32),
                    certificate.votes,
                )
                return encode_certificate(far), ()
            case "forged" if prepared:
                view, height, digest, _, prepares = prepared[0]
                return stable, ((view, height, digest, dice.randbytes(SIGNATURE_BYTES), prepares), *prepared[1:])
            case "view" if prepared:
                view, *rest = prepared[-1]
                return stable, (*prepared[:-1], (view + 1, *rest))
            case "digest" if prepared:
                view, height, _, *rest = prepared[-1]
                return stable, (*prepared[:-1], (view, height, dice.randbytes(32), *rest))
            case _:
                return stable, ()


class FalseNewViews(Lie):
    """As primary of a new view: drops, swaps or inserts proposals, or begins it twice, from two quorums (10)."""

    name = "false-new-views"

    def outgoing(self, to: int, message: Message) -> Message | None:
        value = _own(self.villain, message, "new-view")
        if value is None or self.dice.random() < 0.2:
            return message
        kind, chain, epoch, view, changes, proposals = value
        dice = self.dice
        match dice.choice(("drop", "swap", "insert", "other", "two quorums", "too few", "silence")):
            case "drop":
                proposals = proposals[:-1]
            case "swap" if len(proposals) > 1:
                first, second, *rest = proposals
                proposals = (
                    self._proposal(value, first[0], second[1]),
                    self._proposal(value, second[0], first[1]),
                    *rest,
                )
            case "insert":
                height = proposals[-1][0] + 1 if proposals else self.villain.height + 1
                proposals = (*proposals, self._proposal(value, height, NULL_DIGEST))
            case "other" if proposals:
                proposals = (self._proposal(value, proposals[0][0], dice.randbytes(32)), *proposals[1:])
            case "two quorums":
                changes, proposals = self._other_quorum(value)
            case "too few":
                changes = changes[:-1]
            case _:
                return None
        return self.villain.sign((kind, chain, epoch, view, changes, proposals))

    def _proposal(self, value: Value, height: int, digest: bytes) -> Value:
        _, chain, epoch, view, *_ = value
        return height, digest, self.villain.sign(("pre-prepare", chain, epoch, view, height, digest)).signature

    def _other_quorum(self, value: Value) -> tuple[Value, Value]:
        """As many genuine view changes as there were, others if it has heard others; its own shows nothing."""
        _, chain, epoch, view, changes, _ = value
        heard = {item[0]: item for item in changes}
        for message in self.villain.heard:
            if isinstance(message, Signed) and message.sender != self.villain.index:
                said = value_of(message.data)
                if said is not None and said[0] == "view-change" and said[2:4] == (epoch, view):
                    heard[message.sender] = (message.sender, message.data, message.signature)
        empty = self.villain.sign(("view-change", chain, epoch, view, None, ()))
        heard.pop(self.villain.index, None)
        count = min(len(heard), len(changes) - 1)
        chosen = [heard[member] for member in self.dice.sample(sorted(heard), count)]
        chosen.append((self.villain.index, empty.data, empty.signature))
        chosen.sort()
        return tuple(chosen), self._outcome(value, [value_of(item[1]) for item in chosen])

    def _outcome(self, value: Value, changes: list[Value | None]) -> Value:
        start, best = 0, dict[int, tuple[int, bytes]]()
        for change in changes:
            if change is None:
                continue
            if change[4] is not None:
                start = max(start, decode_certificate(change[4]).height)
            for view, height, digest, *_ in change[5]:
                best[height] = max(best.get(height, (-1, b"")), (view, digest))
        end = max((height for height in best if height > start), default=start)
        return tuple(
            self._proposal(value, height, best[height][1] if height in best else NULL_DIGEST)
            for height in range(start + 1, end + 1)
        )


class Unrest(Lie):
    """Wants other views all the time: the next one, and some far away (checklist 15)."""

    name = "unrest"

    def act(self) -> None:
        villain, dice = self.villain, self.dice
        if dice.random() < 0.5:
            signed = villain.sign(
                ("suspect", villain.chain, villain.epoch, villain.view + dice.choice((0, 0, 3, 10**6)))
            )
        else:
            view = villain.view + dice.choice((1, 1, 2, 4, 10**6))
            signed = villain.sign(("view-change", villain.chain, villain.epoch, view, None, ()))
        for other in self.some():
            villain.tell(other, signed)


def _own(villain: Villain, message: Message, kind: str) -> Value | None:
    """The villain's own statement of this kind in ``message``."""
    if not isinstance(message, Signed) or message.sender != villain.index:
        return None
    value = value_of(message.data)
    return value if value is not None and value[0] == kind else None
