"""`watt meter readings`: what holds for a meter, slot by slot, and what that replaced."""

from typing import Any, Final

import click

from chaincode.settlement_readings import Reading
from cli.answers import Reader, as_rows, record
from cli.asking import Source, believed, show_proven, time_of
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import ask, node_option, proven_at
from cli.slots import DAY_S, SAID, SLOT, TITLE, Slot, slot_seconds_of, slot_shown, slot_words
from cli.units import kwh
from cli.wallet_home import Trust, proof_options
from node.errors import RefusedError
from node.gateway.client import Client
from node.model.codec import Value

_NOT_THERE: Final = ("pruned", "no-product")


@click.command()
@click.argument("device", required=False)
@click.option("--slot", type=SLOT, help=f"Of this slot, with all that was replaced: {SAID}. By default the last day.")
@click.option("--feeder", "is_feeder", is_flag=True, help="The feeder's meter instead of a device's.")
@node_option
@proof_options
@json_option
@refusals_to_exit_codes
def readings(
    device: str | None, slot: Slot | None, is_feeder: bool, nodes: tuple[str, ...], trust: Trust, as_json: bool
) -> None:
    """What holds for DEVICE in the slots of the last day; with --slot also all that it replaced there, newest first.

    Read: the meter's own word. Estimated: none came in time. Spread: its part of what later registers showed. With
    --genesis FILE or a wallet's home no node need be trusted: every row is proven, as of the block that is named.

    Example: watt meter readings home-3/ev

    Example: watt meter readings home-3/ev --slot 2017-06-16T14:00
    """
    if is_feeder == (device is not None):
        raise click.UsageError("name a DEVICE, or --feeder")

    async def read(client: Client) -> tuple[list[tuple[int, Reading]], Source, int]:
        source = await believed(client, trust)
        slot_seconds = await slot_seconds_of(source.read)
        if device is not None:
            await source.read("identity", "device", {"device": device})  # refused if there is none
        if slot is not None:
            number = slot.at(slot_seconds)
            found = [(number, row) for row in await _history(source.read, device, number)]
        else:
            found = await _last_day(source.read, device, await time_of(client, source) // slot_seconds, slot_seconds)
        return found, source, slot_seconds

    rows, source, slot_seconds = ask(nodes, read)
    if as_json:
        shown = {"readings": [{"slot": at, **row._asdict(), "state": _state(row)} for at, row in rows]}
        return print_json(shown if source.proven is None else {**shown, "proven": proven_at(source.proven)})
    of = device or "the feeder"
    if slot is None:
        title, first = f"Readings of {of}, the last day", TITLE
    else:
        title, first = f"Readings of {of} in {slot_words(slot.at(slot_seconds), slot_seconds)}", ">Revision"
    print_table(
        title,
        (first, "State", ">kWh in", ">kWh out", "?>Register in", "?>Register out", "?>Block", "?Cause"),
        [(slot_shown(at, slot_seconds) if slot is None else row.revision, *_cells(row)) for at, row in rows],
    )
    show_proven(source)


def _cells(row: Reading) -> tuple[Any, ...]:
    registers = (row.import_register, row.export_register)
    return (
        _state(row),
        kwh(row.import_wh),
        kwh(row.export_wh),
        *(kwh(register) if row.is_read else "" for register in registers),
        row.height,
        row.cause,
    )


async def _last_day(read: Reader, device: str | None, now: int, slot_seconds: int) -> list[tuple[int, Reading]]:
    """What holds in each slot from a day ago until now, newest first, as far as there is anything."""
    found = []
    for slot in range(now, max(0, now - DAY_S // slot_seconds) - 1, -1):
        try:
            rows = await _history(read, device, slot)
        except RefusedError as error:
            if error.code not in _NOT_THERE:
                raise
            continue
        found += [(slot, row) for row in rows[:1]]
    return found


async def _history(read: Reader, device: str | None, slot: int) -> list[Reading]:
    """What holds for a device, or the feeder, in a slot, and what that replaced, newest first."""
    answer: Value
    if device is None:
        answer = await read("settlement", "feeder_readings", {"slot": slot})
    else:
        answer = await read("settlement", "readings", {"device": device, "slot": slot})
    return [Reading(*record(row, Reading._fields).values()) for row in as_rows(answer)]


def _state(row: Reading) -> str:
    if row.is_read:
        return "read"
    return "estimated" if row.estimated else "spread"
