"""`watt wallet erase | erased`: what was measured of a network leaves the ledger (docs/retention.md)."""

from typing import Any, cast

import click

from chaincode.pruned import Erased
from cli.answers import as_rows
from cli.asking import believed
from cli.confirm import confirm, yes_option
from cli.output import json_option, print_json, refusals_to_exit_codes
from cli.session import Signing, ask, done, node_option, proven_at, signed, transact
from cli.slots import SAID, SLOT, Slot, slot_seconds_of, slot_words
from cli.wallet_home import Trust, trust_options
from node.gateway.client import Client

_device_option = click.option("--device", default="", help="Of this device of the network alone.")


@click.command()
@click.argument("network")
@click.option("--up-to", "last", required=True, type=SLOT, help=f"The last slot: {SAID}.")
@_device_option
@yes_option
@signed
def erase(
    network: str,
    last: Slot,
    device: str,
    yes: bool,
    signing: Signing,
    as_json: bool,
) -> None:
    """Erase what was measured of NETWORK, from the beginning up to a slot that is FINAL. It cannot be undone: you are
    asked.

    The owner's key signs, or the member's. Nodes take the readings out of their blocks, and the state lets them go when
    no rule needs them any more; digests stay. Backups and snapshots that others hold are not reached.

    Example: watt wallet erase home-03 --up-to 2017-06-16T12:30 --key home-03.key
    """
    slot_seconds = ask(signing.nodes, lambda client: slot_seconds_of(client.query))
    slot = last.at(slot_seconds)
    until = slot_words(slot, slot_seconds)
    confirm(f"Erase all that was measured of {device or network} up to {until}, for good?", yes=yes)

    async def args(_: Client) -> dict[str, Any]:
        return {"network": network, "last_slot": slot, **({"device": device} if device else {})}

    done(transact(*signing, "erasure", "erase", args), as_json)


@click.command()
@click.argument("network")
@_device_option
@node_option
@trust_options
@json_option
@refusals_to_exit_codes
def erased(network: str, device: str, nodes: tuple[str, ...], trust: Trust, as_json: bool) -> None:
    """Show what has been erased of NETWORK at its owner's request, and the digest that stays.

    Example: watt wallet erased home-03
    """

    async def read(client: Client) -> tuple[Erased | None, int, str | None]:
        source = await believed(client, trust)
        args = {"network": network, **({"device": device} if device else {})}
        answer = await source.read("erasure", "erased", args)
        found = None if answer is None else Erased(*cast("Any", as_rows(answer)))
        proven = None if source.proven is None else proven_at(source.proven)
        return found, await slot_seconds_of(source.read), proven

    found, slot_seconds, proven = ask(nodes, read)
    if as_json:
        return print_json({"erased": None if found is None else found._asdict(), "proven": proven})
    if found is None:
        return click.echo("Nobody has asked for anything to be erased.")
    click.echo(f"Asked for: all up to {slot_words(found.asked, slot_seconds)}.")
    done_to = slot_words(found.first_kept - 1, slot_seconds)
    state = "done" if not found.due else f"done up to {done_to}; the rest when no rule needs it"
    click.echo(f"In the state: {state}. {found.entries} entries are gone, digest {found.digest.hex()}.")
    return click.echo("As a node says." if proven is None else f"Proven {proven}.")
