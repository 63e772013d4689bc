"""Who validates at which height, re-derived from the chain's transactions alone: the judge asks no node about it.

What governance promises (``docs/governance.md``) is written here a second time, as short as can be: a change takes the
approval of more than two thirds of the validators in force, one is scheduled at a time, and none takes effect nearer
than NOTICE heights above the block that decides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from node.model.codec import sha256
from node.model.epoch import Epoch, Validator
from node.model.genesis import Genesis
from node.model.receipt import Receipt
from node.model.transaction import Transaction

NOTICE: Final = 33


def member_name(machine: int) -> str:
    """What the chain calls the member that runs on this machine."""
    return f"n{machine}"


def machine_of(name: str) -> int:
    """The machine of the member with this name: it keeps it in every epoch, whatever its index is."""
    return int(name[1:])


def execution_order(parent_hash: bytes, transactions: Iterable[Transaction]) -> list[Transaction]:
    """The order in which a block's transactions take effect."""
    return sorted(transactions, key=lambda tx: (sha256(parent_hash, tx.payload.sender), tx.payload.nonce, tx.id))


@dataclass(slots=True)
class _Proposal:
    change: dict[str, Any]
    approvals: set[tuple[str, bytes]] = field(default_factory=set)


class EpochBooks:
    """All epochs of a chain, the scheduled one included. ``block`` is told of every block, in order."""

    def __init__(self, genesis: Genesis) -> None:
        self.epochs = [genesis.epoch]
        self._hashes = [genesis.epoch.hash]
        settings = genesis.contracts.get("governance", {})
        self._admins = {name: bytes.fromhex(key) for name, key in settings.get("admins", ())}
        self._proposals: list[_Proposal] = []

    def at(self, height: int) -> Epoch:
        """The epoch of the block at ``height``."""
        return next(epoch for epoch in reversed(self.epochs) if epoch.first_height <= height)

    def hash_at(self, height: int) -> bytes:
        """What headers bind the members at ``height`` by."""
        return self._hashes[self.at(height).number]

    def machine(self, epoch: int, index: int) -> int | None:
        """Whose index this is in an epoch; None if it is nobody's."""
        if not 0 <= epoch < len(self.epochs):
            return None
        members = self.epochs[epoch].members
        return machine_of(members[index].name) if 0 <= index < len(members) else None

    def key(self, epoch: int, machine: int) -> bytes | None:
        """The key that a machine signs with in an epoch; None if it is no member."""
        if not 0 <= epoch < len(self.epochs):
            return None
        name = member_name(machine)
        seat = next((member for member in self.epochs[epoch].members if member.name == name), None)
        return None if seat is None else bytes.fromhex(seat.public_key)

    def block(
        self, height: int, parent_hash: bytes, transactions: Sequence[Transaction], receipts: Sequence[Receipt]
    ) -> str | None:
        """The block at ``height`` is in the chain; None, or which promise of governance it breaks."""
        if not any(tx.payload.contract == "governance" for tx in transactions):
            return None
        codes = {receipt.tx_id: receipt.code for receipt in receipts}
        for tx in execution_order(parent_hash, transactions):
            if tx.payload.contract == "governance" and codes[tx.id] == "ok":
                fault = self._call(height, tx)
                if fault is not None:
                    return f"block {height}: {fault}"
        return None

    def _call(self, height: int, tx: Transaction) -> str | None:
        args = tx.payload.args
        if tx.payload.method == "propose":
            self._proposals.append(_Proposal(dict(args)))
            number = len(self._proposals) - 1
        elif tx.payload.method == "approve":
            number = args["proposal"]
        else:
            return f"governance was asked to {tx.payload.method}"
        proposal = self._proposals[number]
        enough = self.approve(proposal.approvals, height, tx.payload.sender)
        if enough is None:
            return "who is no admin of a validator decided about validators"
        return self._schedule(height, self.at(height), proposal.change) if enough else None

    def approve(self, approvals: set[tuple[str, bytes]], height: int, sender: bytes) -> bool | None:
        """Add to the ``approvals``, each (validator, its admin), those of a sender at ``height``: whether they are
        enough then; None if it decides for no validator."""
        seats = {(member.name, self._admins[member.name]) for member in self.at(height).members}
        own = {seat for seat in seats if seat[1] == sender}
        approvals |= own
        return 3 * len(approvals & seats) > 2 * len(seats) if own else None

    def _schedule(self, height: int, force: Epoch, change: dict[str, Any]) -> str | None:
        if self.epochs[-1] is not force:
            return "a second change was scheduled"
        if change["first_height"] < height + NOTICE:
            return f"a change was decided for height {change['first_height']}"
        name, members = change["name"], list(force.members)
        place = force.index_of(name)
        if (place is None) != (change["kind"] == "add"):
            return f"{change['kind']} {name} was decided, which cannot be done"
        if place is None:
            members.append(_seat(change))
            self._admins[name] = change["admin_key"]
        elif change["kind"] == "remove":
            del members[place]
        else:
            members[place] = _seat(change)
        self.epochs.append(Epoch(len(self.epochs), change["first_height"], tuple(members)))
        self._hashes.append(self.epochs[-1].hash)
        return None


def _seat(change: dict[str, Any]) -> Validator:
    return Validator(change["name"], change["public_key"].hex(), change["tls_certificate"].decode())
