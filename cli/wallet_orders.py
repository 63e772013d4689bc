"""`watt wallet order | replace | cancel | orders | trades`: what a device wants to trade, and what it has."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final, cast

import click

from chaincode.market_orders import OPEN_STATES
from cli.answers import DEVICE_TRADE, ORDER, Reader, as_rows, record, records
from cli.asking import Source, believed, show_proven, time_of
from cli.output import SHORT_ID, json_option, print_json, print_table, refusals_to_exit_codes
from cli.periods import require_device
from cli.session import Signing, ask, node_option, signed, transact
from cli.slots import DAY_S, SAID, SLOT, TITLE, Slot, slot_seconds_of, slot_shown
from cli.units import ENERGY, REFERENCE, TOKENS, clock, hex_id, kwh, per_kwh
from cli.wallet_bulk import Wanted, order_args, require_not_rejected, units_of
from cli.wallet_home import Trust, trust_options
from node.errors import RefusedError
from node.gateway.client import Client, TxStatus
from node.model.codec import Value

PAGE: Final = 500
"""Orders asked for at once: each is an entry to be proven."""
PRUNED: Final = "pruned"


def _order_options(command: Callable[..., None]) -> Callable[..., None]:
    """What describes an order: DEVICE SIDE ENERGY, --slot, --price, --until, --renewable, --reference; all but the
    device come to the command as ``wanted``.
    """

    @wraps(command)
    def gathered(**options: Any) -> None:
        command(wanted=Wanted(**{name: options.pop(name) for name in Wanted._fields}), **options)

    described: Callable[..., None] = gathered
    for option in reversed(
        (
            click.argument("device"),
            click.argument("side", type=click.Choice(["buy", "sell"])),
            click.argument("energy", type=ENERGY),
            click.option("--slot", type=SLOT, required=True, help=f"The delivery slot: {SAID}."),
            click.option(
                "--price", type=TOKENS, required=True, help="The limit in tokens per kWh, distance charges included."
            ),
            click.option(
                "--until",
                type=click.Choice(["gate", "auction"]),
                default="gate",
                show_default=True,
                help="How long it rests.",
            ),
            click.option("--renewable", is_flag=True, help="Wish for renewable origin; it never moves a price."),
            click.option(
                "--reference",
                type=REFERENCE,
                default="",
                help="Your name for this order, at most 32 bytes: under it the same order is placed once, however "
                "often you send it.",
            ),
        )
    ):
        described = option(described)
    return described


@click.command()
@_order_options
@signed
def order(
    device: str,
    wanted: Wanted,
    signing: Signing,
    as_json: bool,
) -> None:
    """Place an order for DEVICE: buy or sell ENERGY (1.5kWh, 1500Wh) in a delivery slot. Prints the order's id.

    Example: watt wallet order home-03/ev buy 1.5kWh --slot 2017-06-16T14:00 --price 0.65 --key ev.key
    """

    async def args(client: Client) -> dict[str, Any]:
        return {"device": device, **order_args(wanted, *await units_of(client))}

    status = transact(*signing, "market", "place", args)
    _print_id(signing.nodes, status, as_json)


@click.command()
@click.argument("order_id", metavar="ORDER")
@_order_options
@signed
def replace(
    order_id: str,
    device: str,
    wanted: Wanted,
    signing: Signing,
    as_json: bool,
) -> None:
    """Take back what is open of ORDER and place another one instead, in one transaction: both happen, or neither.

    The new order is for ENERGY, whatever the old one has filled. Prints its id.

    Example: watt wallet replace 5f2c...e1 home-03/ev buy 1kWh --slot 2017-06-16T14:00 --price 0.7 --key ev.key
    """
    old = hex_id(order_id, "ORDER")

    async def args(client: Client) -> dict[str, Any]:
        return {"order": old, "device": device, **order_args(wanted, *await units_of(client))}

    status = transact(*signing, "market", "replace", args)
    _print_id(signing.nodes, status, as_json)


def _print_id(nodes: tuple[str, ...], status: TxStatus, as_json: bool) -> None:
    """Print the order's id. Raises RefusedError("over-budget") if nobody could pay: the block has decided that too."""
    if not isinstance(status.result, bytes):
        raise RefusedError("bad-answer", "the receipt names no order: another version?")
    if as_json:
        print_json({"order": status.result, "height": status.height})
    else:
        click.echo(status.result.hex())
    require_not_rejected(nodes, status.result)


@click.command()
@click.argument("order_id", metavar="ORDER")
@click.option("--device", help="Whose open order it is: then the first digits of the id are enough.")
@signed
def cancel(
    order_id: str,
    device: str | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Take back what is still open of ORDER (the id that `order` printed).

    Example: watt wallet cancel 5f2c...e1 --key ev.key

    Example: watt wallet cancel 5f2c77 --device home-03/ev --key ev.key
    """
    raw = hex_id(order_id, "ORDER") if device is None else ask(signing.nodes, _open_order(device, order_id.lower()))

    async def args(_: Client) -> dict[str, Any]:
        return {"order": raw}

    status = transact(*signing, "market", "cancel", args)
    if as_json:
        return print_json({"order": raw, "height": status.height})
    click.echo(f"cancelled in block {status.height}")


def _open_order(device: str, start: str) -> Callable[[Client], Awaitable[bytes]]:
    """What finds the one open order of ``device`` whose id starts so."""

    async def find(client: Client) -> bytes:
        await require_device(client.query, device)
        rows = records(await client.query("market", "orders", {"device": device}), ORDER)
        found = [row["id"] for row in rows if row["state"] in OPEN_STATES and row["id"].hex().startswith(start)]
        if len(found) != 1:
            raise RefusedError("unknown-order", f"{len(found)} open orders of {device} have an id that starts so")
        return cast("bytes", found[0])

    return find


@click.command()
@click.argument("device", required=False)
@click.option("--order", "order_id", metavar="ORDER", help="Instead of a DEVICE's orders, the one with this id.")
@click.option("--slot", type=SLOT, help=f"Only of this slot: {SAID}.")
@node_option
@trust_options
@json_option
@refusals_to_exit_codes
def orders(
    device: str | None,
    order_id: str | None,
    slot: Slot | None,
    nodes: tuple[str, ...],
    trust: Trust,
    as_json: bool,
) -> None:
    """List DEVICE's orders, in each slot the newest first; without --slot in all open slots. That is all, as is proven.

    Example: watt wallet orders home-03/ev --slot 2017-06-16T14:00

    Example: watt wallet orders --order 5f2c...e1
    """
    if (device is None) == (order_id is None) or (slot is not None and device is None):
        raise click.UsageError("say DEVICE, with --slot or without, or --order ORDER")
    wanted = None if order_id is None else hex_id(order_id, "ORDER")

    async def read(client: Client) -> tuple[Value, Source, int]:
        source = await believed(client, trust)
        slot_seconds = await slot_seconds_of(source.read)
        if wanted is not None:
            return (await source.read("market", "order", {"order": wanted}),), source, slot_seconds
        assert device is not None
        await require_device(source.read, device)
        args: dict[str, Any] = {"device": device}
        if slot is None:
            return await source.read("market", "orders", args), source, slot_seconds
        args |= {"slot": slot.at(slot_seconds), "most": PAGE}
        found = page = as_rows(await source.read("market", "orders", args))
        while len(page) == PAGE:
            args["before"] = record(page[-1], ORDER)["id"]
            found += (page := as_rows(await source.read("market", "orders", args)))
        return found, source, slot_seconds

    answer, source, slot_seconds = ask(nodes, read)
    rows, decimals = records(answer, ORDER), source.decimals
    if as_json:
        return print_json(rows)
    print_table(
        f"Orders of {device or rows[0]['device']}, limits in {source.symbol} per kWh",
        ("Order", TITLE, "Side", ">kWh", ">Filled", ">Limit", "State", "?Placed (UTC)"),
        (
            (
                row["id"],
                slot_shown(row["slot"], slot_seconds),
                row["side"],
                kwh(row["energy_wh"]),
                kwh(row["filled_wh"]),
                per_kwh(row["price"], decimals),
                row["state"],
                clock(row["placed"]),
            )
            for row in rows
        ),
    )
    show_proven(source)


@click.command()
@click.argument("device")
@click.option("--slot", type=SLOT, help=f"Only of this slot: {SAID}. By default of the last day and all open slots.")
@node_option
@trust_options
@json_option
@refusals_to_exit_codes
def trades(device: str, slot: Slot | None, nodes: tuple[str, ...], trust: Trust, as_json: bool) -> None:
    """List what DEVICE has traded, slot by slot and auction by auction: all of it, as is proven.

    Example: watt wallet trades home-03/pv

    Example: watt wallet trades home-03/pv --slot 2017-06-16T14:00
    """

    async def read(client: Client) -> tuple[list[dict[str, Any]], Source, int]:
        source = await believed(client, trust)
        await require_device(source.read, device)
        slot_seconds = await slot_seconds_of(source.read)
        if slot is not None:
            return await _traded(source.read, device, slot.at(slot_seconds)), source, slot_seconds
        rows: list[dict[str, Any]] = []
        for each in await _recent(source.read, await time_of(client, source), slot_seconds):
            try:
                rows += await _traded(source.read, device, each)
            except RefusedError as error:
                if error.code != PRUNED:  # its details have been deleted already
                    raise
        return rows, source, slot_seconds

    rows, source, slot_seconds = ask(nodes, read)
    decimals = source.decimals
    if as_json:
        return print_json(rows)
    print_table(
        f"Trades of {device}, prices in {source.symbol} per kWh",
        (TITLE, ">Auction", "Side", ">kWh", ">Price", ">Other's", ">Toll", "?Order", "?With order"),
        (
            (
                slot_shown(row["slot"], slot_seconds),
                row["auction"],
                row["side"],
                kwh(row["energy_wh"]),
                per_kwh(row["price"], decimals),
                per_kwh(row["other_price"], decimals),
                per_kwh(row["toll"], decimals),
                row["order"].hex()[:SHORT_ID],
                row["other_order"].hex()[:SHORT_ID],
            )
            for row in rows
        ),
    )
    show_proven(source)


async def _traded(read: Reader, device: str, slot: int) -> list[dict[str, Any]]:
    rows = records(await read("market", "device_trades", {"device": device, "slot": slot}), DEVICE_TRADE)
    return [{"slot": slot, **row} for row in rows]


async def _recent(read: Reader, now: int, slot_seconds: int) -> range:
    """The slots of the last day, and all that are open."""
    match await read("market", "span", {}):
        case (int(first), int(end)):
            return range(max(first, (now - DAY_S) // slot_seconds), end)
        case _:
            return range(0)
