"""Partitions of a local network by the nodes' own link control (``node/control.py``): both ends of a link drop what it
carries. A node that is started again has cut nothing; the other end still has, so it stays cut off."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from node import control
from node.errors import RefusedError
from testnet.cluster import Cluster
from testnet.genesis import NetworkNode


@dataclass(frozen=True, slots=True)
class Cut:
    """Whom a node sends nothing to, and whom it does not hear, by name."""

    drop_to: tuple[str, ...]
    drop_from: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Everybody that the node is cut off from, in one direction or both."""
        return tuple(sorted({*self.drop_to, *self.drop_from}))


class _Links(msgspec.Struct):
    drop_to: tuple[str, ...]
    drop_from: tuple[str, ...]


def groups_of(cluster: Cluster, texts: Sequence[str]) -> list[frozenset[str]]:
    """Groups of nodes from ``a,b`` and ``c``; all that are not named are one more group.

    Raises RefusedError: "unknown-node", "bad-partition" (a node in two groups; nothing is parted).
    """
    groups = [frozenset(cluster.node(name.strip()).name for name in text.split(",")) for text in texts]
    named = [name for group in groups for name in group]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise RefusedError("bad-partition", f"{', '.join(twice)}: a node is in one group only")
    rest = frozenset(node.name for node in cluster.network.nodes) - frozenset(named)
    found = [*groups, rest] if rest else groups
    if len(found) < 2:
        raise RefusedError("bad-partition", "all nodes are in one group: nothing is parted")
    return found


def partition(cluster: Cluster, groups: Sequence[frozenset[str]], *, one_way: bool = False) -> list[str]:
    """Cut every link between two groups; a partition that was there before is gone. Returns the names of the nodes that
    were told: those that run.

    ``one_way``: what an earlier group sends still reaches the later ones, but nothing comes back.
    Raises RefusedError as ``control.ask`` does, other than "not-running".
    """
    order = {name: index for index, group in enumerate(groups) for name in group}
    told = []
    for node in cluster.network.nodes:
        mine = order[node.name]
        others = [name for name in order if order[name] != mine]
        drop_to = [name for name in others if not one_way or order[name] < mine]
        drop_from = [name for name in others if not one_way or order[name] > mine]
        told += _tell(node, drop_to, drop_from)
    return told


def heal(cluster: Cluster) -> list[str]:
    """Join all links again; the names of the nodes that were told."""
    return [name for node in cluster.network.nodes for name in _tell(node, (), ())]


def cut(node: NetworkNode) -> Cut | None:
    """Which links a node has cut; None if it does not run or does not answer."""
    try:
        found = control.ask(node.config.path(node.config.data_dir), control.Links())
    except RefusedError:
        return None
    links = msgspec.convert(found, _Links)
    return Cut(links.drop_to, links.drop_from)


def _tell(node: NetworkNode, drop_to: Iterable[str], drop_from: Iterable[str]) -> list[str]:
    request = control.Links(tuple(sorted(drop_to)), tuple(sorted(drop_from)))
    try:
        control.ask(node.config.path(node.config.data_dir), request)
    except RefusedError as refusal:
        if refusal.code == "not-running":
            return []
        raise
    return [node.name]
