"""Agreements between networks as a directed graph: who can help whom directly, and what an owner should know about it.

Edges are agreements that are in force. A path of edges helps nobody: what reaches a network over another one is shown
as what it is, no agreement.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import networkx as nx

from chaincode.agreement_book import SHARE

MAX_PATHS: Final = 20
"""Paths shown one by one; of more only the number is told."""


class Finding(NamedTuple):
    """``kind``: "nobody-helps", "one-helper", "many-depend", "circle", "promised", "not-in-force" or "path";
    ``networks``: whom it is about; ``text``: for people.
    """

    kind: str
    networks: tuple[str, ...]
    text: str


def graph_of(rows: Iterable[Mapping[str, Any]], networks: Iterable[str]) -> "nx.MultiDiGraph[str]":
    """The agreements in force among ``rows``, from giver to taker; ``networks`` are nodes even without any."""
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    graph.add_nodes_from(sorted(networks))
    for row in rows:
        if row["in_force"]:
            graph.add_edge(row["giver"], row["taker"], key=row["number"], **row)
    return graph


def helpers_of(graph: "nx.MultiDiGraph[str]", network: str) -> list[Mapping[str, Any]]:
    """The automatic shares that ``network`` takes, in the order of asking."""
    shares = [row for row in taken_by(graph, network) if row["kind"] == SHARE and row["automatic"]]
    return sorted(shares, key=lambda row: (row["rank"], row["number"]))


def taken_by(graph: "nx.MultiDiGraph[str]", network: str) -> list[Mapping[str, Any]]:
    """The agreements in force in which ``network`` takes, by number."""
    rows = [row for _, _, row in graph.in_edges(network, data=True)] if network in graph else []
    return sorted(rows, key=lambda row: row["number"])


def findings(
    graph: "nx.MultiDiGraph[str]", rows: Sequence[Mapping[str, Any]], pools: Mapping[str, int], about: Sequence[str]
) -> list[Finding]:
    """What the owners of the networks ``about`` should know. ``rows``: all agreements; ``pools``: what the pools of
    those that give have in their running period.
    """
    found = []
    for network in about:
        found += _about_helpers(graph, network)
        found += _about_promises(graph, network, pools)
    found += _about_circles(graph, about)
    for row in rows:
        if row["state"] == "open" and not row["in_force"] and (row["giver"] in about or row["taker"] in about):
            text = f"agreement {row['number']} is agreed on, but not in force: not yet, or not between these classes"
            found.append(Finding("not-in-force", (row["giver"], row["taker"]), text))
    return found + _about_paths(graph, about)


def dot(graph: "nx.MultiDiGraph[str]", amount: Mapping[int, str]) -> str:
    """The graph in Graphviz' language; ``amount``: of each agreement's cap. Dashed: by hand; bold: a sale."""
    lines = ["digraph agreements {", "  rankdir=LR;"]
    lines += [f'  "{network}";' for network in sorted(graph)]
    for giver, taker, number in sorted(graph.edges(keys=True), key=lambda edge: edge[2]):
        row = graph.edges[giver, taker, number]
        style = "bold" if row["kind"] != SHARE else "solid" if row["automatic"] else "dashed"
        label = f"{number}: {row['kind']}, at most {amount[number]}"
        lines.append(f'  "{giver}" -> "{taker}" [label="{label}", style={style}];')
    return "\n".join([*lines, "}"]) + "\n"


def _about_helpers(graph: "nx.MultiDiGraph[str]", network: str) -> list[Finding]:
    helpers = helpers_of(graph, network)
    found = []
    if not helpers:
        text = f"nobody helps {network} when its own devices and pool do not suffice"
        found.append(Finding("nobody-helps", (network,), text))
    elif len(helpers) == 1:
        found.append(Finding("one-helper", (network,), f"{network} depends on {helpers[0]['giver']} alone"))
    alone = sorted(
        taker for taker in graph.successors(network) if [row["giver"] for row in helpers_of(graph, taker)] == [network]
    )
    if len(alone) > 1:
        text = f"{len(alone)} networks have nobody but {network}: {', '.join(alone)}"
        found.append(Finding("many-depend", (network, *alone), text))
    return found


def _about_promises(graph: "nx.MultiDiGraph[str]", network: str, pools: Mapping[str, int]) -> list[Finding]:
    promised = sum(
        row["cap"] - row["used"]
        for _, _, row in graph.out_edges(network, data=True)
        if row["kind"] == SHARE and row["automatic"]
    )
    if promised <= pools.get(network, 0):
        return []
    text = f"{network} has promised more than its pool has in this period: who asks first is helped"
    return [Finding("promised", (network,), text)]


def _about_circles(graph: "nx.MultiDiGraph[str]", about: Sequence[str]) -> list[Finding]:
    """One circle of each set of networks that can all reach one another over automatic shares."""
    shares = _shares(graph)
    found = []
    for group in sorted(sorted(each) for each in nx.strongly_connected_components(shares) if len(each) > 1):
        if not set(group).isdisjoint(about):
            circle = [edge[0] for edge in nx.find_cycle(shares.subgraph(group), group[0])]
            start = circle.index(min(circle))
            circle = circle[start:] + circle[:start]
            text = f"{' -> '.join([*circle, circle[0]])}: a circle; who is helped gives to nobody in the same slot"
            found.append(Finding("circle", tuple(circle), text))
    return found


def _about_paths(graph: "nx.MultiDiGraph[str]", about: Sequence[str]) -> list[Finding]:
    """Whom a network of ``about`` could think that it is helped by, over others."""
    shares = _shares(graph)
    found: list[Finding] = []
    more = 0
    for network in about:
        for giver, path in sorted(nx.single_target_shortest_path(shares, network, cutoff=3).items()):
            if len(path) < 3:
                continue
            if len(found) == MAX_PATHS:
                more += 1
                continue
            by_hand = any(row["giver"] == giver and row["kind"] == SHARE for row in taken_by(graph, network))
            how = f"helps {network} by hand only" if by_hand else f"does not help {network}"
            text = f"{' -> '.join(path)} is a path, and a path is no agreement: {giver} {how}"
            found.append(Finding("path", tuple(path), text))
    if more:
        found.append(Finding("path", (), f"{more} more paths that are no agreements"))
    return found


def _shares(graph: "nx.MultiDiGraph[str]") -> "nx.DiGraph[str]":
    """The automatic shares alone."""
    shares: nx.DiGraph[str] = nx.DiGraph()
    shares.add_nodes_from(graph)
    shares.add_edges_from(
        (giver, taker) for giver, taker, row in graph.edges(data=True) if row["kind"] == SHARE and row["automatic"]
    )
    return shares
