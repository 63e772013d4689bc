"""`watt admin settlement`: what could not be settled and its release, rent that came back, losses at the feeder."""

from typing import Any, Final

import click

from chaincode.settlement_losses import Check
from cli.answers import as_rows, record, records
from cli.output import count, json_option, print_json, print_table, refusals_to_exit_codes, tokens
from cli.periods import period_option, period_or_current
from cli.session import Signing, ask, node_option, signed, transact
from cli.slots import SLOT, TITLE, Slot, slot_seconds_of, slot_shown, slot_words
from cli.units import Count, clock, kwh
from node.gateway.client import Client
from node.model.codec import Value

PARKED: Final = ("network", "slot", "code", "time", "unit", "released")
RENT: Final = ("state", "rent", "carried", "tolls", "returned", "networks")
RENT_ROW: Final = ("network", "tolls", "rent", "block", "cause")
PAGE: Final = 500


@click.group()
def settlement() -> None:
    """What could not be settled, rent, and losses."""


@settlement.command()
@click.option("--all", "everything", is_flag=True, help="Also what has been released and done since.")
@node_option
@json_option
@refusals_to_exit_codes
def parked(everything: bool, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show what could not be settled and waits for a release. docs/settlement.md says what the units are.

    Example: watt admin settlement parked
    """

    async def read(client: Client) -> tuple[list[dict[str, Any]], int]:
        rows = await _rows(client, "settlement", "parked")
        numbered = [{"number": number, **record(row, PARKED)} for number, row in enumerate(rows)]
        return numbered, await slot_seconds_of(client.query)

    found, slot_seconds = ask(nodes, read)
    rows = [row for row in found if everything or not row["released"]]
    if as_json:
        return print_json(rows)
    print_table(
        "Not settled",
        (">Number", "Unit", "Network", TITLE, "Code", "Last tried (UTC)", "?Released (UTC)"),
        [
            (row["number"], row["unit"], row["network"], slot_shown(row["slot"], slot_seconds), row["code"],
             clock(row["time"]), clock(row["released"]) if row["released"] else "")
            for row in rows
        ],
    )  # fmt: skip


@settlement.command()
@click.argument("number", type=Count())
@signed
def release(number: int, signing: Signing, as_json: bool) -> None:
    """Have the unit with this NUMBER done again in the next block, once its reason is gone. An admin signs.

    If it fails again it stays parked: see `watt admin settlement parked`.

    Example: watt admin settlement release 3 --key admin.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {"index": number}

    status = transact(*signing, "settlement", "release", args)
    if as_json:
        return print_json({"height": status.height})
    click.echo(f"queued in block {status.height}; it is tried in the next one")


@settlement.command()
@period_option
@node_option
@json_option
@refusals_to_exit_codes
def rent(period: int | None, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show the rent of full lines in one of the consortium's periods, and to whom it came back, in tokens.

    Example: watt admin settlement rent --period 16
    """

    async def read(client: Client) -> tuple[dict[str, Any], int]:
        number = await period_or_current(client, period, None)
        networks = len(await _rows(client, "identity", "networks"))
        rows: list[Value] = []
        for first in range(0, max(networks, 1), PAGE):
            head = record(await client.query("settlement", "rent", {"period": number, "first": first}), RENT)
            rows += as_rows(head["networks"])
        head["networks"] = records(tuple(rows), RENT_ROW)
        return {"period": number, **head}, (await client.node_info()).token_decimals

    found, decimals = ask(nodes, read)
    if as_json:
        return print_json(found)

    returned, whole = tokens(found["returned"], decimals), tokens(found["rent"], decimals)
    print_table(
        f"Rent of period {found['period']}, {found['state']}: {returned} of {whole} tokens",
        ("Network", ">Tolls counted", ">Rent back", ">In block"),
        [
            (row["network"], *[tokens(row[name], decimals) for name in ("tolls", "rent")], row["block"] or "")
            for row in found["networks"]
        ],
    )


@settlement.command()
@click.argument("slot", type=SLOT)
@node_option
@json_option
@refusals_to_exit_codes
def losses(slot: Slot, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show what the homes' meters of a SLOT add up to against the feeder's meter: kWh, and what was lost between.

    Example: watt admin settlement losses 2017-06-16T12:30
    """

    async def read(client: Client) -> tuple[dict[str, Any] | None, str]:
        slot_seconds = await slot_seconds_of(client.query)
        number = slot.at(slot_seconds)
        answer = await client.query("settlement", "feeder", {"slot": number})
        found = None if answer is None else {"slot": number, **record(answer, Check._fields)}
        return found, slot_words(number, slot_seconds)

    found, words = ask(nodes, read)
    if as_json:
        return print_json(found)
    if found is None:
        return click.echo(f"the feeder's meter has not been read for {words}")
    print_table(
        f"{words}, kWh",
        ("", ">In", ">Out"),
        (
            ("Feeder", kwh(found["feeder_import_wh"]), kwh(found["feeder_export_wh"])),
            (count(found["networks"], "network"), kwh(found["import_wh"]), kwh(found["export_wh"])),
        ),
    )
    click.echo(f"lost: {kwh(found['loss_wh'])} kWh; readings estimated: {found['estimated']}")


async def _rows(client: Client, contract: str, method: str) -> list[Value]:
    """All rows of a query that answers at most PAGE at a time."""
    rows: list[Value] = []
    while page := as_rows(await client.query(contract, method, {"first": len(rows)})):
        rows += page
    return rows
