"""What a replica is told when it starts: its constants, and where its chain stands. Every bound of the core is here."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from node.consensus.quorum import primary_of, quorum, weak_quorum
from node.model.certificate import Certificate

WINDOW: Final = 16
"""Heights that may be in flight above the newest stored block (the high mark is ``stored + WINDOW``)."""

EARLY_MESSAGES_PER_PEER: Final = 128
"""Messages of a coming view, or up to WINDOW above the high mark, kept for each peer until they apply."""

EARLY_BYTES_PER_PEER: Final = 8 * 1024 * 1024
"""Bodies kept with them; beyond this only the signed pre-prepare is kept and the body is fetched later."""

MAX_BODIES: Final = 8 * WINDOW
"""Batch bodies in memory: those in flight, and those this replica ever voted for at heights not yet stored."""

MAX_INCOMING_BLOCKS: Final = 128
"""Certified blocks waiting to be executed while catching up."""

MAX_VERIFIED: Final = 8192
"""Signatures remembered as good."""

MAX_STATEMENT_BYTES: Final = 2 * 1024 * 1024
"""A signed statement; the largest is a NewView of 40 members, each with WINDOW prepared certificates (0.8 MB)."""

ANSWERS_PER_TICK: Final = 4
"""Requests of one peer answered within one tick, each kind; no peer can make this node send without bound."""

CHANGES_PER_TICK: Final = 8
"""Suspects and ViewChanges for new views of one member looked at within one tick."""

RECALL_TICKS: Final = 4
"""How often a starting replica asks those again who have not told it yet what they hold of its votes."""

MAX_RECOLLECTED: Final = 512
"""Statements in one answer to it: a few for each height of the window and above, and early ones."""

OBSERVER: Final = -1


def most_held(n: int) -> int:
    """The bound of ``Replica.held`` with ``n`` members."""
    return 2 * WINDOW + MAX_BODIES + n * EARLY_MESSAGES_PER_PEER + MAX_INCOMING_BLOCKS


@dataclass(frozen=True, slots=True)
class Settings:
    """The constants of one epoch. ``members``: public keys by index; ``me``: this replica's index, or OBSERVER for one
    that is no member: it follows and stores, and signs nothing. ``base``: the last height of the epoch before (0 for
    the first): this epoch's instance of the protocol orders the heights above it.

    Times are in ticks of 50 ms of real time. ``timeout_ticks``: how long work may be outstanding without a
    commit before the primary is suspected (T); it doubles with each view change without progress, up to
    ``timeout_cap_ticks``. ``resend_ticks``: without progress, own votes are sent again this often.
    ``status_ticks``: how often peers are told where this replica stands. ``behind_ticks``: how long a
    replica that peers claim to be ahead of waits, without progress, before it asks for blocks.
    """

    chain: bytes
    epoch: int
    members: tuple[bytes, ...]
    me: int
    base: int = 0
    timeout_ticks: int = 20
    timeout_cap_ticks: int = 200
    resend_ticks: int = 10
    status_ticks: int = 10
    behind_ticks: int = 4
    n: int = field(init=False)
    quorum: int = field(init=False)
    weak_quorum: int = field(init=False)

    def __post_init__(self) -> None:
        if not OBSERVER <= self.me < len(self.members):
            raise ValueError(f"member {self.me} of {len(self.members)}")
        if self.base < 0:
            raise ValueError(f"an epoch after height {self.base}")
        object.__setattr__(self, "n", len(self.members))
        object.__setattr__(self, "quorum", quorum(len(self.members)))
        object.__setattr__(self, "weak_quorum", weak_quorum(len(self.members)))

    @property
    def is_observer(self) -> bool:
        """Whether this replica is no member in this epoch."""
        return self.me == OBSERVER

    def primary(self, view: int) -> int:
        """The index of the member that proposes in ``view``."""
        return primary_of(view, self.n)


@dataclass(frozen=True, slots=True)
class Anchor:
    """The newest stored block. ``certificate`` is None exactly at the epoch's base: the genesis vouches for block 0,
    and for an earlier epoch's last block a certificate of that epoch's members, which means nothing in this one."""

    height: int
    block_hash: bytes
    certificate: Certificate | None

    def require_of(self, settings: Settings) -> None:
        """Raises ValueError if a replica with these settings cannot start here."""
        if self.height < settings.base or (self.certificate is None) != (self.height == settings.base):
            raise ValueError(f"block {self.height} of an epoch after {settings.base} with the wrong certificate")


class Memory(Enum):
    """What the node knows of its vote log when a replica starts.

    KEPT: a log was found, as the process before left it (it may be empty: ``watt node init`` makes an empty one).
    LOST: there was none, or it was damaged and set aside; what this replica has voted for is not known.
    CONTINUED: the same process goes on from the epoch before, and knows that it has not voted in this one.
    """

    KEPT = "kept"
    LOST = "lost"
    CONTINUED = "continued"
