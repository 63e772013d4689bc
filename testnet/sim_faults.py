"""What goes wrong in a history, and when: drawn from the seed's dice, from the kinds that were asked for."""

from random import Random
from typing import Final, Protocol

from testnet.sim_world import MS, SECOND, Agenda, Network

KINDS: Final = ("loss", "delay", "duplicate", "mute", "partition", "crash", "power", "pause", "clock")
"""
loss        messages vanish
delay       some take up to seconds, and so overtake one another
duplicate   some arrive twice
mute        for a while, one kind of message does not reach some of the nodes: they miss a phase of the protocol
            that may have ended for one of them alone
partition   links are cut for seconds, in both directions or in one
crash       a node dies at a random operation (disk or network), with or without what it had not synced, and comes back
power       all nodes die at once
pause       a node stands still, and then goes on where it was
clock       clocks differ; now and then one is far off
"""


class Sufferer(Protocol):
    """A node as the faults see it."""

    paused: bool
    clock_skew_ms: int

    @property
    def is_up(self) -> bool: ...

    def start(self) -> None: ...

    def resume(self) -> None: ...

    def crash(self, *, power_loss: bool) -> None: ...

    def light_fuse(self, operations: int | None, *, disk_only: bool = False) -> None: ...


class Faults:
    """Makes things go wrong until ``heal``."""

    def __init__(
        self, kinds: frozenset[str], agenda: Agenda, dice: Random, network: Network, nodes: list[Sufferer], count: int
    ) -> None:
        """``count``: how many members there are; twins make more nodes of them."""
        self._kinds = kinds
        self._count = count
        self._agenda = agenda
        self._dice = dice
        self._network = network
        self._nodes = nodes
        self._over = False

    def begin(self) -> None:
        """Set the weather, and put the first trouble on the agenda."""
        dice, weather = self._dice, self._network.weather
        # Each history has its own mixture: with everything at once, some states would never be reached.
        if "loss" in self._kinds and dice.random() < 0.5:
            weather.loss = dice.choice((0.01, 0.05, 0.2))
        if "duplicate" in self._kinds and dice.random() < 0.5:
            weather.duplicate = dice.choice((0.05, 0.3))
        if "delay" in self._kinds and dice.random() < 0.6:
            weather.slow = dice.choice((0.01, 0.05, 0.3))
            weather.slow_delay = int(dice.choice((0.1, 0.5, 2.0)) * SECOND)
            weather.jitter = dice.choice((1, 10, 60)) * MS
        if "clock" in self._kinds:
            for node in self._nodes:
                node.clock_skew_ms = dice.randint(-900, 900)
        calm = dice.choice((0.3, 1.0, 1.0, 2.0))
        for kind, action, mean_s in (
            ("mute", self._mute, 1.0),
            ("mute", self._orphan, 2.5),
            ("partition", self._partition, 2.0),
            ("crash", self._crash, 2.0),
            ("power", self._power, 12.0),
            ("pause", self._pause, 4.0),
            ("clock", self._clock, 10.0),
        ):
            if kind in self._kinds and dice.random() < 0.7:
                self._again(action, mean_s * calm)

    def heal(self) -> None:
        """No more trouble: links and clocks are right, and whoever is down is started."""
        self._over = True
        self._network.heal()
        for node in self._nodes:
            node.clock_skew_ms = max(-400, min(400, node.clock_skew_ms))
            node.light_fuse(None)
            if node.paused:
                node.resume()
            if not node.is_up:
                node.start()

    def _again(self, action: "Trouble", mean_s: float) -> None:
        self._agenda.after(int(self._dice.expovariate(1 / mean_s) * SECOND), self._strike, action, mean_s)

    def _strike(self, action: "Trouble", mean_s: float) -> None:
        if not self._over:
            action()
            self._again(action, mean_s)

    def _mute(self) -> None:
        dice = self._dice
        kind = dice.choice(("proposal", "prepare", "commit", "commit", "view-change", "new-view", "forward"))
        deaf = frozenset(node for node in range(self._count) if dice.random() < 0.7)
        muted = (kind, deaf)
        self._network.weather.muted.append(muted)
        self._agenda.after(int(dice.uniform(0.1, 3.0) * SECOND), self._unmute, muted)

    def _orphan(self) -> None:
        """One node alone comes to know of a decision, and cannot tell: what it knows, a view change must bring back."""
        dice, count = self._dice, self._count
        knower = dice.randrange(count)
        others = frozenset(range(count)) - {knower}
        muted = (dice.choice(("prepare", "commit")), others)
        links = [(knower, other) for other in others]
        self._network.weather.muted.append(muted)
        self._network.block(links)
        length = dice.uniform(1.5, 8.0)
        self._agenda.after(int(dice.uniform(1.0, length) * SECOND), self._unmute, muted)
        self._agenda.after(int(length * SECOND), self._network.unblock, links)

    def _unmute(self, muted: tuple[str, frozenset[int]]) -> None:
        if muted in self._network.weather.muted:
            self._network.weather.muted.remove(muted)

    def _partition(self) -> None:
        dice, count = self._dice, self._count
        if dice.random() < 0.5:  # two sides
            side = {node for node in range(count) if dice.random() < 0.5}
            links = [(a, b) for a in range(count) for b in range(count) if (a in side) != (b in side)]
            if dice.random() < 0.3:
                links = [(a, b) for a, b in links if a in side]
        else:  # single directed links
            links = [(a, b) for a in range(count) for b in range(count) if a != b and dice.random() < 0.3]
        self._network.block(links)
        self._agenda.after(int(dice.uniform(0.2, 6.0) * SECOND), self._network.unblock, links)

    def _crash(self) -> None:
        node = self._dice.choice(self._nodes)
        if node.is_up:
            if self._dice.random() < 0.5:
                node.light_fuse(self._dice.randint(0, 16), disk_only=True)
            else:
                node.light_fuse(self._dice.randint(0, 60))

    def _power(self) -> None:
        for node in self._nodes:
            node.crash(power_loss=True)

    def _pause(self) -> None:
        node = self._dice.choice(self._nodes)
        if node.is_up and not node.paused:
            node.paused = True
            self._agenda.after(int(self._dice.uniform(0.1, 4.0) * SECOND), self._resume, node)

    def _resume(self, node: Sufferer) -> None:
        if node.paused:
            node.resume()

    def _clock(self) -> None:
        node = self._dice.choice(self._nodes)
        node.clock_skew_ms = self._dice.choice((-600_000, -5_000, 5_000, 600_000))
        self._agenda.after(int(self._dice.uniform(0.5, 5.0) * SECOND), self._set_clock, node)

    def _set_clock(self, node: Sufferer) -> None:
        node.clock_skew_ms = self._dice.randint(-400, 400)


class Trouble(Protocol):
    """One kind of fault strikes."""

    def __call__(self) -> None: ...
