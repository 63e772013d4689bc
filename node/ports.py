"""What the driver needs from the world around it, and what it says of itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from node.consensus.messages import Evidence, Message
from node.ledger.execution import Execution
from node.model.certificate import Certificate
from node.model.epoch import Epoch
from node.model.keys import Signer
from node.model.transaction import Transaction


class Ports(Protocol):
    """What the driver needs from the world around it."""

    def send(self, to: Sequence[str], message: Message) -> None:
        """Send to the members of these names. Never waits; may lose the message."""
        ...

    def check_signatures(self, transactions: Sequence[Transaction], done: Callable[[list[bool]], None]) -> None:
        """Check the transactions' signatures and call ``done`` with an answer for each, at once or later."""
        ...

    def clock_ms(self) -> int:
        """This machine's UTC clock in milliseconds since the epoch."""
        ...

    def committed(self, execution: Execution, certificate: Certificate) -> None:
        """A block was stored: tell those who wait for it."""
        ...

    def evidence(self, evidence: Evidence) -> None:
        """A member contradicted itself: keep the proof, name the member."""
        ...

    def signer(self, epoch: Epoch) -> Signer | None:
        """This member's key in ``epoch``; None if it is no member, or does not have it."""
        ...

    def epochs_changed(self) -> None:
        """An epoch was scheduled, or one has begun: links are to be those of ``succession.neighbours``."""
        ...

    def removed(self, height: int) -> None:
        """This member is none any more from ``height`` on, and the others do not need it any longer: stop."""
        ...


@dataclass(frozen=True, slots=True)
class DriverStatus:
    """Where this node stands. ``in_flight``: proposals above ``height`` that this primary has made;
    ``consensus_items``: what the core holds in memory (``Replica.held``)."""

    view: int
    active: bool
    primary: int
    is_primary: bool
    height: int
    best_peer_height: int
    in_flight: int
    mempool_transactions: int
    mempool_bytes: int
    unverified_transactions: int
    consensus_items: int
    vote_log_bytes: int
    peer_errors: int
