"""By whose code each block is to be executed, re-derived from the chain's transactions alone.

What upgrades promise (``docs/upgrades.md``) is written here a second time, as short as can be: one takes the approval
of more than two thirds of the validators in force, one is scheduled at a time, none takes effect nearer than NOTICE
heights above the block that decides, and until then it may be called off. The first block at or after its height that
runs hooks is its own; if its migration fails, nothing changes. Who executes a block must have the code for it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chaincode.contract import Event
from node.model.receipt import Receipt
from node.model.transaction import Transaction
from testnet.sim_epochs import NOTICE, EpochBooks, execution_order

_OUTCOMES: Final = ("upgrade-active", "upgrade-failed")


@dataclass(slots=True)
class _Motion:
    """What was proposed: an upgrade, or (``calls_off``) that the one with this digest is not to be."""

    name: str
    digest: bytes
    first_height: int
    calls_off: bool
    approvals: set[tuple[str, bytes]] = field(default_factory=set)


class UpgradeBooks:
    """All upgrades of a chain. ``block`` is told of every block, in order. In a history all of them are about the same
    contracts: the newest has taken over what those before it were."""

    def __init__(self, epochs: EpochBooks, failing: Collection[bytes]) -> None:
        """``failing``: the digests of the bundles whose migration fails."""
        self._epochs = epochs
        self._failing = failing
        self._motions: list[_Motion] = []
        self._coming: _Motion | None = None
        self._needs: list[frozenset[bytes]] = [frozenset(), frozenset()]
        self.in_force: list[tuple[str, bytes, int]] = []
        """(name, digest, height) of the upgrades that took effect, oldest first."""
        self.failed: list[bytes] = []
        """The digests of those that did not, because their migration failed."""
        self.called_off: list[bytes] = []
        """The digests of those that were not to be any more."""

    @property
    def is_used(self) -> bool:
        """Whether anything was ever decided here, or proposed."""
        return bool(self._motions)

    @property
    def is_through(self) -> bool:
        """Whether one has come to its height, or was called off before."""
        return bool(self.in_force or self.failed or self.called_off)

    def is_close(self, height: int, ahead: int) -> bool:
        """Whether one is to take effect at most ``ahead`` heights above ``height``, or has."""
        return self.is_through or (self._coming is not None and self._coming.first_height <= height + ahead)

    @property
    def code(self) -> bytes:
        """The digest of the upgrade by whose code the newest block was executed; empty for the genesis's own."""
        return self.in_force[-1][1] if self.in_force else b""

    def needs(self, height: int) -> frozenset[bytes]:
        """Whose code a node must have to execute the block at ``height``, which is at most the next one."""
        return self._needs[height]

    @property
    def ever_needed(self) -> frozenset[bytes]:
        """Whose code it takes to have executed all blocks."""
        return frozenset().union(*self._needs[:-1])

    def block(
        self,
        height: int,
        is_null: bool,
        parent_hash: bytes,
        transactions: Sequence[Transaction],
        receipts: Sequence[Receipt],
        events: Sequence[Event],
    ) -> str | None:
        """The block at ``height`` is in the chain; None, or which promise about upgrades it breaks."""
        told = [(event.topic, event.data[2]) for event in events if event.topic in _OUTCOMES]  # type: ignore[index]
        right = [] if is_null else self._come(height)
        if told != right:
            return f"block {height}: {_named(told)} where {_named(right)} is right"
        if any(tx.payload.contract == "motions" for tx in transactions):
            codes = {receipt.tx_id: receipt.code for receipt in receipts}
            for tx in execution_order(parent_hash, transactions):
                if tx.payload.contract == "motions" and codes[tx.id] == "ok":
                    fault = self._call(height, tx)
                    if fault is not None:
                        return f"block {height}: {fault}"
        is_due = self._coming is not None and self._coming.first_height <= height + 1
        needed = {self.code} - {b""} | ({self._coming.digest} if is_due and self._coming is not None else set())
        self._needs.append(frozenset(needed))
        return None

    def _come(self, height: int) -> list[tuple[str, bytes]]:
        """What was scheduled takes effect, if this is its height; how that is told."""
        coming = self._coming
        if coming is None or height < coming.first_height:
            return []
        self._coming = None
        if coming.digest in self._failing:
            self.failed.append(coming.digest)
            return [("upgrade-failed", coming.digest)]
        self.in_force.append((coming.name, coming.digest, height))
        return [("upgrade-active", coming.digest)]

    def _call(self, height: int, tx: Transaction) -> str | None:
        args: dict[str, Any] = tx.payload.args
        number = len(self._motions)
        match tx.payload.method:
            case "propose_upgrade":
                self._motions.append(_Motion(args["name"], args["digest"], args["first_height"], calls_off=False))
            case "cancel_upgrade":
                self._motions.append(_Motion("", args["digest"], 0, calls_off=True))
            case "approve":
                number = args["proposal"]
            case method:
                return f"motions were asked to {method}"
        motion = self._motions[number]
        enough = self._epochs.approve(motion.approvals, height, tx.payload.sender)
        if enough is None:
            return "who is no admin of a validator decided about upgrades"
        return self._decided(height, motion) if enough else None

    def _decided(self, height: int, motion: _Motion) -> str | None:
        if motion.calls_off:
            if self._coming is None or self._coming.digest != motion.digest:
                return "an upgrade was called off that was not scheduled"
            self._coming = None
            self.called_off.append(motion.digest)
            return None
        if self._coming is not None:
            return "a second upgrade was scheduled"
        if motion.first_height < height + NOTICE:
            return f"an upgrade was decided for height {motion.first_height}"
        self._coming = motion
        return None


def _named(outcomes: Sequence[tuple[str, Any]]) -> str:
    return ", ".join([f"{topic} {digest.hex()[:8]}" for topic, digest in outcomes]) or "no upgrade"
