"""`watt wallet balance`: what a device may spend."""

from pathlib import Path
from typing import Any, cast

import click

from chaincode.registry import default_registry
from cli.answers import BUDGET, NETWORK_BUDGET, Reader, as_rows, record
from cli.company import is_member, show_company
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import period_option, period_or_current, period_or_proven
from cli.session import ask, genesis_option, node_option, proven_at
from cli.units import kwh
from node.errors import RefusedError
from node.gateway.client import Client
from node.gateway.proven import ProvenReader
from node.model.genesis import load_genesis

_IF_ANY = NETWORK_BUDGET[8:]
"""What a network has with other periods and networks is shown if there was any."""
_FIRST_FIGURES = ("available", "reserved", "spent", "owed", "pool")


@click.command()
@click.argument("name")
@period_option
@node_option
@genesis_option
@json_option
@refusals_to_exit_codes
def balance(name: str, period: int | None, nodes: tuple[str, ...], genesis_file: Path | None, as_json: bool) -> None:
    """Show a billing period's budget of NAME: a device (home-03/ev), a network with all its devices (home-03), or a
    company (coop).

    With --genesis FILE no node need be trusted: every figure is proven, as of the block that is named.

    Example: watt wallet balance home-03
    """

    async def read(client: Client) -> tuple[dict[str, Any] | None, dict[str, dict[str, Any]], int, int, str | None]:
        query: Reader = client.query
        if genesis_file is None:
            number = await period_or_current(client, period, name)
            decimals = (await client.node_info()).token_decimals
        else:
            genesis = load_genesis(genesis_file)
            query = proven = ProvenReader(client, genesis, default_registry())
            number = await period_or_proven(proven, period, name)
            decimals = genesis.token.decimals
        network: dict[str, Any] | None = None
        devices: tuple[str, ...] = (name,)
        try:
            devices = cast("tuple[str, ...]", as_rows(await query("identity", "devices", {"network": name})))
            args: dict[str, Any] = {"network": name, "period": number}
            network = record(await query("budget", "network_budget", args), NETWORK_BUDGET)
        except RefusedError as error:
            if error.code != "unknown-network":
                raise
        books = {}
        for device in devices:
            args = {"device": device, "period": number}
            books[device] = record(await query("budget", "budget", args), BUDGET)
        return network, books, number, decimals, proven_at(query) if isinstance(query, ProvenReader) else None

    try:
        network, books, number, decimals, proven = ask(nodes, read)
    except RefusedError as error:
        if error.code not in ("unknown-device", "unknown-network") or not is_member(nodes, name):
            raise
        return show_company(name, period, nodes, genesis_file, as_json)
    if as_json:
        found = {"period": number, "network": network, "devices": books}
        return print_json(found if proven is None else {**found, "proven": proven})
    if network is not None:
        columns = [column for column in NETWORK_BUDGET[1:] if column not in _IF_ANY or network[column]]
        print_table(
            f"{name}, period {number} ({network['status']}), tokens",
            tuple(_column(column) for column in columns),
            [[tokens(network[column], decimals) for column in columns]],
        )
    print_table(
        f"Devices, period {number}, tokens",
        ("Device", "State", *(_column(column) for column in BUDGET[1:9]), ">kWh used"),
        (
            (device, book["state"], *(tokens(book[column], decimals) for column in BUDGET[1:9]), kwh(book["used_wh"]))
            for device, book in books.items()
        ),
    )
    if proven is not None:
        click.echo(f"proven {proven}")


def _column(field: str) -> str:
    """The heading of a budget's figure; what a narrow terminal can do without comes with ``?``."""
    return f"{'' if field in _FIRST_FIGURES else '?'}>{field.capitalize().replace('_', ' ')}"
