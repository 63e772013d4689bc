"""`watt wallet balance | share`: what a device may spend, and what devices of a network give one another."""

from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import click

from chaincode.registry import default_registry
from cli.answers import BUDGET, NETWORK_BUDGET, SHARE, Reader, all_records, as_rows, record
from cli.company import is_member, show_company
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import period_option, period_or_current, period_or_proven
from cli.session import ask, genesis_option, node_option, passphrase_option, proven_at, transact
from cli.units import TOKENS, base_units, kwh
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
        if error.code != "unknown-device" or not is_member(nodes, name):
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


@click.command()
@click.argument("giver", required=False)
@click.argument("receiver", required=False)
@click.argument("amount", type=TOKENS, required=False)
@click.option("--list", "network", metavar="NETWORK", help="Instead of sharing, list the shares within a network.")
@period_option
@click.option("--key", "key_file", type=click.Path(path_type=Path), envvar="WATT_KEY", help="The owner's key file.")
@passphrase_option
@node_option
@json_option
@refusals_to_exit_codes
def share(
    giver: str | None,
    receiver: str | None,
    amount: Decimal | None,
    network: str | None,
    period: int | None,
    key_file: Path | None,
    passphrase_file: Path | None,
    nodes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Give AMOUNT tokens of device GIVER's budget to device RECEIVER of the same network; the owner signs.

    Example: watt wallet share home-03/battery home-03/ev 2.5 --key owner.key

    Example: watt wallet share --list home-03
    """
    if network is not None:
        if giver is not None:
            raise click.UsageError("either GIVER RECEIVER AMOUNT, or --list NETWORK")
        return _list_shares(network, period, nodes, as_json)
    if giver is None or receiver is None or amount is None or key_file is None:
        raise click.UsageError("say GIVER RECEIVER AMOUNT and --key, or --list NETWORK")

    async def args(client: Client) -> dict[str, Any]:
        units = base_units(amount, (await client.node_info()).token_decimals)
        number = await period_or_current(client, period, giver)
        return {"giver": giver, "receiver": receiver, "period": number, "amount": units}

    status = transact(nodes, key_file, passphrase_file, "budget", "share", args)
    if as_json:
        return print_json({"height": status.height})
    click.echo(f"shared in block {status.height}")


def _list_shares(network: str, period: int | None, nodes: tuple[str, ...], as_json: bool) -> None:
    async def read(client: Client) -> tuple[list[dict[str, Any]], int, int]:
        number = await period_or_current(client, period, network)
        of_period = {"network": network, "period": number}
        found = await all_records(client.query, "budget", "shares", of_period, SHARE)
        return found, number, (await client.node_info()).token_decimals

    rows, number, decimals = ask(nodes, read)
    if as_json:
        return print_json(rows)
    print_table(
        f"Shares within {network}, period {number}, tokens",
        ("Giver", "Receiver", ">Amount", ">Returned", ">Slot", "For"),
        (
            (
                row["giver"] or "(pool)",
                row["receiver"],
                tokens(row["amount"], decimals),
                tokens(row["returned"], decimals),
                row["slot"],
                row["reference"].hex()[:12] or "by hand",
            )
            for row in rows
        ),
    )
