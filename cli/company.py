"""`watt admin company`: what a company holds, and what it gives to its networks."""

from decimal import Decimal
from typing import Any, Final

import click

from chaincode.accounts import NetworkBook
from cli.answers import Reader, all_records, as_rows, record
from cli.asking import believed
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import company_period, period_option
from cli.session import Signing, ask, done, node_option, proven_at, signed, transact
from cli.slots import slot_seconds_of
from cli.units import MAX_PERIOD, TOKENS, Count, base_units
from cli.wallet_home import Trust
from node.errors import RefusedError
from node.gateway.client import Client
from node.gateway.proven import ProvenReader

BOOK: Final = ("status", *NetworkBook._fields)
NETWORK: Final = ("network", "class", "limit", "period", "given", "pool", "allocated")

_ALWAYS: Final = ("pool", "issued", "sent", "received")
"""Figures of a company's book that are shown even if they are 0."""

network_period_option = click.option(
    "--network-period",
    type=Count(most=MAX_PERIOD),
    help="The network's own period, if its calendar is another; default: the running one, or the first of --period.",
)


@click.group()
def company() -> None:
    """What a company holds, and what it gives to its networks."""


@company.command()
@click.argument("network")
@click.argument("amount", type=TOKENS)
@network_period_option
@period_option
@signed
def assign(
    network: str,
    amount: Decimal,
    network_period: int | None,
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Give AMOUNT tokens of the company to the pool of NETWORK, one of its own. The company signs.

    Example: watt admin company assign shop-07 120 --key coop.key
    """
    _move("assign", network, amount, network_period, period, signing, as_json)


@company.command("take-back")
@click.argument("network")
@click.argument("amount", type=TOKENS)
@network_period_option
@period_option
@signed
def take_back(
    network: str,
    amount: Decimal,
    network_period: int | None,
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Take AMOUNT tokens that NETWORK's pool still has of the company back. The company signs.

    Example: watt admin company take-back shop-07 30 --key coop.key
    """
    _move("take_back", network, amount, network_period, period, signing, as_json)


@company.command()
@click.argument("network")
@click.argument("amount", type=TOKENS, required=False)
@click.option("--none", "lift", is_flag=True, help="No limit any more.")
@signed
def limit(
    network: str,
    amount: Decimal | None,
    lift: bool,
    signing: Signing,
    as_json: bool,
) -> None:
    """Let NETWORK have at most AMOUNT tokens of the company in each billing period. The company signs.

    Example: watt admin company limit shop-07 150 --key coop.key

    Example: watt admin company limit shop-07 --none --key coop.key
    """
    if (amount is None) != lift:
        raise click.UsageError("say either AMOUNT or --none")

    async def args(client: Client) -> dict[str, Any]:
        units = None if amount is None else base_units(amount, (await client.node_info()).token_decimals)
        return {"network": network, "amount": units}

    done(transact(*signing, "companies", "limit_network", args), as_json)


@company.command()
@click.argument("network")
@click.argument("class_name", metavar="CLASS", required=False)
@click.option("--none", "lift", is_flag=True, help="No class any more.")
@signed
def classify(
    network: str,
    class_name: str | None,
    lift: bool,
    signing: Signing,
    as_json: bool,
) -> None:
    """Say that NETWORK is a CLASS, such as cooling: agreements may be for networks of one class only. The company
    signs.

    Example: watt admin company classify shop-07/hvac hvac --key coop.key
    """
    if (class_name is None) != lift:
        raise click.UsageError("say either CLASS or --none")

    async def args(_: Client) -> dict[str, Any]:
        return {"network": network, "class_name": class_name or ""}

    done(transact(*signing, "companies", "classify", args), as_json)


@company.command()
@click.argument("member")
@period_option
@node_option
@json_option
@refusals_to_exit_codes
def show(member: str, period: int | None, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show what the company MEMBER holds in a billing period, and what its networks have of it.

    Example: watt admin company show coop
    """
    show_company(member, period, nodes, None, as_json)


def is_member(nodes: tuple[str, ...], name: str) -> bool:
    """Whether ``name`` is a member of the consortium's."""

    async def read(client: Client) -> bool:
        try:
            await client.query("identity", "member", {"member": name})
        except RefusedError as error:
            if error.code != "unknown-member":
                raise
            return False
        return True

    return ask(nodes, read)


def show_company(member: str, period: int | None, nodes: tuple[str, ...], trust: Trust | None, as_json: bool) -> None:
    """Print a company's book of a period and its networks; proven, unless ``trust`` is None or believes the node."""

    async def read(client: Client) -> tuple[int, dict[str, Any], list[dict[str, Any]], int, str | None]:
        source = await believed(client, trust)
        if source.proven is None:
            number = await company_period(client, period, member)
            return number, *await _books(client.query, member, number), source.decimals, None
        number = await _proven_period(source.proven, period, member)
        return number, *await _books(source.proven, member, number), source.decimals, proven_at(source.proven)

    number, book, networks, decimals, proven = ask(nodes, read)
    if as_json:
        found = {"period": number, "company": book, "networks": networks}
        return print_json(found if proven is None else {**found, "proven": proven})
    columns = [name for name in BOOK[1:] if name in _ALWAYS or book[name]]
    print_table(
        f"{member}, period {number} ({book['status']}), tokens",
        tuple(f">{name.capitalize().replace('_', ' ')}" for name in columns),
        [[tokens(book[name], decimals) for name in columns]],
    )
    print_table(
        f"Networks of {member}, tokens",
        ("Network", "?Class", ">Period", ">Limit", ">Has of it", ">Pool", ">Allocated"),
        [
            (
                row["network"],
                row["class"],
                row["period"],
                "" if row["limit"] is None else tokens(row["limit"], decimals),
                *(tokens(row[name], decimals) for name in ("given", "pool", "allocated")),
            )
            for row in networks
        ],
    )
    if proven is not None:
        click.echo(f"proven {proven}")


async def _books(read: Reader, member: str, period: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    args = {"member": member, "period": period}
    book = record(await read("companies", "company", args), BOOK)
    return book, await all_records(read, "companies", "networks", args, NETWORK)


async def _proven_period(read: ProvenReader, period: int | None, member: str) -> int:
    if period is not None:
        return period
    slot_seconds = await slot_seconds_of(read)
    assert read.oldest is not None
    found = as_rows(await read("companies", "period", {"member": member, "slot": read.oldest.time // slot_seconds}))
    return int(str(found[0]))


def _move(
    method: str,
    network: str,
    amount: Decimal,
    network_period: int | None,
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    async def args(client: Client) -> dict[str, Any]:
        member = str(as_rows(await client.query("identity", "network", {"network": network}))[1])
        return {
            "network": network,
            "period": await company_period(client, period, member),
            "amount": base_units(amount, (await client.node_info()).token_decimals),
            "network_period": network_period,
        }

    done(transact(*signing, "companies", method, args), as_json)
