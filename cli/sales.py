"""`watt admin sale`: tokens sold from one network to another under an agreement. docs/agreements.md."""

from decimal import Decimal
from typing import Any, Final, cast

import click

from chaincode.agreement_book import SALE
from cli.agreements import AGREEMENT, of_network
from cli.answers import Reader, as_rows, record, records
from cli.lazy import Commands, LazyGroup
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import period_option, period_or_current
from cli.session import Signing, ask, done, node_option, signed, transact
from cli.units import TOKENS, Count, base_units, percent
from node.gateway.client import Client

SALE_ROW: Final = (
    "sale", "seller", "buyer", "agreement", "period", "amount", "price", "due", "state", "buyer_period", "payment",
    "slot", "tx_id",
)  # fmt: skip

COMMANDS: Final[Commands] = {
    "accept": ("cli.sales:accept", "Buy what is offered, and name the payment."),
    "confirm": ("cli.sales:confirm", "Confirm that the money has arrived."),
    "decline": ("cli.sales:decline", "Refuse an offer."),
    "list": ("cli.sales:list_", "List a network's sales and offers."),
    "offer": ("cli.sales:offer", "Offer tokens under an agreement of sale."),
    "withdraw": ("cli.sales:withdraw", "Take back an offer that waits."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def sale() -> None:
    """Tokens sold from one network to another under an agreement."""


@click.command()
@click.argument("agreement", type=Count())
@click.argument("amount", type=TOKENS)
@period_option
@signed
def offer(
    agreement: int,
    amount: Decimal,
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Offer AMOUNT tokens under the AGREEMENT with this number, at its price. The seller's owner signs.

    Example: watt admin sale offer 8 20 --key owner.key
    """

    async def args(client: Client) -> dict[str, Any]:
        row = record(await client.query("agreements", "agreement", {"agreement": agreement}), AGREEMENT)
        return {
            "agreement": agreement,
            "period": await period_or_current(client, period, row["giver"]),
            "amount": base_units(amount, (await client.node_info()).token_decimals),
        }

    status = transact(*signing, "sales", "offer", args)
    if as_json:
        return print_json({"height": status.height, "sale": status.result})
    click.echo(f"sale {cast('int', status.result)} is offered, in block {status.height}")


@click.command()
@click.argument("number", type=Count())
@click.option("--payment", required=True, help="What the payment is known by outside: a bank's reference.")
@signed
def accept(
    number: int,
    payment: str,
    signing: Signing,
    as_json: bool,
) -> None:
    """Buy what is offered as sale NUMBER; or say how a sale at the close of a period was paid. The buyer's owner signs.

    Example: watt admin sale accept 3 --payment "transfer 2017-07-02/118" --key owner.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {"sale": number, "payment": payment.encode()}

    done(transact(*signing, "sales", "accept", args), as_json)


def _answer(name: str, method: str, text: str) -> click.Command:
    """A command that calls ``sales.METHOD`` with a sale's number."""

    @click.command(name, help=text)
    @click.argument("number", type=Count())
    @signed
    def command(number: int, signing: Signing, as_json: bool) -> None:
        async def args(_: Client) -> dict[str, Any]:
            return {"sale": number}

        done(transact(*signing, "sales", method, args), as_json)

    return command


withdraw = _answer(
    "withdraw",
    "withdraw",
    "Take back the offer NUMBER, which waits. The seller's owner signs.\n\n"
    "Example: watt admin sale withdraw 3 --key owner.key",
)
decline = _answer(
    "decline",
    "decline",
    "Refuse the offer NUMBER. The buyer's owner signs.\n\nExample: watt admin sale decline 3 --key owner.key",
)
confirm = _answer(
    "confirm",
    "confirm_payment",
    "Confirm that the money for sale NUMBER has arrived. The seller's owner signs.\n\n"
    "Example: watt admin sale confirm 3 --key owner.key",
)


@click.command("list")
@click.argument("network_name", metavar="NETWORK")
@node_option
@json_option
@refusals_to_exit_codes
def list_(network_name: str, nodes: tuple[str, ...], as_json: bool) -> None:
    """List what NETWORK has sold, bought and offered. Due: in tokens' worth at par, of money outside.

    Example: watt admin sale list home-03
    """

    async def read(client: Client) -> tuple[list[dict[str, Any]], int]:
        found = await of_network(client.query, network_name)
        numbers = [row["number"] for row in found if row["kind"] == SALE]
        rows = [row for number in numbers for row in await _under(client.query, number)]
        return sorted(rows, key=lambda row: int(row["sale"])), (await client.node_info()).token_decimals

    rows, decimals = ask(nodes, read)
    if as_json:
        return print_json(rows)
    print_table(
        f"Sales of {network_name}",
        (">Sale", "Seller", "Buyer", ">Tokens", ">Price", ">Due", "State", "Payment", "?>Agreement", "?>Period"),
        [
            (row["sale"], row["seller"], row["buyer"], tokens(row["amount"], decimals), percent(row["price"]),
             tokens(row["due"], decimals), row["state"], row["payment"].decode(errors="replace"), row["agreement"],
             row["period"])
            for row in rows
        ],
    )  # fmt: skip


async def _under(read: Reader, agreement: int) -> list[dict[str, Any]]:
    """The sales under an agreement, by number."""
    rows: list[dict[str, Any]] = []
    after = 0
    while page := as_rows(await read("sales", "sales", {"agreement": agreement, "after": after})):
        rows += records(page, SALE_ROW)
        after = rows[-1]["sale"]
    return rows
