"""`watt admin issue | allocate | policy`: a network's budget of a billing period, and what its owner decides of it."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from cli.output import json_option, refusals_to_exit_codes
from cli.periods import period_option, period_or_current
from cli.session import done, signing_options, transact
from cli.units import MAX_INTEGER, TOKENS, base_units
from node.gateway.client import Client


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


@click.command()
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

    done(transact(nodes, key_file, passphrase_file, "budget", "issue", args), as_json)


@click.command()
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
    done(transact(nodes, key_file, passphrase_file, "budget", method, args), as_json)


@click.command()
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
        rows = [(name, rank, base_units(floor, decimals), gives, None, 0, 0) for name, rank, floor, gives in donors]
        return {"network": network_name, "proceeds": proceeds, "devices": rows}

    done(transact(nodes, key_file, passphrase_file, "budget", "set_policy", args), as_json)
