"""`watt admin member | network | device`: who takes part. Who may do what is a table in `chaincode/roles.py`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import click

from chaincode.enrolments import DEVICE, MEMBER, METER, NETWORK
from chaincode.identity import KINDS
from chaincode.roles import MEMBER_ROLES
from cli.enrol import NewCode, code_options
from cli.output import json_option, refusals_to_exit_codes
from cli.session import done, open_key, signing_options, transact
from cli.units import PROVEN_KEY, Count
from node.enrolment import require_possession
from node.gateway.client import Client

C = TypeVar("C", bound=Callable[..., Any])

ProvenKey: TypeAlias = tuple[bytes, bytes]
"""A key, and its word that it is to act for what it is registered for: what `watt keys prove` prints."""


@click.group()
def member() -> None:
    """Organisations of the consortium."""


@member.command("add")
@click.argument("name")
@click.option("--public-key", type=PROVEN_KEY, required=True, help="The member's key: `watt keys prove --kind member`.")
@click.option("--role", "roles", multiple=True, type=click.Choice(MEMBER_ROLES), help="A role; may be repeated.")
@signing_options
@json_option
@refusals_to_exit_codes
def member_add(
    name: str,
    public_key: ProvenKey,
    roles: tuple[str, ...],
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Register the member NAME. Admins sign.

    Example: watt admin member add sunrise --public-key 3b1f...:90ac... --role aggregator --key admin.key
    """

    async def args(client: Client) -> dict[str, Any]:
        signing = open_key(key_file, passphrase_file).public_key
        return {"member": name, "roles": roles, **await _proven(client, MEMBER, name, public_key, signing)}

    done(transact(nodes, key_file, passphrase_file, "identity", "register_member", args), as_json)


@click.group()
def network() -> None:
    """Homes, shops, fleets: what belongs to a member and has an owner."""


@network.command("add")
@click.argument("name")
@click.option("--member", "of_member", required=True, help="The member that it belongs to.")
@click.option("--owner-key", type=PROVEN_KEY, required=True, help="The owner's key: `watt keys prove --kind owner`.")
@click.option("--bus", required=True, help="Where its meter hangs on the grid.")
@signing_options
@json_option
@refusals_to_exit_codes
def network_add(
    name: str,
    of_member: str,
    owner_key: ProvenKey,
    bus: str,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Register the network NAME. An admin or its member signs.

    Example: watt admin network add home-18 --member sunrise --owner-key 77ab...:1c0e... --bus home-18 --key sunrise.key
    """

    async def args(client: Client) -> dict[str, Any]:
        signing = open_key(key_file, passphrase_file).public_key
        owner = await _proven(client, NETWORK, name, owner_key, signing)
        return {"network": name, "member": of_member, "owner_key": owner["key"], "proof": owner["proof"], "bus": bus}

    done(transact(nodes, key_file, passphrase_file, "identity", "register_network", args), as_json)


@click.group()
def device() -> None:
    """Loads, panels, batteries and cars."""


def _device_options(command: C) -> C:
    """NAME and what else is registered of a device, under the names of ``identity.register_device``."""
    for option in (
        click.option("--renewable", is_flag=True, help="What it gives is tagged renewable."),
        click.option("--critical", is_flag=True, help="It runs on, owing, when its budget is empty."),
        click.option("--export-w", type=Count(), default=0, show_default=True, help="Most it gives, in W."),
        click.option("--import-w", type=Count(), default=0, show_default=True, help="Most it takes, in W."),
        click.option("--bus", help="Where it is connected from now on; by default nowhere."),
        click.option(
            "--meter-key", type=PROVEN_KEY, required=True, help="Its meter's: `watt keys prove --kind meter`."
        ),
        click.option("--kind", type=click.Choice(KINDS), required=True, help="What it is."),
        click.option("--network", required=True, help="The network that it belongs to."),
        click.argument("device", metavar="NAME"),
    ):
        command = option(command)
    return command


@device.command("add")
@_device_options
@click.option("--device-key", type=PROVEN_KEY, required=True, help="The key that trades for it: `watt keys prove`.")
@signing_options
@json_option
@refusals_to_exit_codes
def device_add(
    device_key: ProvenKey,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
    **registered: Any,
) -> None:
    """Register the device NAME, and with it its meter. An admin or the network's member signs.

    Example: watt admin device add home-18/ev --network home-18 --kind ev --device-key 12cd...:44f0...
    --meter-key 9e0a...:7b21... --bus home-18 --import-w 3600 --key sunrise.key
    """

    async def args(client: Client) -> dict[str, Any]:
        signing = open_key(key_file, passphrase_file).public_key
        own = await _proven(client, DEVICE, registered["device"], device_key, signing)
        return {**registered, **await _meter(client, registered, signing), **own}

    done(transact(nodes, key_file, passphrase_file, "identity", "register_device", args), as_json)


@device.command("enrol")
@_device_options
@code_options
@signing_options
@json_option
@refusals_to_exit_codes
def device_enrol(
    hours: int,
    gateways: tuple[str, ...],
    code_file: Path | None,
    show_code: bool,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
    **registered: Any,
) -> None:
    """Register the device NAME without a key, and print a code by which it enrols one of its own, made on the device.

    An admin or the network's member signs. The code is good once, for --hours; `watt wallet reset-key` makes another.

    Example: watt admin device enrol home-18/ev --network home-18 --kind ev --meter-key 9e0a...:7b21...
    --bus home-18 --import-w 3600 --gateway 10.0.0.5:7401 --key sunrise.key
    """
    new = NewCode(DEVICE, registered["device"], hours, gateways, code_file, as_json, show_code)

    async def args(client: Client) -> dict[str, Any]:
        signing = open_key(key_file, passphrase_file).public_key
        meter, made = await _meter(client, registered, signing), await new.args(client, signing)
        once = {"key": made["one_time_key"], "proof": made["proof"], "enrol_until": made["until"]}
        return {**registered, **meter, **once}

    new.tell(transact(nodes, key_file, passphrase_file, "identity", "register_device", args).height)


async def _proven(client: Client, kind: str, name: str, given: ProvenKey, signing: bytes) -> dict[str, bytes]:
    """The arguments ``key`` and ``proof`` of a call that the key ``signing`` signs. Raises RefusedError
    ("bad-signature") if the key has agreed to something else: before anything is sent, and saying which key it is."""
    key, proof = given
    require_possession((await client.node_info()).chain, kind, name, signing, key, proof)
    return {"key": key, "proof": proof}


async def _meter(client: Client, registered: dict[str, Any], signing: bytes) -> dict[str, bytes]:
    meter = await _proven(client, METER, registered["device"], registered["meter_key"], signing)
    return {"meter_key": meter["key"], "meter_proof": meter["proof"]}
