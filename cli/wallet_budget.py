"""`watt wallet balance`: what a device may spend."""

from typing import Any, cast

import click

from cli.answers import BUDGET, HIDDEN, NETWORK_BUDGET, as_rows, record
from cli.asking import believed
from cli.company import is_member, show_company
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import period_asked, period_option
from cli.session import ask, node_option, proven_at
from cli.units import kwh
from cli.wallet_home import Trust, trust_options
from node.errors import RefusedError
from node.gateway.client import Client

_IF_ANY = NETWORK_BUDGET[8:]
"""What a network has with other periods and networks is shown if there was any."""
_FIRST_FIGURES = ("available", "reserved", "spent", "owed", "pool")


@click.command()
@click.argument("name")
@period_option
@node_option
@trust_options
@json_option
@refusals_to_exit_codes
def balance(name: str, period: int | None, nodes: tuple[str, ...], trust: Trust, as_json: bool) -> None:
    """Show a billing period's budget of NAME: a device (home-03/ev), a network with all its devices (home-03), or a
    company (coop).

    Every figure is proven, as of the block that is named.

    Example: watt wallet balance home-03
    """

    async def read(client: Client) -> tuple[dict[str, Any] | None, dict[str, dict[str, Any]], int, int, str | None]:
        source = await believed(client, trust)
        query = source.read
        number = await period_asked(client, source, period, name)
        network: dict[str, Any] | None = None
        devices: tuple[str, ...] = (name,)
        try:
            devices = cast("tuple[str, ...]", as_rows(await query("identity", "devices", {"network": name})))
        except RefusedError as error:
            if error.code != "unknown-network" and error.code not in HIDDEN:
                raise
        else:
            args: dict[str, Any] = {"network": name, "period": number}
            network = record(await query("budget", "network_budget", args), NETWORK_BUDGET)
        books = {}
        for device in devices:
            args = {"device": device, "period": number}
            books[device] = record(await query("budget", "budget", args), BUDGET)
        proven = None if source.proven is None else proven_at(source.proven)
        return network, books, number, source.decimals, proven

    try:
        network, books, number, decimals, proven = ask(nodes, read)
    except RefusedError as error:
        is_unseen = error.code in HIDDEN or error.code in ("unknown-device", "unknown-network")
        if not is_unseen or not is_member(nodes, name):
            raise
        return show_company(name, period, nodes, trust, as_json)
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
