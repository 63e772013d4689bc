"""`watt wallet request | requests | grant | decline`: asking for tokens, and answering. docs/budgets.md, Requests."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, cast

import click

from chaincode.budget_share import OTHER, POOL
from chaincode.requests import WAITING
from cli.alert_words import giver_name
from cli.answers import Reader, record, records
from cli.asking import Source, believed, show_proven
from cli.output import json_option, plain, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import period_option, period_or_current
from cli.session import Signing, ask, done, node_option, signed, transact
from cli.slots import slot_seconds_of, slot_shown
from cli.units import TOKENS, Count, base_units
from cli.wallet_home import Trust, trust_options
from node.gateway.client import Client
from node.model.codec import Value

REQUEST: Final = (
    "number", "device", "giver", "agreement", "period", "amount", "reason", "asked_slot", "state", "granted", "slot",
)  # fmt: skip


@click.command()
@click.argument("device", required=False)
@click.argument("amount", type=TOKENS, required=False)
@click.option("--of", "giver", metavar="NAME", help="Another device of the network; without it, the network's pool.")
@click.option(
    "--agreement",
    type=Count(),
    help="Ask another network, under this agreement to share; --of names it if the key may not see the agreement.",
)
@click.option("--reason", default="", help="Why, in at most 64 bytes.")
@click.option("--withdraw", "number", type=Count(), metavar="NUMBER", help="Instead, take back a request that waits.")
@period_option
@signed
def request(
    device: str | None,
    amount: Decimal | None,
    giver: str | None,
    agreement: int | None,
    reason: str,
    number: int | None,
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Ask for AMOUNT tokens for DEVICE; the device's key or its owner's signs. Who is asked may grant it or not.

    Example: watt wallet request home-03/ev 2.5 --of home-03/battery --reason "guests" --key ev.key

    Example: watt wallet request shop-1/hvac 40 --agreement 7 --key owner.key
    """
    if number is not None:
        if device is not None:
            raise click.UsageError("either DEVICE AMOUNT, or --withdraw NUMBER")
        return done(transact(*signing, "requests", "withdraw", _numbered(number)), as_json)
    if device is None or amount is None:
        raise click.UsageError("say DEVICE AMOUNT, or --withdraw NUMBER")

    async def args(client: Client) -> dict[str, Any]:
        asked = giver or POOL
        if agreement is not None and giver is not None:
            asked = OTHER + giver
        elif agreement is not None:
            of = await client.query("agreements", "agreement", {"agreement": agreement})
            asked = OTHER + cast("str", cast("tuple[Value, ...]", of)[1])
        return {
            "device": device,
            "giver": asked,
            "agreement": agreement or 0,
            "period": await period_or_current(client, period, device),
            "amount": base_units(amount, (await client.node_info()).token_decimals),
            "reason": reason,
        }

    status = transact(*signing, "requests", "ask", args)
    if as_json:
        return print_json({"height": status.height, "request": status.result})
    asked = cast("int", status.result)
    click.echo(f"request {asked}, in block {status.height}")


@click.command()
@click.argument("network")
@click.option("--all", "everything", is_flag=True, help="Also those that were answered or taken back, or have lapsed.")
@node_option
@trust_options
@json_option
@refusals_to_exit_codes
def requests(network: str, everything: bool, nodes: tuple[str, ...], trust: Trust, as_json: bool) -> None:
    """List what devices of NETWORK ask for, and what NETWORK is asked for by others.

    Example: watt wallet requests home-03
    """

    async def read(client: Client) -> tuple[list[dict[str, Any]], Source, int]:
        source = await believed(client, trust)
        rows: list[dict[str, Any]] = []
        while page := await _page(source.read, network, rows):
            rows += page
        return rows, source, await slot_seconds_of(source.read)

    found, source, slot_seconds = ask(nodes, read)
    decimals = source.decimals
    rows = [row for row in found if everything or row["state"] == WAITING]
    if as_json:
        return print_json(rows)
    print_table(
        f"Requests of {network} and to it, tokens",
        ("Number", "Device", ">Amount", "Of", "?Period", "Reason", "State", ">Granted", "?Since slot (UTC)"),
        (
            (
                row["number"],
                row["device"],
                tokens(row["amount"], decimals),
                _asked(row),
                row["period"],
                plain(row["reason"]),
                row["state"],
                tokens(row["granted"], decimals) if row["granted"] else "",
                slot_shown(row["slot"], slot_seconds),
            )
            for row in rows
        ),
    )
    show_proven(source)


@click.command()
@click.argument("number", type=Count())
@click.argument("amount", type=TOKENS, required=False)
@signed
def grant(
    number: int,
    amount: Decimal | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Give what request NUMBER asks for, or only AMOUNT tokens of it. The owner of who is asked signs.

    Example: watt wallet grant 4 1.5 --key owner.key
    """

    async def args(client: Client) -> dict[str, Any]:
        if amount is not None:
            units = base_units(amount, (await client.node_info()).token_decimals)
        else:
            units = record(await client.query("requests", "request", {"request": number}), REQUEST)["amount"]
        return {"request": number, "amount": units}

    done(transact(*signing, "requests", "grant", args), as_json)


@click.command()
@click.argument("number", type=Count())
@signed
def decline(number: int, signing: Signing, as_json: bool) -> None:
    """Give nothing for request NUMBER. The owner of who is asked signs.

    Example: watt wallet decline 4 --key owner.key
    """
    done(transact(*signing, "requests", "decline", _numbered(number)), as_json)


async def _page(read: Reader, network: str, before: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The next requests of a network, after those that are known."""
    after = before[-1]["number"] if before else 0
    return records(await read("requests", "of_network", {"network": network, "after": after}), REQUEST)


def _numbered(number: int) -> Callable[[Client], Awaitable[dict[str, Any]]]:
    async def args(_: Client) -> dict[str, Any]:
        return {"request": number}

    return args


def _asked(row: Mapping[str, Any]) -> str:
    named = giver_name(row["giver"])
    return f"{named}, agreement {row['agreement']}" if row["agreement"] else named
