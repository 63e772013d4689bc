"""`watt wallet connect | disconnect`: where a device that moves hangs on the grid."""

from typing import Any

import click

from cli.output import print_json
from cli.session import Signing, signed, transact
from cli.slots import SAID, SLOT, Slot, slot_seconds_of, slot_words
from node.gateway.client import Client

_slot_option = click.option("--slot", type=SLOT, required=True, help=f"From which slot on: {SAID}.")


@click.command()
@click.argument("device")
@click.option("--bus", required=True, help="The bus of the grid on which it hangs.")
@_slot_option
@signed
def connect(
    device: str,
    bus: str,
    slot: Slot,
    signing: Signing,
    as_json: bool,
) -> None:
    """DEVICE, such as a car, hangs on another bus from a slot on: it trades there, at that bus's prices.

    Its open orders from that slot on are cancelled. Refused while it has traded in that slot or a later one.

    Example: watt wallet connect home-03/ev --bus b17 --slot 2017-06-16T14:00 --key ev.key
    """
    _move("connect", {"device": device, "bus": bus}, slot, signing, as_json)


@click.command()
@click.argument("device")
@_slot_option
@signed
def disconnect(device: str, slot: Slot, signing: Signing, as_json: bool) -> None:
    """DEVICE hangs nowhere from a slot on, until it is connected again.

    Example: watt wallet disconnect home-03/ev --slot 2017-06-16T08:00 --key ev.key
    """
    _move("disconnect", {"device": device}, slot, signing, as_json)


def _move(
    method: str,
    args: dict[str, Any],
    slot: Slot,
    signing: Signing,
    as_json: bool,
) -> None:
    slot_seconds = 0

    async def with_slot(client: Client) -> dict[str, Any]:
        nonlocal slot_seconds
        slot_seconds = await slot_seconds_of(client.query)
        args["slot"] = slot.at(slot_seconds)
        return args

    status = transact(*signing, "identity", method, with_slot)
    if as_json:
        return print_json({"slot": args["slot"], "height": status.height})
    click.echo(f"{method}ed from {slot_words(args['slot'], slot_seconds)} on, by block {status.height}")
