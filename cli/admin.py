"""`watt admin`: what members, owners and the utility decide. Who may do what is a table in `chaincode/roles.py`."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from chaincode.identity import KINDS
from chaincode.roles import MEMBER_ROLES
from cli.governance import COMMANDS
from cli.grid import commands as grid
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.periods import period_option, period_or_current
from cli.rules import rules
from cli.session import ask, node_option, signing_options, transact
from cli.settlement import settlement
from cli.units import MAX_INTEGER, PUBLIC_KEY, TOKENS, Count, base_units, clock, per_kwh
from node.errors import RefusedError
from node.gateway.client import Client, TxStatus


class DeviceAmount(click.ParamType[tuple[str, Decimal]]):
    """``DEVICE=TOKENS``; becomes the pair."""

    name = "device=tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Decimal]:
        if isinstance(value, tuple):
            return value
        device, equals, amount = str(value).rpartition("=")
        if not equals or not device:
            self.fail(f"{str(value)[:60]!r} is not DEVICE=TOKENS", param, ctx)
        return device, TOKENS.convert(amount, param, ctx)


class Donor(click.ParamType[tuple[str, int, Decimal, bool]]):
    """``DEVICE=RANK[:FLOOR]`` or ``DEVICE=never``; becomes (device, rank, floor in tokens, gives)."""

    name = "device=rank[:floor]|never"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int, Decimal, bool]:
        if isinstance(value, tuple):
            return value
        device, equals, policy = str(value).rpartition("=")
        rank, _, floor = policy.partition(":")
        if not equals or not device or not (_is_rank(rank) or policy == "never"):
            self.fail(f"{str(value)[:60]!r} is not DEVICE=RANK, DEVICE=RANK:FLOOR or DEVICE=never", param, ctx)
        if policy == "never":
            return device, 0, Decimal(0), False
        return device, int(rank), TOKENS.convert(floor or "0", param, ctx), True


def _is_rank(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= MAX_INTEGER


DEVICE_AMOUNT = DeviceAmount()
DONOR = Donor()


@click.group()
def admin() -> None:
    """What members, owners and the utility decide."""


@admin.group()
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

    _done(transact(nodes, key_file, passphrase_file, "identity", "register_member", args), as_json)


@admin.group()
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

    _done(transact(nodes, key_file, passphrase_file, "identity", "register_network", args), as_json)


@admin.group()
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

    _done(transact(nodes, key_file, passphrase_file, "identity", "register_device", args), as_json)


@admin.command()
@click.argument("network_name", metavar="NETWORK")
@click.argument("amount", type=TOKENS)
@click.option("--reference", required=True, help="The bill or contract that it rests on; each is used once.")
@period_option
@signing_options
@json_option
@refusals_to_exit_codes
def issue(
    network_name: str,
    amount: Decimal,
    reference: str,
    period: int | None,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Issue AMOUNT tokens to NETWORK's pool for a billing period. The utility signs.

    Example: watt admin issue home-03 40 --reference contract-2017-06 --key utility.key
    """

    async def args(client: Client) -> dict[str, Any]:
        return {
            "network": network_name,
            "period": await period_or_current(client, period, network_name),
            "amount": base_units(amount, (await client.node_info()).token_decimals),
            "reference": reference.encode(),
        }

    _done(transact(nodes, key_file, passphrase_file, "budget", "issue", args), as_json)


@admin.command()
@click.argument("network_name", metavar="NETWORK")
@click.argument("amounts", metavar="DEVICE=TOKENS...", type=DEVICE_AMOUNT, nargs=-1)
@click.option("--by-history", type=TOKENS, help="Instead: so many tokens, shared out as last period was used.")
@click.option("--device", "devices", multiple=True, help="With --by-history: a device that gets a part.")
@period_option
@signing_options
@json_option
@refusals_to_exit_codes
def allocate(
    network_name: str,
    amounts: tuple[tuple[str, Decimal], ...],
    by_history: Decimal | None,
    devices: tuple[str, ...],
    period: int | None,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Give tokens of NETWORK's pool to its devices. The owner signs.

    Example: watt admin allocate home-03 home-03/load=25 home-03/ev=10 --key owner.key

    Example: watt admin allocate home-03 --by-history 35 --device home-03/load --device home-03/ev --key owner.key
    """
    if bool(amounts) == (by_history is not None) or bool(devices) != (by_history is not None):
        raise click.UsageError("say either DEVICE=TOKENS..., or --by-history and --device")

    async def args(client: Client) -> dict[str, Any]:
        decimals = (await client.node_info()).token_decimals
        common = {"network": network_name, "period": await period_or_current(client, period, network_name)}
        if by_history is not None:
            return {**common, "amount": base_units(by_history, decimals), "devices": devices}
        return {**common, "amounts": tuple((name, base_units(amount, decimals)) for name, amount in amounts)}

    method = "allocate" if by_history is None else "allocate_by_history"
    _done(transact(nodes, key_file, passphrase_file, "budget", method, args), as_json)


@admin.command()
@click.argument("network_name", metavar="NETWORK")
@click.option(
    "--proceeds",
    type=click.Choice(["pool", "device"]),
    default="pool",
    show_default=True,
    help="Who gets what a device earns.",
)
@click.option("--donor", "donors", type=DONOR, multiple=True, help="Who helps: the smaller rank is asked first.")
@signing_options
@json_option
@refusals_to_exit_codes
def policy(
    network_name: str,
    proceeds: str,
    donors: tuple[tuple[str, int, Decimal, bool], ...],
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Decide where NETWORK's proceeds go, and which devices help others that run out. The owner signs.

    Example: watt admin policy home-03 --donor home-03/battery=1:2.5 --donor home-03/load=never --key owner.key
    """

    async def args(client: Client) -> dict[str, Any]:
        decimals = (await client.node_info()).token_decimals
        rows = tuple((name, rank, base_units(floor, decimals), gives) for name, rank, floor, gives in donors)
        return {"network": network_name, "proceeds": proceeds, "donors": rows}

    _done(transact(nodes, key_file, passphrase_file, "budget", "set_policy", args), as_json)


@admin.group()
def tariff() -> None:
    """The utility's prices by time of use."""


@tariff.command("show")
@node_option
@json_option
@refusals_to_exit_codes
def tariff_show(nodes: tuple[str, ...], as_json: bool) -> None:
    """Show retail and feed-in prices by time of day (UTC), in tokens per kWh.

    Example: watt admin tariff show
    """

    async def read(client: Client) -> tuple[object, int]:
        return await client.query("market", "settings"), (await client.node_info()).token_decimals

    answer, decimals = ask(nodes, read)
    if not isinstance(answer, tuple) or not answer or not isinstance(answer[-1], tuple):
        raise RefusedError("bad-answer", "the node's answer is no market's settings: another version?")
    rows = answer[-1]
    if as_json:
        return print_json([dict(zip(("from_second", "retail", "feed_in"), row, strict=True)) for row in rows])
    print_table(
        "Tariff, tokens per kWh",
        ("From", ">Retail", ">Feed-in"),
        ((clock(row[0])[11:16], per_kwh(row[1], decimals), per_kwh(row[2], decimals)) for row in rows),
    )


def _done(status: TxStatus, as_json: bool) -> None:
    if as_json:
        return print_json({"height": status.height, "result": status.result})
    click.echo(f"done in block {status.height}")


for command in (*COMMANDS, grid, rules, settlement):
    admin.add_command(command)
