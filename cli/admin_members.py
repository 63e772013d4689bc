"""`watt admin member | network | device`: who takes part. Who may do what is a table in `chaincode/roles.py`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from chaincode.enrolments import DEVICE
from chaincode.identity import KINDS
from chaincode.roles import MEMBER_ROLES
from cli.enrol import NewCode, code_options
from cli.output import json_option, refusals_to_exit_codes
from cli.session import done, signing_options, transact
from cli.units import PUBLIC_KEY, Count
from node.gateway.client import Client

C = TypeVar("C", bound=Callable[..., Any])


@click.group()
def member() -> None:
    """Organisations of the consortium."""


@member.command("add")
@click.argument("name")
@click.option("--public-key", type=PUBLIC_KEY, required=True, help="The member's public key.")
@click.option("--role", "roles", multiple=True, type=click.Choice(MEMBER_ROLES), help="A role; may be repeated.")
@signing_options
@json_option
@refusals_to_exit_codes
def member_add(
    name: str,
    public_key: bytes,
    roles: tuple[str, ...],
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Register the member NAME. Admins sign.

    Example: watt admin member add sunrise --public-key 3b1f... --role aggregator --key admin.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {"member": name, "key": public_key, "roles": roles}

    done(transact(nodes, key_file, passphrase_file, "identity", "register_member", args), as_json)


@click.group()
def network() -> None:
    """Homes, shops, fleets: what belongs to a member and has an owner."""


@network.command("add")
@click.argument("name")
@click.option("--member", "of_member", required=True, help="The member that it belongs to.")
@click.option("--owner-key", type=PUBLIC_KEY, required=True, help="The owner's public key.")
@click.option("--bus", required=True, help="Where its meter hangs on the grid.")
@signing_options
@json_option
@refusals_to_exit_codes
def network_add(
    name: str,
    of_member: str,
    owner_key: bytes,
    bus: str,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Register the network NAME. An admin or its member signs.

    Example: watt admin network add home-18 --member sunrise --owner-key 77ab... --bus home-18 --key sunrise.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {"network": name, "member": of_member, "owner_key": owner_key, "bus": bus}

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
        click.option("--meter-key", type=PUBLIC_KEY, required=True, help="Its meter's public key."),
        click.option("--kind", type=click.Choice(KINDS), required=True, help="What it is."),
        click.option("--network", required=True, help="The network that it belongs to."),
        click.argument("device", metavar="NAME"),
    ):
        command = option(command)
    return command


@device.command("add")
@_device_options
@click.option("--device-key", type=PUBLIC_KEY, required=True, help="The public key that trades for it.")
@signing_options
@json_option
@refusals_to_exit_codes
def device_add(
    device_key: bytes,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
    **registered: Any,
) -> None:
    """Register the device NAME, and with it its meter. An admin or the network's member signs.

    Example: watt admin device add home-18/ev --network home-18 --kind ev --device-key 12cd... --meter-key 9e0a...
    --bus home-18 --import-w 3600 --key sunrise.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {**registered, "key": device_key}

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

    Example: watt admin device enrol home-18/ev --network home-18 --kind ev --meter-key 9e0a... --bus home-18
    --import-w 3600 --gateway 10.0.0.5:7401 --key sunrise.key
    """
    new = NewCode(DEVICE, registered["device"], hours, gateways, code_file, as_json, show_code)

    async def args(client: Client) -> dict[str, Any]:
        made = await new.args(client)
        return {**registered, "key": made["one_time_key"], "enrol_until": made["until"]}

    new.tell(transact(nodes, key_file, passphrase_file, "identity", "register_device", args).height)
