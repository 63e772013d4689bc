"""Another member, as links know it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """``address``: host:port; empty if nobody has said where it listens, but it may still link to this node.
    ``certificates``: PEM; it shows any of them: two while its keys rotate."""

    name: str
    address: str
    certificates: tuple[str, ...]
