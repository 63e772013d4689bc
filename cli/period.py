"""`watt admin period plan | show`: calendars of billing periods, and how far the closing of one is."""

import calendar
from datetime import UTC, datetime
from typing import Any, Final, cast

import click

from chaincode.budget_calendar import Stretch
from chaincode.budget_closed import Closing
from chaincode.budget_lots import Lot
from chaincode.market_products import DAY_S
from chaincode.periods import MAX_DAYS, MAX_LENGTHS
from cli.answers import as_rows, record, records
from cli.output import count, json_option, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import company_period, period_option, period_or_current
from cli.session import Signing, ask, node_option, signed, transact
from cli.slots import slot_seconds_of, slot_shown, slot_words
from cli.units import Count
from node.gateway.client import Client

PERIOD: Final = ("status", "first_slot", "end_slot", "begins", "ends", "waiting_slots", "closing")
_MOVED: Final = Closing._fields[2:-1]


@click.group()
def period() -> None:
    """Billing periods: planning other ones, and how far one is."""


@period.command()
@click.argument("name")
@click.option("--company", "of_company", is_flag=True, help="NAME is a company's: for its networks without their own.")
@click.option(
    "--months",
    "month",
    type=click.DateTime(["%Y-%m"]),
    metavar="YYYY-MM",
    help="Calendar months (UTC) from this one on.",
)
@click.option("--first", "day", type=click.DateTime(["%Y-%m-%d"]), metavar="YYYY-MM-DD", help="From this day (UTC) on.")
@click.option("--days", type=Count(least=1, most=MAX_DAYS), help="With --first: days of each period.")
@click.option(
    "--count", "how_many", type=Count(least=1, most=MAX_LENGTHS),
    help="With --months: so many, by default 1; those that follow are as long as the last, until others are planned.",
)  # fmt: skip
@signed
def plan(
    name: str,
    of_company: bool,
    month: datetime | None,
    day: datetime | None,
    days: int | None,
    how_many: int | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Plan the billing periods of the network NAME: months, or periods of some days, from a day on at which a period
    begins already, at least a day and the time for which slots are open ahead. What has begun or holds money is never
    moved. The owner signs, of a company's periods the company.

    Example: watt admin period plan home-03 --months 2017-07 --count 3 --key home-03.key

    Example: watt admin period plan coop --company --first 2017-07-03 --days 7 --key coop.key
    """
    if (month is None) == (day is None) or (day is None) != (days is None):
        raise click.UsageError("say --months YYYY-MM, or --first YYYY-MM-DD and --days N")
    if day is not None and how_many is not None:
        raise click.UsageError("--count goes with --months: periods of so many days follow one another anyway")
    starts, lengths_days = (
        (day, [days]) if day is not None else (month, _months(cast("datetime", month), how_many or 1))
    )

    async def args(client: Client) -> dict[str, Any]:
        slot_seconds = await slot_seconds_of(client.query)
        first = int(cast("datetime", starts).replace(tzinfo=UTC).timestamp()) // slot_seconds
        lengths = [cast("int", length) * DAY_S // slot_seconds for length in lengths_days]
        return {"member" if of_company else "network": name, "first_slot": first, "lengths": lengths}

    status = transact(*signing, "periods", "plan_company" if of_company else "plan", args)
    if as_json:
        return print_json({"height": status.height, "period": status.result})
    click.echo(f"planned in block {status.height}: it begins with period {cast('int', status.result)}")


@period.command()
@click.argument("name")
@click.option("--company", "of_company", is_flag=True, help="NAME is a company's, not a network's.")
@period_option
@node_option
@json_option
@refusals_to_exit_codes
def show(name: str, of_company: bool, period: int | None, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show the calendar of the network NAME, and of one billing period its slots, its times, how far its closing is,
    and what was carried into it.

    Example: watt admin period show home-03 --period 12
    """
    kind = "member" if of_company else "network"

    async def read(client: Client) -> tuple[dict[str, Any], int, int]:
        asked, of_period = ("company_calendar", "company_period") if of_company else ("calendar", "period")
        whose, stretches = as_rows(await client.query("periods", asked, {kind: name}))
        number = await (company_period if of_company else period_or_current)(client, period, name)
        args = {kind: name, "period": number}
        found = record(await client.query("periods", of_period, args), PERIOD)
        if found["closing"] is not None:
            found["closing"] = record(found["closing"], Closing._fields)
        lots = () if of_company else await client.query("periods", "lots", args)
        found |= {"lots": records(lots, Lot._fields), "calendar_of": whose}
        found["calendar"] = records(stretches, Stretch._fields)
        decimals = (await client.node_info()).token_decimals
        return {kind: name, "period": number, **found}, await slot_seconds_of(client.query), decimals

    found, slot_seconds, decimals = ask(nodes, read)
    if as_json:
        return print_json(found)
    print_table(
        f"Billing periods of {name}, by the calendar of the {found['calendar_of']}",
        (">From period", "First slot (UTC)", ">Slots each", ">Days"),
        [
            (row["number"], slot_shown(row["first"], slot_seconds), row["length"],
             f"{row['length'] * slot_seconds / DAY_S:g}")
            for row in found["calendar"]
        ],
    )  # fmt: skip
    first, last = (slot_words(slot, slot_seconds) for slot in (found["first_slot"], found["end_slot"] - 1))
    click.echo(f"period {found['period']} is {found['status']}: from {first} to {last}")
    if found["status"] == "closing" and found["waiting_slots"]:
        click.echo(f"{count(found['waiting_slots'], 'slot')} of it may still change")
    if found["closing"] is not None:
        moved = [f"{what} {tokens(found['closing'][what], decimals)}" for what in _MOVED if found["closing"][what]]
        click.echo(f"close: {found['closing']['state']}; tokens {', '.join(moved) or 'none'}")
    if found["lots"]:
        print_table(
            "Carried into it",
            ("Fresh in period", ">Times carried", ">Tokens"),
            [(lot["since"], lot["times"], tokens(lot["amount"], decimals)) for lot in found["lots"]],
        )


def _months(first: datetime, how_many: int) -> list[int]:
    """The days of so many months from the first on."""
    months = [divmod(first.month - 1 + number, 12) for number in range(how_many)]
    return [calendar.monthrange(first.year + years, month + 1)[1] for years, month in months]
