"""The membership changes while all else goes wrong: admins propose and approve, nodes come, go, and get new keys.

Some histories have a *plan*: which changes, one after another. Each is proposed and approved by real transactions of
the members' admins, through any node, as often as it takes. A node that is added starts with nothing but the genesis,
sooner or later; one that is removed stops by itself; one with a new key has it beside the old one.

No epoch has more faulty members than its f. Who is removed may go when the others still lack the last block of its
epoch (it waits for 10 s, and does not start again): so it counts among the faulty ones of that epoch.
"""

import ssl
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

from chaincode.governance import ADD, REMOVE, ROTATE
from chaincode.validators import MIN_VALIDATORS
from node.consensus.quorum import max_faulty
from node.executor import Executor
from node.ledger.chain import Ledger
from testnet.sim_admins import NO_PROPOSAL, Admins, admin_key
from testnet.sim_epochs import member_name
from testnet.sim_world import MS, SECOND, Agenda, RememberedKey, Signatures

MEMBER_KINDS: Final = ("members",)
"""
members     validators are added, removed, given new keys
"""

MOST_ADDED: Final = 2
GOVERNED_SHARE: Final = 0.3
"""In so many histories members change."""


@dataclass(frozen=True, slots=True)
class Change:
    """``kind``: of the contract's; ``machine``: who is added, removed, or given a new key."""

    kind: str
    machine: int

    def __str__(self) -> str:
        return f"{self.kind} {member_name(self.machine)}"


def draw_plan(dice: Random, count: int, faulty: Collection[int]) -> list[Change]:
    """What changes in a history of ``count`` members. The ``faulty`` ones are at most f of every set."""
    present = list(range(count))
    plan: list[Change] = []
    for _ in range(dice.choice((1, 1, 2, 3))):
        options = [Change(ROTATE, dice.choice(present))]
        newcomer = max(*present, *[change.machine for change in plan], count - 1) + 1
        if newcomer < count + MOST_ADDED:
            options += [Change(ADD, newcomer)] * 2
        removable = [machine for machine in present if _may_go(machine, present, faulty)]
        if removable:
            who = 0 if 0 in removable and dice.random() < 0.4 else dice.choice(removable)
            options += [Change(REMOVE, who)] * 3
        change = dice.choice(options)
        if change.kind == ROTATE and change in plan:
            continue  # there is one next key for each
        plan.append(change)
        if change.kind == ADD:
            present.append(newcomer)
        elif change.kind == REMOVE:
            present.remove(change.machine)
    return plan


def _may_go(machine: int, present: Sequence[int], faulty: Collection[int]) -> bool:
    left = sum(other in faulty for other in present if other != machine)
    return len(present) > MIN_VALIDATORS and left <= max_faulty(len(present) - 1) and left < max_faulty(len(present))


def certificate(what: str) -> str:
    """Text in the form of a certificate; no simulated link looks into it."""
    body = what.encode().ljust(300, b".")
    return ssl.DER_cert_to_PEM_cert(b"\x30\x82" + len(body).to_bytes(2, "big") + body)


class Machine(Protocol):
    """A node as admins and operators see it. ``keys``: what it signs with, the newest last; ``in_service``: whether it
    is to run at all."""

    index: int
    keys: list[RememberedKey]
    in_service: bool

    def start(self) -> None: ...


class Council:
    """The admins who decide about members, and the operators of nodes that come."""

    def __init__(
        self,
        plan: Sequence[Change],
        agenda: Agenda,
        dice: Random,
        admins: Admins,
        signatures: Signatures,
        machines: Sequence[Machine],
        say: Callable[[str], None],
    ) -> None:
        """``machines``: all nodes."""
        self._plan = plan
        self._agenda = agenda
        self._dice = dice
        self._admins = admins
        self._next_keys = {node.index: signatures.signer(bytes([4, node.index]) * 16) for node in machines}
        self._machines = machines
        self._say = say
        self._begun = 0
        self._came: set[int] = set()
        self._wanted = len(plan)

    def begin(self) -> None:
        """The admins meet, some time from now."""
        if self._plan:
            self._admins.convene(self._meet)

    def heal(self) -> None:
        """No more changes than the first, and the one that was begun; whoever was to come, comes."""
        self._wanted = min(len(self._plan), max(1, self._begun))
        for change in self._plan[: self._begun]:
            self._enter(change)

    @property
    def is_done(self) -> bool:
        """Whether all changes that are wanted are in force."""
        if not self._plan:
            return True
        node = self._admins.best
        if node is None or node.ledger is None:
            return False
        ledger = node.ledger
        epochs = ledger.epochs()
        return len(epochs) > self._wanted and epochs[-1].first_height <= ledger.head.height + 1

    def _meet(self, ledger: Ledger, executor: Executor) -> int:
        """Do what is next; returns after how many microseconds to look again."""
        epochs = ledger.epochs()
        if epochs[-1].first_height > ledger.head.height + 1:  # scheduled: blocks are wanted, and this makes some
            name = self._dice.choice(epochs[-2].members).name
            self._admins.submit(ledger, name, "governance", "approve", proposal=NO_PROPOSAL, digest=b"")
            return 60 * MS
        done = len(epochs) - 1
        if done >= self._wanted:
            return SECOND
        names = [member.name for member in epochs[-1].members]
        change = self._plan[done]
        if done == self._begun:
            self._prepare(change)
        rows: Any = executor.query("governance", "proposals", {})
        mine = next((row for row in rows if row[2:4] == (change.kind, member_name(change.machine))), None)
        if mine is None:
            args = {"first_height": self._admins.first_height(ledger), **self._arguments(change)}
            self._admins.submit(ledger, self._dice.choice(names), "governance", "propose", **args)
        else:
            for name in mine[12]:
                if self._dice.random() < 0.8:
                    self._admins.submit(ledger, name, "governance", "approve", proposal=mine[0], digest=mine[1])
        return 300 * MS

    def _prepare(self, change: Change) -> None:
        self._begun += 1
        self._say(f"the admins want to {change}")
        node = self._machines[change.machine]
        if change.kind == ROTATE:
            node.keys.append(self._next_keys[change.machine])
        elif change.kind == ADD:
            late = self._dice.choice((0.0, 0.0, 3.0, 20.0))
            self._agenda.after(int(self._dice.random() * late * SECOND), self._enter, change)

    def _enter(self, change: Change) -> None:
        node = self._machines[change.machine]
        if change.kind == ADD and change.machine not in self._came:
            self._came.add(change.machine)
            node.in_service = True
            node.start()

    def _arguments(self, change: Change) -> dict[str, Any]:
        name = member_name(change.machine)
        base: dict[str, Any] = {"kind": change.kind, "name": name}
        if change.kind == REMOVE:
            return base
        key = self._machines[change.machine].keys[-1]
        label = name if change.kind == ADD else f"next {name}"
        base = {**base, "public_key": key.public_key, "tls_certificate": certificate(label).encode()}
        if change.kind == ADD:
            base |= {"admin_key": self._admins.key(name).public_key, "address": f"{name}.example:7501"}
        return base


def governance_settings(signatures: Signatures, count: int) -> dict[str, Any]:
    """The contract's part of the genesis."""
    return {"admins": [[member_name(each), admin_key(signatures, each).public_key.hex()] for each in range(count)]}
