"""`watt wallet`: keys, budgets, shares and alerts of people and devices; orders are in `wallet_orders.py`."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import click

from chaincode.contract import Event
from chaincode.registry import default_registry
from cli.answers import ALERT, BUDGET, NETWORK_BUDGET, SHARE, Reader, all_records, as_rows, event_fields, record
from cli.output import SHORT_ID, json_option, plain, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import period_option, period_or_current, period_or_proven
from cli.refusals import explain
from cli.session import (
    ask,
    genesis_option,
    new_passphrase,
    node_option,
    passphrase_option,
    proven_at,
    signing_options,
    transact,
)
from cli.units import TOKENS, Count, base_units, clock, hex_id, kwh
from cli.wallet_bulk import bulk
from cli.wallet_moves import connect, disconnect
from cli.wallet_orders import cancel, order, orders, replace, trades
from cli.wallet_statement import statement
from node.errors import RefusedError
from node.gateway.client import BlockEvents, Client, TxStatus
from node.gateway.proven import ProvenReader
from node.keyfile import save_key
from node.model.genesis import load_genesis
from node.model.keys import generate_key

_FIRST_FIGURES = ("available", "reserved", "spent", "owed", "pool")


@click.group()
def wallet() -> None:
    """Keys, orders, budgets and alerts of people and devices."""


for _command in (order, replace, bulk, cancel, orders, trades, connect, disconnect, statement):
    wallet.add_command(_command)


@wallet.command()
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Where to write the key file; never overwritten."
)
@passphrase_option
@json_option
@refusals_to_exit_codes
def new(out: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a key and write it to a file, encrypted under a passphrase (argon2id). Prints the public key.

    Example: watt wallet new --out ev.key
    """
    passphrase = new_passphrase(passphrase_file)
    if not passphrase:
        raise RefusedError("no-passphrase", "an empty passphrase protects nothing")
    key = generate_key()
    save_key(out, key, passphrase)
    if as_json:
        return print_json({"public_key": key.public_key, "file": str(out)})
    click.echo(key.public_key.hex())


@wallet.command()
@click.argument("name")
@period_option
@node_option
@genesis_option
@json_option
@refusals_to_exit_codes
def balance(name: str, period: int | None, nodes: tuple[str, ...], genesis_file: Path | None, as_json: bool) -> None:
    """Show a billing period's budget of NAME: a device (home-03/ev), or a network with all its devices (home-03).

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

    network, books, number, decimals, proven = ask(nodes, read)
    if as_json:
        found = {"period": number, "network": network, "devices": books}
        return print_json(found if proven is None else {**found, "proven": proven})
    if network is not None:
        print_table(
            f"{name}, period {number} ({network['status']}), tokens",
            tuple(_column(column) for column in NETWORK_BUDGET[1:]),
            [[tokens(network[column], decimals) for column in NETWORK_BUDGET[1:]]],
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
    return f"{'' if field in _FIRST_FIGURES else '?'}>{field.capitalize()}"


@wallet.command()
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


@wallet.command()
@click.argument("network")
@node_option
@json_option
@refusals_to_exit_codes
def alerts(network: str, nodes: tuple[str, ...], as_json: bool) -> None:
    """List NETWORK's alerts: which device used more than it should, or was paid for by others.

    Example: watt wallet alerts home-03
    """
    rows = ask(nodes, lambda client: all_records(client.query, "budget", "alerts", {"network": network}, ALERT))
    if as_json:
        return print_json(rows)
    print_table(
        f"Alerts of {network}",
        (">No.", "Device", "Cause", "Period", "Time", ">Evidence", "Seen"),
        (
            (
                number,
                row["device"],
                row["cause"],
                row["period"],
                clock(row["time"]),
                len(row["evidence"]),
                "yes" if row["acknowledged"] else "no",
            )
            for number, row in enumerate(rows)
        ),
    )


@wallet.command()
@click.argument("network")
@click.argument("alert", type=Count())
@signing_options
@json_option
@refusals_to_exit_codes
def acknowledge(
    network: str, alert: int, nodes: tuple[str, ...], key_file: Path, passphrase_file: Path | None, as_json: bool
) -> None:
    """Note that NETWORK's ALERT, by its number in `watt wallet alerts`, has been seen; the owner signs.

    Example: watt wallet acknowledge home-03 0 --key owner.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {"network": network, "alert": alert}

    done = transact(nodes, key_file, passphrase_file, "budget", "acknowledge", args)
    if as_json:
        return print_json({"network": network, "alert": alert, "height": done.height})
    click.echo(f"acknowledged in block {done.height}")


@wallet.command()
@click.argument("transaction", metavar="TXID")
@node_option
@json_option
@refusals_to_exit_codes
def status(transaction: str, nodes: tuple[str, ...], as_json: bool) -> None:
    """Ask what became of a transaction: committed (in which block, with what code), pending, or unknown.

    A command that times out names its TXID. Unknown means that the node asked does not have it: it was never handed
    in, or another node holds it, or it has expired.

    Example: watt wallet status 5f2c...e1
    """
    tx_id = hex_id(transaction, "TXID")

    async def read(client: Client) -> tuple[TxStatus, int]:
        return await client.status(tx_id), (await client.node_info()).token_decimals

    found, decimals = ask(nodes, read)
    if as_json:
        committed = {"height": found.height, "code": found.code, "details": found.details, "result": found.result}
        empty = dict.fromkeys(committed)
        return print_json(
            {"transaction": tx_id, "state": found.state, **(committed if found.state == "committed" else empty)}
        )
    if found.state == "unknown" and found.base:
        return click.echo(f"unknown; blocks up to {found.base} are not on this node: ask another, too")
    if found.state != "committed":
        return click.echo(found.state)
    reason = "" if found.code == "ok" else f": {explain('it', found.code, found.details, decimals)}"
    click.echo(f"committed in block {found.height}: {found.code}{reason}")


@wallet.command()
@click.argument("names", nargs=-1)
@click.option("--from-height", type=Count(1), help="Begin at this block; by default at the next one.")
@click.option("--blocks", type=Count(1), help="Stop after so many blocks; by default never.")
@node_option
@json_option
@refusals_to_exit_codes
def watch(
    names: tuple[str, ...], from_height: int | None, blocks: int | None, nodes: tuple[str, ...], as_json: bool
) -> None:
    """Print events as blocks bring them, of the devices and networks NAMES, or all. With --json, one object a line.

    Example: watt wallet watch home-03 home-03/ev
    """

    async def follow(client: Client) -> None:
        seen = 0
        stream: AsyncIterator[BlockEvents] = client.subscribe(from_height)
        async for block in stream:
            for event in block.events:
                if not names or set(names) & set(event.keys):
                    _print_event(block, event, as_json)
            seen += 1
            if seen == blocks:
                return

    try:
        ask(nodes, follow)
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("stopped", err=True)


def _print_event(block: BlockEvents, event: Event, as_json: bool) -> None:
    named = event_fields(event.topic, event.data)
    if as_json:
        return print_json(
            {
                "height": block.height,
                "time": block.time,
                "contract": event.contract,
                "topic": event.topic,
                "keys": event.keys,
                "data": event.data if named is None else named,
            }
        )
    if named is not None:
        data = " ".join(f"{name}={_short(value)}" for name, value in named.items())
    else:
        data = _short(event.data)
    click.echo(plain(f"{clock(block.time)}  {block.height:>7}  {event.topic:<12} {' '.join(event.keys):<24} {data}"))


def _short(item: object) -> str:
    if isinstance(item, tuple):
        return f"[{' '.join(_short(each) for each in item)}]"
    return item.hex()[:SHORT_ID] if isinstance(item, bytes) else str(item)
