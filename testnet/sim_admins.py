"""The admins of all members: they look at a node that has got far, and send transactions through any door."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, Protocol

from node.executor import Executor
from node.ledger.chain import Ledger
from node.model.genesis import Genesis
from node.model.transaction import sign_transaction
from testnet.sim_clients import LIFETIME_S, Door
from testnet.sim_epochs import NOTICE, member_name
from testnet.sim_world import SECOND, START_CLOCK_MS, Agenda, RememberedKey, Signatures

NO_PROPOSAL: Final = 1 << 40
"""The number of no proposal: who approves it makes a block, and nothing else."""
_LEEWAY: Final = 2
"""Heights that a vote takes at least."""
_MOST_AHEAD: Final = 24
"""Nonces that an admin has used above the highest that a block has."""
_JOINT_LEEWAY: Final = 15
"""So many more that two votes take."""


def admin_key(signatures: Signatures, machine: int) -> RememberedKey:
    """The key of the admin of the member on this machine."""
    return signatures.signer(bytes([3, machine]) * 16)


class Witness(Protocol):
    """A node as admins see it."""

    index: int
    ledger: Ledger | None
    executor: Executor | None

    def ask(self, question: Callable[[], None]) -> None: ...


class Admins:
    """What all of them together do. ``is_joint``: what is proposed about one thing takes effect at the height that was
    last named for another, if that can be."""

    def __init__(
        self,
        agenda: Agenda,
        dice: Random,
        genesis: Genesis,
        signatures: Signatures,
        machines: Sequence[Witness],
        correct: Sequence[Witness],
        doors: Sequence[Door],
        *,
        is_joint: bool = False,
    ) -> None:
        """``machines``: all nodes; ``correct``: those that admins believe; ``doors``: where to submit."""
        self._agenda = agenda
        self._dice = dice
        self._genesis = genesis
        self._keys = {member_name(node.index): admin_key(signatures, node.index) for node in machines}
        self._correct = correct
        self._doors = doors
        self._is_joint = is_joint
        self._named_height = 0
        self._first_delay: int | None = None
        self._nonces = dict.fromkeys(self._keys, 0)

    def key(self, name: str) -> RememberedKey:
        """The key of a member's admin."""
        return self._keys[name]

    def convene(self, meet: Callable[[Ledger, Executor], int]) -> None:
        """Call ``meet`` with what a node knows, some time from now, and again after as many microseconds as it says."""
        if self._first_delay is None or not self._is_joint:
            self._first_delay = int(self._dice.uniform(0.2, 2.0) * SECOND)
        self._agenda.after(self._first_delay, self._act, meet)

    @property
    def best(self) -> Witness | None:
        """The node that has got furthest, of those that are up."""
        up = [node for node in self._correct if node.ledger is not None]
        return max(up, key=lambda node: node.ledger.head.height if node.ledger is not None else 0, default=None)

    def first_height(self, ledger: Ledger) -> int:
        """From which height on that which is proposed now is to be."""
        nearest = ledger.head.height + NOTICE
        if not self._is_joint or self._named_height < nearest + _LEEWAY:
            self._named_height = nearest + self._dice.randint(4, 15) + (_JOINT_LEEWAY if self._is_joint else 0)
        return self._named_height

    def submit(self, ledger: Ledger, admin: str, contract: str, method: str, **args: Any) -> None:
        """Send a transaction of the admin of the member with this name; ``ledger``: of the node that they look at."""
        used = ledger.highest_nonce(self._keys[admin].public_key)
        # What was lost with the nodes that had it leaves a gap; and where nothing is executed, not too much is to wait.
        self._nonces[admin] = used + 1 if self._nonces[admin] >= used + _MOST_AHEAD else self._nonces[admin] + 1
        not_after = self._genesis.block_time(START_CLOCK_MS + self._agenda.now // 1000) + LIFETIME_S
        tx = sign_transaction(
            self._keys[admin], self._genesis.chain, self._nonces[admin], contract, method, args, not_after
        )
        for door in self._dice.sample(self._doors, 2):
            door.submit(tx)

    def _act(self, meet: Callable[[Ledger, Executor], int]) -> None:
        delay = SECOND
        node = self.best

        def ask() -> None:
            nonlocal delay
            if node is not None and node.ledger is not None and node.executor is not None:
                delay = meet(node.ledger, node.executor)

        if node is not None:
            node.ask(ask)
        self._agenda.after(delay, self._act, meet)
