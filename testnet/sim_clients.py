"""Clients that sign real transactions, submit them to any node, and try again elsewhere until they are in a block."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from node.model.genesis import Genesis
from node.model.transaction import Transaction, sign_transaction
from testnet.sim_workload import Workload
from testnet.sim_world import MS, SECOND, START_CLOCK_MS, Agenda, RememberedKey

RETRY = 2 * SECOND
MAX_OUTSTANDING = 40
LIFETIME_S = 100_000
"""Block time for which most transactions are good; some are given hardly any, and may expire."""


class Door(Protocol):
    """A gateway: a node that takes transactions in, or says so."""

    def submit(self, tx: Transaction) -> str: ...


class Clients:
    """All clients of one history."""

    def __init__(
        self,
        agenda: Agenda,
        dice: Random,
        genesis: Genesis,
        keys: list[RememberedKey],
        doors: Sequence[Door],
        homes: Sequence[Door],
        workload: Workload,
        pace_s: float,
    ) -> None:
        """``doors``: where to submit; ``homes``: those of them that a client may know alone, since they are correct."""
        self._agenda = agenda
        self._dice = dice
        self._genesis = genesis
        self._keys = keys
        self._doors = doors
        self._correct = homes
        self._workload = workload
        self._pace_s = pace_s
        self._nonces = [0] * len(keys)
        self._waiting: dict[bytes, Transaction] = {}
        self._slots: dict[tuple[bytes, int], list[bytes]] = {}
        # Some clients know one node only: what they want must find its way from there.
        self._homes = [dice.choice((None, None, *homes)) for _ in keys]
        self._stopped = False
        self._submitted_at: dict[bytes, int] = {}
        self.slowest_inclusion = 0
        """The longest, in virtual microseconds, from the submission to a correct node to a block; may be set back."""
        self.submitted = 0
        self.owed: list[bytes] = []
        """Ids of the transactions that must be in the chain at the end."""

    @property
    def waiting(self) -> int:
        """How many transactions are not known to be in a block."""
        return len(self._waiting)

    def begin(self) -> None:
        """Every client starts, or goes on."""
        self._stopped = False
        for client in range(len(self._keys)):
            self._pause(lambda client=client: self._act(client))  # type: ignore[misc]

    def stop(self) -> None:
        """No new transactions; what waits is still tried again."""
        self._stopped = True

    def included(self, tx: Transaction) -> None:
        """A transaction took effect; its rivals for the nonce never will."""
        since = self._submitted_at.pop(tx.id, None)
        if since is not None:
            self.slowest_inclusion = max(self.slowest_inclusion, self._agenda.now - since)
        for tx_id in self._slots.pop((tx.payload.sender, tx.payload.nonce), ()):
            self._waiting.pop(tx_id, None)

    def _pause(self, action: Callable[[], None]) -> None:
        self._agenda.after(int(self._dice.expovariate(1 / self._pace_s) * SECOND), action)

    def _act(self, client: int) -> None:
        if self._stopped:
            return
        burst = 25 if self._dice.random() < 0.05 else 1
        for _ in range(burst):
            if len(self._waiting) < MAX_OUTSTANDING:
                self._submit_new(client)
        self._pause(lambda: self._act(client))

    def _submit_new(self, client: int) -> None:
        dice = self._dice
        self._nonces[client] += 1
        block_time = self._genesis.block_time(START_CLOCK_MS + self._agenda.now // MS)
        short = dice.random() < 0.03
        not_after = block_time + (dice.randint(0, 2) if short else LIFETIME_S)
        rivals = 2 if dice.random() < 0.03 else 1
        for _ in range(rivals):
            contract, method, args = self._workload.next_call(client, dice, block_time)
            tx = sign_transaction(
                self._keys[client], self._genesis.chain, self._nonces[client], contract, method, args, not_after
            )
            self.submitted += 1
            if short:
                self._offer(client, tx)
                continue
            self._waiting[tx.id] = tx
            self._slots.setdefault((tx.payload.sender, tx.payload.nonce), []).append(tx.id)
            if rivals == 1:
                self.owed.append(tx.id)
            self._try(client, tx.id)

    def _try(self, client: int, tx_id: bytes) -> None:
        tx = self._waiting.get(tx_id)
        if tx is not None:
            self._offer(client, tx)
            self._agenda.after(RETRY, self._try, client, tx_id)

    def _offer(self, client: int, tx: Transaction) -> None:
        door = self._homes[client] or self._dice.choice(self._doors)
        code = door.submit(tx)
        if code == "ok" and door in self._correct:
            self._submitted_at.setdefault(tx.id, self._agenda.now)
