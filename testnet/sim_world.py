"""Virtual time, the fake network, and signatures that are made once and remembered.

One thread, one agenda, one set of dice: the same seed gives the same history, event by event.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any

from node.consensus.messages import Message, Signed
from node.errors import CodecError
from node.model.codec import decode_trusted
from node.model.keys import TAG_VOTE, SigningKey, verify

MS = 1000
SECOND = 1_000_000
"""Virtual time is counted in microseconds."""

START_CLOCK_MS = 1_760_000_000_000
"""What correct clocks show when a history begins."""

_STATEMENT_FIELDS = 4


class Agenda:
    """What is to happen when."""

    def __init__(self) -> None:
        self.now = 0
        self.done = 0
        self._events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._events)

    def after(self, delay: int, action: Callable[..., None], *args: Any) -> None:
        """Call ``action(*args)`` ``delay`` microseconds from now."""
        self._count += 1
        heappush(self._events, (self.now + delay, self._count, action, args))

    def run_next(self) -> None:
        """Go on to the next event and let it happen."""
        self.done += 1
        self.now, _, action, args = heappop(self._events)
        action(*args)


class Signatures:
    """Real Ed25519 signatures. Each is checked at most once, however many simulated replicas check it."""

    def __init__(self) -> None:
        self._answers: dict[tuple[bytes, bytes, bytes], bool] = {}

    def signer(self, seed: bytes) -> "RememberedKey":
        """The key made from a 32-byte seed."""
        return RememberedKey(SigningKey(seed), self._answers)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """A ``node.model.keys.Verify``."""
        triple = (public_key, message, signature)
        answer = self._answers.get(triple)
        if answer is None:
            answer = self._answers[triple] = verify(public_key, message, signature)
        return answer


class RememberedKey:
    """A ``Signer``; what it signs is known to be good."""

    def __init__(self, key: SigningKey, answers: dict[tuple[bytes, bytes, bytes], bool]) -> None:
        self._key = key
        self._answers = answers
        self.public_key = key.public_key

    def sign(self, message: bytes) -> bytes:
        signature = self._key.sign(message)
        self._answers[self.public_key, message, signature] = True
        return signature


@dataclass(slots=True)
class Weather:
    """How the network behaves: probabilities per message, delays in microseconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    slow: float = 0.0
    base_delay: int = 2 * MS
    jitter: int = 8 * MS
    slow_delay: int = 2 * SECOND
    blocked: dict[tuple[int, int], int] = field(default_factory=dict)
    """Directed links that carry nothing, and how many partitions cut each."""
    muted: list[tuple[str, frozenset[int]]] = field(default_factory=list)
    """Kinds of messages (``kind_of``) and the nodes that they do not reach."""


def kind_of(message: Message) -> str:
    """The kind of a signed statement ("prepare", "view-change", ...), or the message's own name in lower case."""
    if isinstance(message, Signed):
        value = value_of(message.data)
        return "garbage" if value is None else str(value[0])
    return type(message).__name__.lower()


@functools.lru_cache(maxsize=8192)
def value_of(data: bytes) -> tuple[Any, ...] | None:
    """What a signed statement says: (kind, chain, epoch, view, ...); None if it is no statement at all."""
    try:
        value: Any = decode_trusted(data[len(TAG_VOTE) :])
    except CodecError:
        return None
    is_statement = data.startswith(TAG_VOTE) and type(value) is tuple and len(value) >= _STATEMENT_FIELDS
    return value if is_statement else None


class Network:
    """Carries messages between nodes: late, twice, out of order, or not at all."""

    def __init__(self, agenda: Agenda, dice: Random, deliver: Callable[[int, int, Message], None]) -> None:
        self._agenda = agenda
        self._dice = dice
        self._deliver = deliver
        self.weather = Weather()
        self.sent = 0
        self.lost = 0

    def send(self, sender: int, to: int, message: Message) -> None:
        """Put a message on its way."""
        weather, dice = self.weather, self._dice
        self.sent += 1
        if (sender, to) in weather.blocked or dice.random() < weather.loss:
            self.lost += 1
            return
        if weather.muted:
            kind = kind_of(message)
            if any(kind == muted and to in deaf for muted, deaf in weather.muted):
                self.lost += 1
                return
        copies = 2 if dice.random() < weather.duplicate else 1
        for _ in range(copies):
            delay = weather.base_delay + int(dice.random() * weather.jitter)
            if dice.random() < weather.slow:
                delay += int(dice.random() * weather.slow_delay)
            self._agenda.after(delay, self._arrive, sender, to, message)

    def block(self, links: list[tuple[int, int]]) -> None:
        """Cut directed links until ``unblock`` is called as often."""
        for link in links:
            self.weather.blocked[link] = self.weather.blocked.get(link, 0) + 1

    def unblock(self, links: list[tuple[int, int]]) -> None:
        """Undo one ``block``."""
        for link in links:
            left = self.weather.blocked.get(link, 0) - 1
            if left > 0:
                self.weather.blocked[link] = left
            else:
                self.weather.blocked.pop(link, None)

    def heal(self) -> None:
        """Fair weather from now on; what is under way still arrives as it was sent."""
        self.weather = Weather()

    def _arrive(self, sender: int, to: int, message: Message) -> None:
        if (sender, to) in self.weather.blocked:
            self.lost += 1
            return
        self._deliver(sender, to, message)
