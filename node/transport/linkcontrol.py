"""What an operator sees and does of links.

A link that is cut drops what goes to a member, or comes from it, as if the network lost it. This is for trying out how
a network bears a partition. The links themselves stay up, as they do when a router drops packets; the protocol sees
nothing but silence. Nothing is remembered over a restart.
"""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from node.errors import RefusedError

log = logging.getLogger("watt.peers")


@dataclass(frozen=True, slots=True)
class LinkState:
    """The links with one peer. ``up``: this node's own link has reached it, or not, since ``since`` (monotonic
    seconds); ``why``: what ended it, or "" if it never was up; ``is_heard``: the peer's link has reached this node.
    ``waiting_messages``, ``waiting_bytes``: in the outbox; ``dropped``: messages that never left, since the start."""

    peer: str
    address: str
    up: bool
    since: float
    why: str
    is_heard: bool
    waiting_messages: int
    waiting_bytes: int
    dropped: int


class LinkControl:
    """Whom nothing is sent to, and whom nothing is heard from, by member name. Both are empty at the start."""

    def __init__(self, me: str) -> None:
        self._me = me
        self.drop_to: frozenset[str] = frozenset()
        self.drop_from: frozenset[str] = frozenset()
        self.dropped = 0
        """How many messages were dropped for it."""

    def cut(self, members: Collection[str], drop_to: Iterable[str] | None, drop_from: Iterable[str] | None) -> None:
        """Replace the lists that are given. ``members``: those that there are. Raises RefusedError("unknown-peer")."""
        wanted_to = self.drop_to if drop_to is None else frozenset(drop_to)
        wanted_from = self.drop_from if drop_from is None else frozenset(drop_from)
        strangers = sorted((wanted_to | wanted_from) - (set(members) - {self._me}))
        if strangers:
            raise RefusedError("unknown-peer", f"no other member is called {', '.join(strangers)}")
        if (wanted_to, wanted_from) != (self.drop_to, self.drop_from):
            self.drop_to, self.drop_from = wanted_to, wanted_from
            log.warning("links-cut to=%s from=%s", _listed(wanted_to), _listed(wanted_from))

    def loses_to(self, peer: str) -> bool:
        """Whether a message to ``peer`` is to be dropped; counts it."""
        if peer not in self.drop_to:
            return False
        self.dropped += 1
        return True

    def loses_from(self, peer: str) -> bool:
        """Whether a message from ``peer`` is to be dropped; counts it."""
        if peer not in self.drop_from:
            return False
        self.dropped += 1
        return True


def _listed(names: frozenset[str]) -> str:
    return ",".join(sorted(names)) or "-"
