"""`watt meter readings`: what holds for a meter in a slot, and what that replaced."""

from pathlib import Path

import click

from chaincode.settlement_readings import Reading
from cli.answers import Reader, as_rows, record
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import ask, genesis_option, node_option, proven_at
from cli.units import kwh, parse_slot
from cli.verify import slot_seconds_of
from node.gateway.client import Client
from node.gateway.proven import ProvenReader
from node.model.codec import Value
from node.model.genesis import load_genesis
from node.upgrades.library import client_registry


@click.command()
@click.argument("device", required=False)
@click.option("--slot", required=True, help="A slot's number, or a UTC time in it such as 2017-06-16T12:30.")
@click.option("--feeder", "is_feeder", is_flag=True, help="The feeder's meter instead of a device's.")
@node_option
@genesis_option
@json_option
@refusals_to_exit_codes
def readings(
    device: str | None, slot: str, is_feeder: bool, nodes: tuple[str, ...], genesis_file: Path | None, as_json: bool
) -> None:
    """What holds for DEVICE in a slot, and all that it replaced, newest first.

    Read: the meter's own word. Estimated: none came in time. Spread: its part of what later registers showed. With
    --genesis FILE no node need be trusted: every row is proven, as of the block that is named.

    Example: watt meter readings home-3/ev --slot 2017-06-16T14:00
    """
    if is_feeder == (device is not None):
        raise click.UsageError("name a DEVICE, or --feeder")

    async def read(client: Client) -> tuple[Value, str | None]:
        query: Reader = client.query
        if genesis_file is not None:
            query = ProvenReader(client, load_genesis(genesis_file), client_registry())
        number = parse_slot(slot, await slot_seconds_of(query))
        if device is None:
            answer = await query("settlement", "feeder_readings", {"slot": number})
        else:
            await query("identity", "device", {"device": device})  # refused if there is none
            answer = await query("settlement", "readings", {"device": device, "slot": number})
        return answer, proven_at(query) if isinstance(query, ProvenReader) else None

    answer, proven = ask(nodes, read)
    rows = [Reading(*record(row, Reading._fields).values()) for row in as_rows(answer)]
    if as_json:
        found = {"readings": [{**row._asdict(), "state": _state(row)} for row in rows]}
        return print_json(found if proven is None else {**found, "proven": proven})
    print_table(
        f"Readings of {device or 'the feeder'} in slot {slot}",
        (">Revision", "State", ">kWh in", ">kWh out", ">Register in", ">Register out", ">Block", "?Cause"),
        (
            (
                row.revision,
                _state(row),
                kwh(row.import_wh),
                kwh(row.export_wh),
                kwh(row.import_register) if row.is_read else "",
                kwh(row.export_register) if row.is_read else "",
                row.height,
                row.cause,
            )
            for row in rows
        ),
    )
    if proven is not None:
        click.echo(f"proven {proven}")


def _state(row: Reading) -> str:
    if row.is_read:
        return "read"
    return "estimated" if row.estimated else "spread"
