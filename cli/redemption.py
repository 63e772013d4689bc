"""`watt admin redeem | return | redemption`: what comes back to the utility, at which price, and on which bill."""

from decimal import Decimal
from typing import Any, Final

import click

from chaincode.budget_supply import NETWORK, PAR_PERMILLE, Redemption
from cli.answers import all_records, as_rows, records
from cli.confirm import confirm, yes_option
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import period_option
from cli.session import Signing, ask, done, node_option, signed, transact
from cli.slots import SLOT, Slot, slot_seconds_of, slot_shown
from cli.supply import company_option, decimals_of, holder_period, kind_of
from cli.units import TOKENS, Count, Percent, base_units, clock, percent
from node.errors import RefusedError
from node.gateway.client import Client

PRICE: Final = ("from_slot", "permille")
REDEMPTION: Final = ("number", *Redemption._fields)


PRICE_OF_PAR: Final = Percent(PAR_PERMILLE)
reference_option = click.option(
    "--reference", required=True, help="What you call it, for your books; of redemptions each is used once."
)


@click.command()
@click.argument("name")
@click.argument("amount", type=TOKENS)
@company_option
@reference_option
@click.option("--least", type=PRICE_OF_PAR, help="The least price that you accept, in percent of par; else today's.")
@period_option
@signed
def redeem(
    name: str,
    amount: Decimal,
    of_company: bool,
    reference: str,
    least: int | None,
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Give AMOUNT tokens of NAME's pool to the utility for a credit on its bill, at the price of the moment; they are
    gone then. The owner signs, or the company.

    Example: watt admin redeem home-03 12.5 --reference june-rest --least 85% --key owner.key
    """

    async def args(client: Client) -> dict[str, Any]:
        asked = await _price_now(client) if least is None else least
        return {**await _holding(client, name, amount, of_company, reference, period), "least": asked}

    status = transact(*signing, "supply", "redeem", args)
    number, permille, credit = (int(str(each)) for each in as_rows(status.result))
    if as_json:
        return print_json({"height": status.height, "redemption": number, "permille": permille, "credit": credit})
    decimals = ask(signing.nodes, decimals_of)
    click.echo(
        f"redemption {number} in block {status.height}: {tokens(credit, decimals)} tokens of credit at "
        f"{percent(permille)} of par"
    )


@click.command("return")
@click.argument("name")
@click.argument("amount", type=TOKENS)
@company_option
@reference_option
@period_option
@yes_option
@signed
def return_tokens(
    name: str,
    amount: Decimal,
    of_company: bool,
    reference: str,
    period: int | None,
    yes: bool,
    signing: Signing,
    as_json: bool,
) -> None:
    """Give AMOUNT tokens of NAME's pool back to the utility, for nothing. The owner signs, or the company.

    Example: watt admin return home-03 5 --reference not-needed --key owner.key
    """
    confirm(f"Give {amount} tokens of {name} back to the utility, for nothing?", yes=yes)

    async def args(client: Client) -> dict[str, Any]:
        return await _holding(client, name, amount, of_company, reference, period)

    done(transact(*signing, "supply", "return_tokens", args), as_json)


@click.group()
def redemption() -> None:
    """The price at which the utility redeems tokens, and what it owes for them."""


@redemption.command("price")
@click.argument("price", type=PRICE_OF_PAR)
@click.option("--from", "from_slot", type=SLOT, help="From this slot on; default: the next one.")
@signed
def redemption_price(
    price: int,
    from_slot: Slot | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Redeem tokens at PRICE, a percentage of par; 0%: not at all. In place of what was to hold later. The utility
    signs.

    Example: watt admin redemption price 85% --from 2017-07-01T00:00 --key utility.key
    """

    async def args(client: Client) -> dict[str, Any]:
        seconds = await slot_seconds_of(client.query)
        slot = (await client.node_info()).now // seconds + 1 if from_slot is None else from_slot.at(seconds)
        return {"permille": price, "from_slot": slot}

    done(transact(*signing, "supply", "publish_price", args), as_json)


@redemption.command("prices")
@node_option
@json_option
@refusals_to_exit_codes
def redemption_prices(nodes: tuple[str, ...], as_json: bool) -> None:
    """Show the redemption price, and those that are to come.

    Example: watt admin redemption prices
    """

    async def read(client: Client) -> tuple[list[dict[str, Any]], int]:
        seconds = await slot_seconds_of(client.query)
        return records(await client.query("supply", "prices", {}), PRICE), seconds

    rows, seconds = ask(nodes, read)
    if as_json:
        return print_json(rows)
    print_table(
        "Redemption price, of par",
        ("From slot (UTC)", ">Price"),
        [(slot_shown(row["from_slot"], seconds), percent(row["permille"])) for row in rows],
    )


@redemption.command("list")
@click.argument("name", required=False)
@company_option
@node_option
@json_option
@refusals_to_exit_codes
def redemption_list(name: str | None, of_company: bool, nodes: tuple[str, ...], as_json: bool) -> None:
    """List what NAME has redeemed; without NAME, what of all is not credited yet.

    Example: watt admin redemption list home-03

    Example: watt admin redemption list
    """

    async def read(client: Client) -> tuple[list[dict[str, Any]], int]:
        decimals = (await client.node_info()).token_decimals
        if name is not None:
            args = {"kind": kind_of(of_company), "name": name}
            return await all_records(client.query, "supply", "redemptions", args, REDEMPTION), decimals
        rows: list[dict[str, Any]] = []
        while page := records(
            await client.query("supply", "open_redemptions", {"first": rows[-1]["number"] + 1 if rows else 0}),
            REDEMPTION,
        ):
            rows += page
        return rows, decimals

    rows, decimals = ask(nodes, read)
    if as_json:
        return print_json(rows)
    print_table(
        "Not credited yet, tokens" if name is None else f"Redeemed by {name}, tokens",
        (">Number", "Of", ">Period", ">Amount", ">Price", ">Credit", "Reference", "?At (UTC)", "Bill"),
        [
            (
                row["number"],
                row["name"] if row["kind"] == NETWORK else f"{row['name']} (company)",
                row["period"],
                tokens(row["amount"], decimals),
                percent(row["permille"]),
                tokens(row["credit"], decimals),
                _text(row["reference"]),
                clock(row["time"]),
                _text(row["bill"]),
            )
            for row in rows
        ],
    )


@redemption.command("burn")
@click.argument("amount", type=TOKENS)
@reference_option
@yes_option
@signed
def redemption_burn(
    amount: Decimal,
    reference: str,
    yes: bool,
    signing: Signing,
    as_json: bool,
) -> None:
    """Take AMOUNT tokens of the utility's own account, such as returned ones, out of the world. The utility signs.

    Example: watt admin redemption burn 500 --reference 2017-06 --key utility.key
    """
    confirm(f"Take {amount} tokens out of the world, for good?", yes=yes)

    async def args(client: Client) -> dict[str, Any]:
        return {"amount": base_units(amount, await decimals_of(client)), "reference": reference.encode()}

    done(transact(*signing, "budget", "redeem", args), as_json)


@redemption.command("credit")
@click.argument("number", type=Count())
@click.option("--bill", required=True, help="The bill on which it is credited.")
@signed
def redemption_credit(number: int, bill: str, signing: Signing, as_json: bool) -> None:
    """Note that redemption NUMBER is credited on a bill. Once. The utility signs.

    Example: watt admin redemption credit 7 --bill 2017-06/0113 --key utility.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {"redemption": number, "bill": bill.encode()}

    done(transact(*signing, "supply", "credit", args), as_json)


async def _holding(
    client: Client, name: str, amount: Decimal, of_company: bool, reference: str, period: int | None
) -> dict[str, Any]:
    """What redemptions and returns say alike."""
    return {
        "kind": kind_of(of_company),
        "name": name,
        "period": await holder_period(client, of_company, name, period),
        "amount": base_units(amount, await decimals_of(client)),
        "reference": reference.encode(),
    }


async def _price_now(client: Client) -> int:
    slot = (await client.node_info()).now // await slot_seconds_of(client.query)
    rows = records(await client.query("supply", "prices", {}), PRICE)
    _, price = max([(row["from_slot"], row["permille"]) for row in rows if row["from_slot"] <= slot], default=(0, 0))
    if not price:
        raise RefusedError("no-redemption", "the utility redeems nothing now: see `watt admin redemption prices`")
    return price


def _text(reference: bytes) -> str:
    try:
        return reference.decode()
    except UnicodeDecodeError:
        return reference.hex()
