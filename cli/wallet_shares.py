"""`watt wallet share`: tokens from one device to another, and who gave what to whom, why and by which rule."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from chaincode.budget_share import BY_HAND, GRANT, ORDER
from cli.alert_words import giver_name, why_words
from cli.answers import SHARE, all_records
from cli.asking import Source, believed, show_proven
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import period_asked, period_option, period_or_current
from cli.session import ask, may_sign_options, transact
from cli.slots import slot_seconds_of, slot_shown, slot_words
from cli.units import TOKENS, base_units
from cli.wallet_home import Trust, trust_options
from node.gateway.client import Client

_CHARGES = (b"settle ", b"correct ")
"""How the reference of a charge begins; the slot follows, in 8 bytes."""


@click.command()
@click.argument("giver", required=False)
@click.argument("receiver", required=False)
@click.argument("amount", type=TOKENS, required=False)
@click.option("--list", "network", metavar="NETWORK", help="Instead of sharing, list the shares within a network.")
@period_option
@may_sign_options
@trust_options
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
    trust: Trust,
    as_json: bool,
) -> None:
    """Give AMOUNT tokens of device GIVER's budget to device RECEIVER of the same network; the owner signs.

    Example: watt wallet share home-03/battery home-03/ev 2.5 --key owner.key

    Example: watt wallet share --list home-03
    """
    if network is not None:
        if giver is not None:
            raise click.UsageError("either GIVER RECEIVER AMOUNT, or --list NETWORK")
        return _list_shares(network, period, nodes, trust, as_json)
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


def served(row: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """What a share was for: an order's id (or that of the transaction with the list it stood in), or the slot that was
    settled; neither, if it was for nothing but the receiver.
    """
    reference: bytes = row["reference"]
    if row["why"] == ORDER:
        return reference.hex(), None
    for begins in _CHARGES:
        if reference.startswith(begins) and len(reference) == len(begins) + 8:
            return None, int.from_bytes(reference[len(begins) :], "big")
    return None, None


def _list_shares(network: str, period: int | None, nodes: tuple[str, ...], trust: Trust, as_json: bool) -> None:
    async def read(client: Client) -> tuple[list[dict[str, Any]], int, Source, int]:
        source = await believed(client, trust)
        number = await period_asked(client, source, period, network)
        of_period = {"network": network, "period": number}
        found = await all_records(source.read, "budget", "shares", of_period, SHARE)
        return found, number, source, await slot_seconds_of(source.read)

    rows, number, source, slot_seconds = ask(nodes, read)
    decimals = source.decimals
    if as_json:
        orders = [served(row) for row in rows]
        return print_json([row | {"order": of[0], "settled_slot": of[1]} for row, of in zip(rows, orders, strict=True)])
    print_table(
        f"Shares within {network}, period {number}, tokens",
        ("Giver", "Receiver", ">Amount", ">Returned", "Why", "?Rule", "?Given in slot (UTC)"),
        (
            (
                giver_name(row["giver"]),
                row["receiver"] or "the pool",
                tokens(row["amount"], decimals),
                tokens(row["returned"], decimals),
                _why(row, slot_seconds),
                _rule(row),
                slot_shown(row["slot"], slot_seconds),
            )
            for row in rows
        ),
    )
    show_proven(source)


def _why(row: Mapping[str, Any], slot_seconds: int) -> str:
    order, slot = served(row)
    if order is not None:
        return f"for order {order[:12]}"
    if slot is not None:
        return f"{why_words(row['why'])}, {slot_words(slot, slot_seconds)}"
    return why_words(row["why"])


def _rule(row: Mapping[str, Any]) -> str:
    """By which rule the giver was the one, in words."""
    rule: str = row["rule"]
    if row["why"] in (BY_HAND, GRANT):
        return "its owner's will" if rule == "owner" else rule
    if rule == "pool":
        return "the pool, after the devices"
    return f"{rule} of the policy" if rule.startswith("rank ") else rule
