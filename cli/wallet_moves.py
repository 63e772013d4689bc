"""`watt wallet connect | disconnect`: where a device that moves hangs on the grid."""

from pathlib import Path
from typing import Any

import click

from cli.output import json_option, print_json, refusals_to_exit_codes
from cli.session import signing_options, transact
from cli.slots import SAID, SLOT, Slot, slot_seconds_of, slot_words
from node.gateway.client import Client

_slot_option = click.option("--slot", type=SLOT, required=True, help=f"From which slot on: {SAID}.")


@click.command()
@click.argument("device")
@click.option("--bus", required=True, help="The bus of the grid on which it hangs.")
@_slot_option
@signing_options
@json_option
@refusals_to_exit_codes
def connect(
    device: str,
    bus: str,
    slot: Slot,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """DEVICE, such as a car, hangs on another bus from a slot on: it trades there, at that bus's prices.

    Its open orders from that slot on are cancelled. Refused while it has traded in that slot or a later one.

    Example: watt wallet connect home-03/ev --bus b17 --slot 2017-06-16T14:00 --key ev.key
    """
    _move("connect", {"device": device, "bus": bus}, slot, nodes, key_file, passphrase_file, as_json)


@click.command()
@click.argument("device")
@_slot_option
@signing_options
@json_option
@refusals_to_exit_codes
def disconnect(
    device: str, slot: Slot, nodes: tuple[str, ...], key_file: Path, passphrase_file: Path | None, as_json: bool
) -> None:
    """DEVICE hangs nowhere from a slot on, until it is connected again.

    Example: watt wallet disconnect home-03/ev --slot 2017-06-16T08:00 --key ev.key
    """
    _move("disconnect", {"device": device}, slot, nodes, key_file, passphrase_file, as_json)


def _move(
    method: str,
    args: dict[str, Any],
    slot: Slot,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    slot_seconds = 0

    async def with_slot(client: Client) -> dict[str, Any]:
        nonlocal slot_seconds
        slot_seconds = await slot_seconds_of(client.query)
        args["slot"] = slot.at(slot_seconds)
        return args

    status = transact(nodes, key_file, passphrase_file, "identity", method, with_slot)
    if as_json:
        return print_json({"slot": args["slot"], "height": status.height})
    click.echo(f"{method}ed from {slot_words(args['slot'], slot_seconds)} on, by block {status.height}")
