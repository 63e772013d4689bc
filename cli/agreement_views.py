"""`watt admin agreement graph | check`: agreements as a graph, and what their owners should know."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import click
import networkx as nx

from chaincode.agreement_book import SALE, SHARE
from cli.agreement_graph import dot, findings, graph_of, helpers_of, taken_by
from cli.agreements import AGREEMENT, of_network
from cli.answers import HIDDEN, all_records, as_rows
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes, tokens
from cli.session import ask, node_option
from node.errors import RefusedError
from node.gateway.client import Client

company_option = click.option("--company", help="The networks of this member too.")
NO_PATH = "only who stands here helps: a path of agreements is no agreement"


@click.command()
@click.argument("names", metavar="[NETWORK]...", nargs=-1)
@company_option
@click.option("--dot", "dot_file", type=click.Path(path_type=Path), help="Also write a file for Graphviz.")
@node_option
@json_option
@refusals_to_exit_codes
def graph(
    names: tuple[str, ...], company: str | None, dot_file: Path | None, nodes: tuple[str, ...], as_json: bool
) -> None:
    """Show who can help whom directly: agreements in force, by who takes; of all networks, or of those named.

    Example: watt admin agreement graph

    Example: watt admin agreement graph shop-1-hvac shop-2-hvac --dot agreements.dot
    """
    rows, networks, about, _, decimals = ask(nodes, lambda client: _read(client, names, company, pools=False))
    whole = graph_of(rows, networks)
    shown = _around(whole, about)
    if dot_file is not None:
        _write(dot_file, dot(shown, {row["number"]: tokens(row["cap"], decimals) for row in rows}))
    if as_json:
        edges = sorted((row for _, _, row in shown.edges(data=True)), key=lambda row: cast("int", row["number"]))
        return print_json({"networks": sorted(shown), "agreements": edges})

    def named(found: Iterable[Mapping[str, Any]]) -> str:
        return ", ".join(f"{row['giver']} (at most {tokens(row['cap'], decimals)})" for row in found)

    lines = []
    for network in about or sorted(shown):
        taken = taken_by(whole, network)
        by_hand = [row for row in taken if row["kind"] == SHARE and not row["automatic"]]
        sold = [row for row in taken if row["kind"] == SALE]
        lines.append((network, named(helpers_of(whole, network)) or "nobody", named(by_hand), named(sold)))
    print_table("Who helps whom", ("Network", "Helped by, in this order", "By hand by", "?Buys from"), lines)
    click.echo(NO_PATH)


@click.command()
@click.argument("names", metavar="[NETWORK]...", nargs=-1)
@company_option
@node_option
@json_option
@refusals_to_exit_codes
def check(names: tuple[str, ...], company: str | None, nodes: tuple[str, ...], as_json: bool) -> None:
    """Tell what owners should know about their agreements: who has nobody, who depends on one helper, circles, promises
    beyond what a pool has, and paths, which are no agreements. Of all networks, or of those named.

    Example: watt admin agreement check shop-1-hvac

    Example: watt admin agreement check --company shops
    """
    rows, networks, about, pools, _ = ask(nodes, lambda client: _read(client, names, company, pools=True))
    found = findings(graph_of(rows, networks), rows, pools, about or networks)
    if as_json:
        return print_json([each._asdict() for each in found])
    for each in found:
        click.echo(f"{each.kind}: {each.text}")
    if not found:
        click.echo("nothing to tell")


async def _read(
    client: Client, names: tuple[str, ...], company: str | None, *, pools: bool
) -> tuple[list[dict[str, Any]], list[str], tuple[str, ...], dict[str, int], int]:
    """All agreements, all networks, those asked for (empty: all), what the pools of automatic helpers among them have
    now (if asked for), a token's decimals.
    """
    about = names
    if company is not None:
        about = tuple(dict.fromkeys((*names, *await _listed(client, "overview", {"member": company}))))
        if not about:
            raise RefusedError("unknown-network", f"{company[:48]!r} has no networks")
    rows, networks = await _seen(client, about)
    for name in names:
        if name not in networks:
            raise RefusedError("unknown-network", f"there is no network {name[:48]!r}")
    held: dict[str, int] = {}
    for row in rows:
        wanted = not about or row["giver"] in about
        if pools and wanted and row["in_force"] and row["automatic"] and row["giver"] not in held:
            account = {"account": f"pool:{row['giver']}:{row['period']}"}
            held[row["giver"]] = cast("int", await client.query("accounts", "account", account))
    return rows, sorted(networks), about, held, (await client.node_info()).token_decimals


async def _seen(client: Client, about: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[str]]:
    """Agreements and networks: all that there are, or for a key that may not see them those of ``about`` alone."""
    try:
        rows = await all_records(client.query, "agreements", "agreements", {}, AGREEMENT)
        return rows, await _listed(client, "identity", {})
    except RefusedError as error:
        if error.code not in HIDDEN or not about:
            raise
    found = {row["number"]: row for name in about for row in await of_network(client.query, name)}
    others = (row[side] for row in found.values() for side in ("giver", "taker"))
    return [found[number] for number in sorted(found)], list(dict.fromkeys((*about, *others)))


async def _listed(client: Client, contract: str, args: dict[str, Any]) -> list[str]:
    """The names that the query ``networks`` of a contract gives page by page."""
    networks: list[str] = []
    while page := as_rows(await client.query(contract, "networks", {**args, "first": len(networks)})):
        networks += cast("tuple[str, ...]", page)
    return networks


def _around(whole: "nx.MultiDiGraph[str]", names: tuple[str, ...]) -> "nx.MultiDiGraph[str]":
    """``names`` and who has an agreement with them; the whole graph without names."""
    if not names:
        return whole
    kept = set(names).union(*(whole.predecessors(name) for name in names), *(whole.successors(name) for name in names))
    around = whole.subgraph(kept).copy()
    around.remove_edges_from(
        [edge for edge in around.edges(keys=True) if edge[0] not in names and edge[1] not in names]
    )
    return around


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise RefusedError("cannot-write", f"{path}: {error.strerror}") from error
