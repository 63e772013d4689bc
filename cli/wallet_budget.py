"""`watt wallet balance`: what a device may spend."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

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

_NETWORK_IN: Final = ("carried_in", "issued", "received", "earned")
_NETWORK_OUT: Final = (
    "pool", "available", "reserved", "spent", "sent", "sold", "returned", "redeemed", "carried_out",
)  # fmt: skip
_DEVICE_IN: Final = ("allocated", "earned", "borrowed")
_DEVICE_OUT: Final = ("available", "reserved", "spent", "lent", "taken_back")
"""What came in is what is there and what went: both books add up, which the reader can see."""
_ALWAYS: Final = ("issued", "allocated", "pool", "available", "reserved", "spent")
"""The other figures are shown if there are any."""


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

    Every figure is proven, as of the block that is named. Taken back: by the owner, into the network's pool. Figures
    that are 0 everywhere are left out.

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
    for book in books.values():
        book["taken_back"] = sum([book[name] for name in _DEVICE_IN]) - sum([book[name] for name in _DEVICE_OUT[:-1]])
    if as_json:
        found = {"period": number, "network": network, "devices": books}
        return print_json(found if proven is None else {**found, "proven": proven})
    if network is not None:
        came, went = _shown(_NETWORK_IN, [network]), _shown(_NETWORK_OUT, [network])
        columns = (*went, *came, *(("owed",) if network["owed"] else ()))
        print_table(
            f"{name}, period {number} ({network['status']}), tokens",
            tuple(f">{_words(column)}" for column in columns),
            [[tokens(network[column], decimals) for column in columns]],
        )
        click.echo(f"{_sum(went)} = {_sum(came)}; available and reserved are the devices'")
    came, went = _shown(_DEVICE_IN, books.values()), _shown(_DEVICE_OUT, books.values())
    columns = (*went, *came, *(("owed",) if any(book["owed"] for book in books.values()) else ()))
    print_table(
        f"Devices, period {number}, tokens",
        ("Device", "?State", *(f">{_words(column)}" for column in columns), "?>kWh used"),
        (
            (device, book["state"], *(tokens(book[column], decimals) for column in columns), kwh(book["used_wh"]))
            for device, book in books.items()
        ),
    )
    click.echo(f"{_sum(went)} = {_sum(came)}")
    if proven is not None:
        click.echo(f"proven {proven}")


def _shown(columns: tuple[str, ...], books: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The figures that every book is shown with, and those that one of these has."""
    rows = tuple(books)
    return tuple([name for name in columns if name in _ALWAYS or any(row[name] for row in rows)])


def _sum(columns: tuple[str, ...]) -> str:
    return " + ".join(name.replace("_", " ") for name in columns)


def _words(column: str) -> str:
    return column.capitalize().replace("_", " ")
