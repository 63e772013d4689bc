"""`watt market`: products, books and prices; clear a file of orders; verify past auctions."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import click
from rich.console import Console
from rich.progress import track

from chaincode.contract import ContractError
from chaincode.registry import default_registry
from cli.answers import BOOK_LEVEL, PRODUCT, Reader, records
from cli.clearing_file import clear_file
from cli.output import count, json_option, plain, print_json, print_table, refusals_to_exit_codes
from cli.session import ask, genesis_option, node_option, proven_at
from cli.units import clock, kwh, parse_slot, per_kwh
from cli.verify import Checked, Fault, slot_seconds_of, stored_products, verify_product
from node.config import load_config
from node.epochs import verified_epochs
from node.errors import RefusedError
from node.executor import Executor
from node.gateway.client import Client
from node.gateway.proven import ProvenReader
from node.ledger.chain import Ledger
from node.ledger.store import LevelStore
from node.model.codec import Value
from node.model.genesis import Genesis, load_genesis
from node.model.keys import verify as verify_signature
from node.setup import DATABASE_NAME
from node.witness import proven_answer

_BAD_CLEARING = "bad-clearing"
_PATH = click.Path(path_type=Path)


@click.group()
def market() -> None:
    """Products, books, prices; clear and verify auctions."""


@market.command()
@node_option
@json_option
@refusals_to_exit_codes
def products(nodes: tuple[str, ...], as_json: bool) -> None:
    """List the delivery slots that are open, or not yet final. Prices in tokens per kWh, times in UTC.

    Example: watt market products --node 127.0.0.1:7401
    """

    async def read(client: Client) -> tuple[Value, int]:
        return await client.query("market", "products"), (await client.node_info()).token_decimals

    answer, decimals = ask(nodes, read)
    rows = records(answer, PRODUCT)
    if as_json:
        return print_json(rows)
    print_table(
        "Products",
        ("Slot", "Starts", "State", "Gate", ">Retail", ">Feed-in", "?>Auctions", "?>Trades", "?>kWh traded"),
        (
            (
                row["slot"],
                clock(row["starts"])[:16],
                row["state"],
                clock(row["gate"])[11:],
                per_kwh(row["retail"], decimals),
                per_kwh(row["feed_in"], decimals),
                row["auctions"],
                row["trades"],
                kwh(row["energy_wh"]),
            )
            for row in rows
        ),
    )


@market.command()
@click.argument("slot")
@node_option
@json_option
@refusals_to_exit_codes
def book(slot: str, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show the orders that rest in SLOT (a number, or a UTC time in it), by bus and price.

    Example: watt market book 2017-06-16T12:30
    """

    async def read(client: Client) -> tuple[Value, int]:
        args = {"slot": parse_slot(slot, await slot_seconds_of(client.query))}
        return await client.query("market", "book", args), (await client.node_info()).token_decimals

    answer, decimals = ask(nodes, read)
    rows = records(answer, BOOK_LEVEL)
    if as_json:
        return print_json(rows)
    print_table(
        f"Book of slot {slot}",
        ("Bus", "Side", ">Tokens per kWh", ">kWh", ">Orders"),
        (
            (row["bus"], row["side"], per_kwh(row["price"], decimals), kwh(row["energy_wh"]), row["orders"])
            for row in rows
        ),
    )


@market.command()
@click.argument("slot")
@node_option
@json_option
@refusals_to_exit_codes
def prices(slot: str, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show the price at every bus in the last auction of SLOT (a number, or a UTC time in it).

    Example: watt market prices 2017-06-16T12:30
    """

    async def read(client: Client) -> tuple[Value, int]:
        args = {"slot": parse_slot(slot, await slot_seconds_of(client.query))}
        return await client.query("market", "prices", args), (await client.node_info()).token_decimals

    answer, decimals = ask(nodes, read)
    match answer:
        case (int(number), int(time), tuple(pairs)):
            by_bus = {row["bus"]: row["price"] for row in records(pairs, ("bus", "price"))}
        case None:
            raise RefusedError("no-auction", f"slot {slot} has had no auction yet")
        case _:
            raise RefusedError("bad-answer", "the node's answer is no price list: another version?")
    if as_json:
        return print_json({"auction": number, "time": time, "prices": by_bus})
    print_table(
        f"Auction {number} of slot {slot}, {clock(time)}",
        ("Bus", ">Tokens per kWh"),
        ((bus, per_kwh(price, decimals)) for bus, price in by_bus.items()),
    )


@market.command()
@click.option("--input", "input_file", type=_PATH, required=True, help="A JSON file of grid and orders.")
@json_option
@refusals_to_exit_codes
def clear(input_file: Path, as_json: bool) -> None:
    """Clear a file of orders with the chain's own auction: prices, trades and flows. Needs no node.

    The file: {"grid": {"root": BUS, "lines": [{"from": BUS, "to": BUS, "toll": INT, "limit_down_wh": INT or null,
    "limit_up_wh": INT or null}]}, "orders": [{"id", "bus", "side": "buy" or "sell", "price", "energy_wh", "age"}]},
    prices and tolls in base units per Wh.

    Example: watt market clear --input orders.json --json
    """
    try:
        data = input_file.read_bytes()
    except OSError as error:
        raise RefusedError("no-input", f"{input_file}: {error.strerror}") from error
    result = clear_file(data)
    if as_json:
        return print_json(result)
    by_bus = cast("dict[str, int]", result["prices"])
    print_table("Prices, base units per Wh", ("Bus", ">Price"), by_bus.items())
    trades = cast("list[dict[str, Any]]", result["trades"])
    print_table(
        f"Trades, welfare {result['welfare']:,}",
        ("Buy", "Sell", ">Wh", ">Buyer pays", ">Seller gets"),
        (
            (trade["buy"], trade["sell"], trade["energy_wh"], trade["buyer_price"], trade["seller_price"])
            for trade in trades
        ),
    )


@market.command()
@click.argument("slot", required=False)
@node_option
@genesis_option
@click.option("--config", "config_file", type=_PATH, help="A stopped node's node.toml: read its data, ask no gateway.")
@json_option
@refusals_to_exit_codes
def verify(
    slot: str | None, nodes: tuple[str, ...], genesis_file: Path | None, config_file: Path | None, as_json: bool
) -> None:
    """Check past auctions, of SLOT or of all products: that each is what the rules demand of its orders.

    The auctions are checked as the node shows them. With --genesis FILE no node need be trusted: whatever is read comes
    with a proof under a block that the members certified, who are proven from the genesis on. With --config FILE the
    same is read from the data directory of a stopped node.

    Example: watt market verify --genesis .testnet/genesis.json

    Example: watt market verify --config .demo/nodes/node-0/node.toml
    """
    if genesis_file is not None and config_file is not None:
        raise click.UsageError("say --genesis or --config, not both: the latter names its own")
    if config_file is not None:
        (checked, faults), shown = _verify_offline(config_file, slot)
    elif genesis_file is not None:
        (checked, faults), shown = _verify_proven(nodes, load_genesis(genesis_file), slot)
    else:
        checked, faults = ask(nodes, lambda client: _verify(client.query, slot))
        shown = "as the node shows them; with --genesis FILE no node need be trusted"
    if as_json:
        print_json({**checked._asdict(), "read": shown, "faults": [fault._asdict() for fault in faults]})
    else:
        for fault in faults:
            click.echo(f"slot {fault.slot}, auction {fault.auction}: {fault.code}: {plain(fault.message)}")
        click.echo(
            f"{count(checked.auctions, 'auction')} with {count(checked.orders, 'order')} and "
            f"{count(checked.trades, 'trade')}, {kwh(checked.energy_wh)} kWh: "
            f"{'all as the rules demand' if not faults else count(len(faults), 'fault')}"
        )
        click.echo(f"read {shown}")
    if faults:
        raise RefusedError(_BAD_CLEARING, f"not what the rules demand: {count(len(faults), 'fault')}")


def _verify_proven(
    nodes: tuple[str, ...], genesis: Genesis, slot: str | None
) -> tuple[tuple[Checked, list[Fault]], str]:
    async def use(client: Client) -> tuple[tuple[Checked, list[Fault]], str]:
        read = ProvenReader(client, genesis, default_registry())
        found = await _verify(read, slot, client.query)
        return found, f"with proofs under certificates of the members, proven from the genesis on, {proven_at(read)}"

    return ask(nodes, use)


async def _verify(read: Reader, slot: str | None, hint: Reader | None = None) -> tuple[Checked, list[Fault]]:
    slot_seconds = await slot_seconds_of(read)
    slots = await stored_products(read, hint) if slot is None else [parse_slot(slot, slot_seconds)]
    console = Console(stderr=True)
    total, faults = Checked(0, 0, 0, 0), []
    for each in track(slots, "Checking auctions", console=console, disable=not sys.stderr.isatty(), transient=True):
        checked, found = await verify_product(read, each, slot_seconds)
        total = Checked(*(sum(pair) for pair in zip(total, checked, strict=True)))
        faults += found
    return total, faults


def _verify_offline(config_file: Path, slot: str | None) -> tuple[tuple[Checked, list[Fault]], str]:
    config = load_config(config_file)
    genesis = load_genesis(config.path(config.genesis))
    registry = default_registry()
    store = LevelStore(config.path(config.data_dir) / DATABASE_NAME, create=False)
    try:
        ledger = Ledger.open(store, genesis, registry)
        certificate = ledger.head_certificate
        if certificate is None:
            raise RefusedError("no-block", "the ledger has no block with a certificate yet")
        known = genesis.chain, verified_epochs(genesis, ledger.boundaries(), verify_signature)
        executor = Executor(ledger, registry, genesis)
        shown = f"with proofs under the certificate of block {ledger.head.height} of {clock(ledger.head.time)}"

        async def read(contract: str, method: str, args: Mapping[str, Any]) -> Value:
            try:
                _, reads = executor.query_proven(contract, method, args)
                return proven_answer(registry, *known, ledger.head, certificate, reads, contract, method, args)
            except ContractError as error:
                raise RefusedError(error.code, error.message) from error

        async def hint(contract: str, method: str, args: Mapping[str, Any]) -> Value:
            return executor.query(contract, method, args)

        return asyncio.run(_verify(read, slot, hint)), shown
    finally:
        store.close()
