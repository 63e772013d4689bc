"""`watt admin cap | supply`: what the utility issues at most, and what there is."""

from decimal import Decimal
from typing import Any

import click

from chaincode.budget_supply import COMPANY, NETWORK
from cli.answers import as_rows
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import company_period, period_option, period_or_current
from cli.session import Signing, ask, done, node_option, signed, transact
from cli.units import TOKENS, base_units
from node.gateway.client import Client

company_option = click.option("--company", "of_company", is_flag=True, help="NAME is a company's, not a network's.")


async def holder_period(client: Client, of_company: bool, name: str, period: int | None) -> int:
    """The period that was named, or the running one of the network or company."""
    return await (company_period if of_company else period_or_current)(client, period, name)


def kind_of(of_company: bool) -> str:
    """As the contract ``supply`` says it."""
    return COMPANY if of_company else NETWORK


@click.group()
def cap() -> None:
    """What the utility issues to a network or company at most."""


@cap.command("set")
@click.argument("name")
@click.argument("amount", type=TOKENS)
@company_option
@click.option("--every", is_flag=True, help="For every period that has no cap of its own.")
@period_option
@signed
def cap_set(
    name: str,
    amount: Decimal,
    of_company: bool,
    every: bool,
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Issue at most AMOUNT tokens to NAME in a billing period. Less than is issued already: nothing more. The utility
    signs.

    Example: watt admin cap set home-03 60 --every --key utility.key

    Example: watt admin cap set coop 900 --company --period 12 --key utility.key
    """
    _set_cap(name, amount, of_company, every, period, signing, as_json)


@cap.command("lift")
@click.argument("name")
@company_option
@click.option("--every", is_flag=True, help="The cap for every period.")
@period_option
@signed
def cap_lift(
    name: str,
    of_company: bool,
    every: bool,
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Take away the cap of a billing period of NAME; that for every period may hold then. The utility signs.

    Example: watt admin cap lift home-03 --period 12 --key utility.key
    """
    _set_cap(name, None, of_company, every, period, signing, as_json)


@cap.command("show")
@click.argument("name")
@company_option
@period_option
@node_option
@json_option
@refusals_to_exit_codes
def cap_show(name: str, of_company: bool, period: int | None, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show the caps of NAME in a billing period, and what is issued.

    Example: watt admin cap show home-03
    """

    async def read(client: Client) -> tuple[int, tuple[Any, ...], int]:
        number = await holder_period(client, of_company, name, period)
        args = {"kind": kind_of(of_company), "name": name, "period": number}
        found = as_rows(await client.query("supply", "cap", args))
        return number, found, (await client.node_info()).token_decimals

    number, (own, every, issued), decimals = ask(nodes, read)
    if as_json:
        return print_json({"name": name, "period": number, "cap": own, "every_period": every, "issued": issued})
    caps = ["none" if each is None else tokens(each, decimals) for each in (own, every)]
    print_table(
        f"{name}, period {number}, tokens", (">Cap", ">Every period", ">Issued"), [(*caps, tokens(issued, decimals))]
    )


@click.command()
@node_option
@json_option
@refusals_to_exit_codes
def supply(nodes: tuple[str, ...], as_json: bool) -> None:
    """Show what has been issued and redeemed since the genesis, and what is left in the world.

    Example: watt admin supply
    """

    async def read(client: Client) -> tuple[tuple[Any, ...], int]:
        return as_rows(await client.query("accounts", "supply", {})), await decimals_of(client)

    (issued, redeemed), decimals = ask(nodes, read)
    found = {"issued": issued, "redeemed": redeemed, "supply": issued - redeemed}
    if as_json:
        return print_json(found)
    print_table(
        "Supply, tokens",
        tuple(f">{name.capitalize()}" for name in found),
        [[tokens(amount, decimals) for amount in found.values()]],
    )


def _set_cap(
    name: str,
    amount: Decimal | None,
    of_company: bool,
    every: bool,
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    if every and period is not None:
        raise click.UsageError("either --every or --period")

    async def args(client: Client) -> dict[str, Any]:
        number = None if every else await holder_period(client, of_company, name, period)
        units = None if amount is None else base_units(amount, await decimals_of(client))
        return {"kind": kind_of(of_company), "name": name, "period": number, "amount": units}

    done(transact(*signing, "supply", "set_cap", args), as_json)


async def decimals_of(client: Client) -> int:
    """Decimals of a token."""
    return (await client.node_info()).token_decimals
