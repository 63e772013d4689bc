"""`watt admin member | network | device`: who takes part. Who may do what is a table in `chaincode/roles.py`."""

from pathlib import Path
from typing import Any

import click

from chaincode.identity import KINDS
from chaincode.roles import MEMBER_ROLES
from cli.output import json_option, refusals_to_exit_codes
from cli.session import done, signing_options, transact
from cli.units import PUBLIC_KEY, Count
from node.gateway.client import Client


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


@device.command("add")
@click.argument("name")
@click.option("--network", "of_network", required=True, help="The network that it belongs to.")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What it is.")
@click.option("--device-key", type=PUBLIC_KEY, required=True, help="The public key that trades for it.")
@click.option("--meter-key", type=PUBLIC_KEY, required=True, help="Its meter's public key.")
@click.option("--bus", help="Where it is connected from now on; by default nowhere.")
@click.option("--import-w", type=Count(), default=0, show_default=True, help="Most it takes, in W.")
@click.option("--export-w", type=Count(), default=0, show_default=True, help="Most it gives, in W.")
@click.option("--critical", is_flag=True, help="It runs on, owing, when its budget is empty.")
@click.option("--renewable", is_flag=True, help="What it gives is tagged renewable.")
@signing_options
@json_option
@refusals_to_exit_codes
def device_add(
    name: str,
    of_network: str,
    kind: str,
    device_key: bytes,
    meter_key: bytes,
    bus: str | None,
    import_w: int,
    export_w: int,
    critical: bool,
    renewable: bool,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Register the device NAME, and with it its meter. An admin or the network's member signs.

    Example: watt admin device add home-18/ev --network home-18 --kind ev --device-key 12cd... --meter-key 9e0a...
    --bus home-18 --import-w 3600 --key sunrise.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {
            "device": name,
            "network": of_network,
            "kind": kind,
            "key": device_key,
            "meter_key": meter_key,
            "bus": bus,
            "import_w": import_w,
            "export_w": export_w,
            "critical": critical,
            "renewable": renewable,
        }

    done(transact(nodes, key_file, passphrase_file, "identity", "register_device", args), as_json)
