"""`watt admin agreement`: help between networks, and sales, as their owners agree on them. docs/agreements.md."""

from decimal import Decimal
from typing import Any, Final, cast

import click

from chaincode.agreement_book import FOR_EVER, SALE, SHARE
from cli.answers import Reader, all_records, as_rows, record, records
from cli.lazy import Commands, LazyGroup
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import period_option, period_or_current
from cli.session import Signing, ask, done, node_option, signed, transact
from cli.slots import SLOT, TITLE, Slot, slot_seconds_of, slot_shown, slot_words
from cli.units import TOKENS, Count, Percent, base_units, percent
from node.gateway.client import Client

AGREEMENT: Final = (
    "number", "giver", "taker", "kind", "cap", "automatic", "same_class", "rank", "price", "first_slot", "end_slot",
    "state", "proposer", "slot", "in_force", "period", "used",
)  # fmt: skip
MOVEMENT: Final = (
    "giver", "giver_period", "taker", "taker_period", "receiver", "amount", "returned", "why", "rule", "reference",
    "slot", "tx_id",
)  # fmt: skip
LIVE: Final = ("proposed", "open")

COMMANDS: Final[Commands] = {
    "accept": ("cli.agreements:accept", "Agree to what the other side has proposed."),
    "check": ("cli.agreement_views:check", "Tell who has nobody, circles, who depends on one helper, empty promises."),
    "decline": ("cli.agreements:decline", "Do not agree to what the other side has proposed."),
    "end": ("cli.agreements:end", "End an agreement, by either side."),
    "graph": ("cli.agreement_views:graph", "Show who can help whom directly."),
    "list": ("cli.agreements:list_", "List a network's agreements."),
    "propose": ("cli.agreements:propose", "Propose that one network helps another, or sells to it."),
    "share": ("cli.agreements:share", "Give tokens to another network by hand, under an agreement."),
    "show": ("cli.agreements:show", "Show an agreement and what was given under it."),
    "withdraw": ("cli.agreements:withdraw", "Take back a proposal that waits."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def agreement() -> None:
    """Help between networks, and sales, as their owners agree on them."""


@click.command()
@click.argument("giver")
@click.argument("taker")
@click.option("--cap", type=TOKENS, required=True, help="At most so many tokens in each billing period of either side.")
@click.option("--sale", "price", type=Percent(), help="For money outside, at this price in percent of par: 90.5%.")
@click.option("--automatic", is_flag=True, help="By itself: when TAKER is in need; a sale when a period closes.")
@click.option("--same-class", is_flag=True, help="Only while both networks are of one class.")
@click.option("--rank", type=Count(), default=100, show_default=True, help="Whom TAKER asks first: the smaller.")
@click.option("--from", "first", type=SLOT, help="From this slot on; by default at once.")
@click.option("--until", "end", type=SLOT, help="Before this slot; by default until one of them ends it.")
@signed
def propose(
    giver: str,
    taker: str,
    cap: Decimal,
    price: int | None,
    automatic: bool,
    same_class: bool,
    rank: int,
    first: Slot | None,
    end: Slot | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Propose that GIVER gives tokens to TAKER. One owner signs; the other accepts. The member of both decides alone.

    Example: watt admin agreement propose shop-1-hvac shop-2-hvac --cap 50 --automatic --same-class --key owner.key

    Example: watt admin agreement propose home-03 home-07 --cap 20 --sale 90% --until 2017-09-01T00:00 --key owner.key
    """

    async def args(client: Client) -> dict[str, Any]:
        slot_seconds = await slot_seconds_of(client.query)
        return {
            "giver": giver,
            "taker": taker,
            "kind": SHARE if price is None else SALE,
            "cap": base_units(cap, (await client.node_info()).token_decimals),
            "automatic": automatic,
            "same_class": same_class,
            "rank": rank,
            "price": price or 0,
            "first_slot": 0 if first is None else first.at(slot_seconds),
            "end_slot": FOR_EVER if end is None else end.at(slot_seconds),
        }

    status = transact(*signing, "agreements", "propose", args)
    if as_json:
        return print_json({"height": status.height, "agreement": status.result})
    number = cast("int", status.result)
    click.echo(f"agreement {number}, in block {status.height}: `watt admin agreement show {number}`")


def _answer(name: str, text: str) -> click.Command:
    """A command that calls ``agreements.NAME`` with an agreement's number."""

    @click.command(name, help=text)
    @click.argument("number", type=Count())
    @signed
    def command(number: int, signing: Signing, as_json: bool) -> None:
        async def args(_: Client) -> dict[str, Any]:
            return {"agreement": number}

        done(transact(*signing, "agreements", name, args), as_json)

    return command


accept = _answer(
    "accept",
    "Agree to the proposal NUMBER of the other side. Its owner signs.\n\n"
    "Example: watt admin agreement accept 7 --key owner.key",
)
decline = _answer(
    "decline",
    "Do not agree to the proposal NUMBER of the other side. Its owner signs.\n\n"
    "Example: watt admin agreement decline 7 --key owner.key",
)
withdraw = _answer(
    "withdraw",
    "Take back your proposal NUMBER, which waits for an answer.\n\n"
    "Example: watt admin agreement withdraw 7 --key owner.key",
)
end = _answer(
    "end",
    "End the agreement NUMBER, by either side. What was given stays; what is in orders and not spent still goes back."
    "\n\nExample: watt admin agreement end 7 --key owner.key",
)


@click.command("list")
@click.argument("network_name", metavar="NETWORK")
@click.option("--all", "everything", is_flag=True, help="Also what was declined, withdrawn or ended, or has lapsed.")
@node_option
@json_option
@refusals_to_exit_codes
def list_(network_name: str, everything: bool, nodes: tuple[str, ...], as_json: bool) -> None:
    """List the agreements of NETWORK, and what waits for an answer. Used: in the giver's running period.

    Example: watt admin agreement list home-03
    """

    async def read(client: Client) -> tuple[list[dict[str, Any]], int, int]:
        rows, slot_seconds = await of_network(client.query, network_name), await slot_seconds_of(client.query)
        return rows, slot_seconds, (await client.node_info()).token_decimals

    found, slot_seconds, decimals = ask(nodes, read)
    rows = [row for row in found if everything or row["state"] in LIVE]
    if as_json:
        return print_json(rows)
    print_table(
        f"Agreements of {network_name}",
        (">Number", "Giver", "Taker", "What", ">Cap", ">Used", "State", "?Terms"),
        [
            (row["number"], row["giver"], row["taker"], what(row), tokens(row["cap"], decimals),
             tokens(row["used"], decimals), state(row), terms(row, slot_seconds))
            for row in rows
        ],
    )  # fmt: skip


@click.command()
@click.argument("number", type=Count())
@node_option
@json_option
@refusals_to_exit_codes
def show(number: int, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show the agreement NUMBER, and every share that was made under it.

    Example: watt admin agreement show 7
    """

    async def read(client: Client) -> tuple[dict[str, Any], list[dict[str, Any]], int, int]:
        row = record(await client.query("agreements", "agreement", {"agreement": number}), AGREEMENT)
        moved = await all_records(client.query, "agreements", "movements", {"agreement": number}, MOVEMENT)
        return row, moved, await slot_seconds_of(client.query), (await client.node_info()).token_decimals

    row, moved, slot_seconds, decimals = ask(nodes, read)
    if as_json:
        return print_json({**row, "shares": moved})
    used = f"{tokens(row['used'], decimals)} of {tokens(row['cap'], decimals)} tokens used in period {row['period']}"
    click.echo(f"agreement {number}: {row['giver']} to {row['taker']}, {what(row)}, {state(row)}")
    click.echo("; ".join(part for part in (used, terms(row, slot_seconds), f"proposed by {row['proposer']}") if part))
    if moved:
        print_table(
            "Shares",
            (TITLE, ">Period", ">Into period", "For", ">Tokens", ">Returned", "Why", "?Reference", "?Transaction"),
            [
                (slot_shown(each["slot"], slot_seconds), each["giver_period"], each["taker_period"],
                 each["receiver"] or "the pool", tokens(each["amount"], decimals), tokens(each["returned"], decimals),
                 each["why"], each["reference"], each["tx_id"])
                for each in moved
            ],
        )  # fmt: skip


@click.command()
@click.argument("number", type=Count())
@click.argument("amount", type=TOKENS)
@period_option
@signed
def share(
    number: int,
    amount: Decimal,
    period: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Give AMOUNT tokens from pool to pool under the agreement NUMBER, for good. The giver's owner signs.

    The period is the giver's. Devices of one network share with `watt wallet share`.

    Example: watt admin agreement share 7 12.5 --key owner.key
    """

    async def args(client: Client) -> dict[str, Any]:
        row = record(await client.query("agreements", "agreement", {"agreement": number}), AGREEMENT)
        return {
            "agreement": number,
            "period": await period_or_current(client, period, row["giver"]),
            "amount": base_units(amount, (await client.node_info()).token_decimals),
        }

    done(transact(*signing, "agreements", "share", args), as_json)


async def of_network(read: Reader, network: str) -> list[dict[str, Any]]:
    """All agreements of ``network``, by number."""
    rows: list[dict[str, Any]] = []
    after = 0
    while page := as_rows(await read("agreements", "of_network", {"network": network, "after": after})):
        rows += records(page, AGREEMENT)
        after = rows[-1]["number"]
    return rows


def what(row: dict[str, Any]) -> str:
    """What is agreed on, in a few words."""
    by = "automatic" if row["automatic"] else "by hand"
    return f"share, {by}" if row["kind"] == SHARE else f"sale at {percent(row['price'])}, {by}"


def state(row: dict[str, Any]) -> str:
    """The state of an agreement, and whether it is in force."""
    return "open, not in force" if row["state"] == "open" and not row["in_force"] else str(row["state"])


def terms(row: dict[str, Any], slot_seconds: int) -> str:
    """The terms that are not usual."""
    parts = [f"rank {row['rank']}"] if row["automatic"] and row["kind"] == SHARE else []
    parts += ["same class"] if row["same_class"] else []
    parts += [f"from {slot_words(row['first_slot'], slot_seconds)}"] if row["first_slot"] else []
    parts += [f"until {slot_words(row['end_slot'], slot_seconds)}"] if row["end_slot"] != FOR_EVER else []
    return ", ".join(parts)
