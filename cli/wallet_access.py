"""`watt wallet access` and `watt wallet pseudonym`: who may read what is yours, and under which name you trade."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from chaincode.grants import MAX_SECONDS
from chaincode.market_products import DAY_S
from chaincode.subjects import BUDGET, CLASSES, DEVICE, HOLDERS, MARKET, NETWORK, READINGS, REGISTRY
from cli.answers import GRANT, records
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import Signing, ask, node_option, signed, transact
from cli.slots import SAID, SLOT, Slot, slot_seconds_of
from cli.units import PUBLIC_KEY, Count, clock
from node.gateway.client import Client

C = TypeVar("C", bound=Callable[..., Any])

_WORDS: Final = {
    REGISTRY: "names, keys, devices and where they hang",
    MARKET: "orders, trades and positions",
    BUDGET: "balances, shares, alerts, agreements and requests",
    READINGS: "readings, settlement, origins and statements",
}
_kind_option = click.option(
    "--kind",
    type=click.Choice(HOLDERS),
    help="What NAME is; by default a device if there is a / in it, else a network.",
)


@click.group()
def access() -> None:
    """Who may read what is yours: leave for others, for a time.

    Owners give it for a network or one of its devices, a company for what it holds itself.

    Example: watt wallet access grant home-03 9f3c...52 readings --days 30 --key owner.key
    """


@access.command()
@click.argument("name")
@click.argument("reader", type=PUBLIC_KEY, metavar="KEY")
@click.argument("classes", metavar="CLASS...", nargs=-1, required=True, type=click.Choice(CLASSES))
@click.option("--days", required=True, type=Count(1, MAX_SECONDS // DAY_S), help="For how long, in days of block time.")
@_kind_option
@signed
def grant(
    name: str,
    reader: bytes,
    classes: tuple[str, ...],
    days: int,
    kind: str | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Let KEY, a public key in hex, read some classes of NAME's data; what it was granted before is replaced.

    The classes are registry (names, keys, devices and where they hang), market (orders, trades and positions), budget
    (balances, shares, alerts, agreements and requests) and readings (readings, settlement, origins and statements). A
    network's grant holds for its devices. What has been read meanwhile cannot be taken back.

    Balances of a network need registry and budget, its statement registry and readings.

    Example: watt wallet access grant home-03 9f3c...52 registry budget --days 30 --key owner.key

    Example: watt wallet access grant home-03/ev 9f3c...52 market budget --days 7 --key owner.key
    """
    given: dict[str, Any] = {"kind": _kind_of(name, kind), "name": name, "reader": reader}

    async def args(client: Client) -> dict[str, Any]:
        until = (await client.node_info()).now + days * DAY_S
        given.update(classes=tuple(dict.fromkeys(classes)), until=until)
        return given

    status = transact(*signing, "grants", "grant", args)
    if as_json:
        return print_json({**given, "height": status.height})
    until = clock(given["until"])
    click.echo(f"{reader.hex()[:16]} may read of {name} until {until}, from block {status.height} on:")
    for each in given["classes"]:
        click.echo(f"  {each}: {_WORDS[each]}")


@access.command()
@click.argument("name")
@click.argument("reader", type=PUBLIC_KEY, metavar="KEY")
@_kind_option
@signed
def revoke(
    name: str,
    reader: bytes,
    kind: str | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Take back what was granted to KEY of NAME's data, at once.

    Example: watt wallet access revoke home-03 9f3c...52 --key owner.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {"kind": _kind_of(name, kind), "name": name, "reader": reader}

    status = transact(*signing, "grants", "revoke", args)
    if as_json:
        return print_json({"name": name, "reader": reader, "height": status.height})
    click.echo(f"{reader.hex()[:16]} may not read of {name} any more, from block {status.height} on")


@access.command("list")
@click.argument("name")
@_kind_option
@node_option
@json_option
@refusals_to_exit_codes
def list_grants(name: str, kind: str | None, nodes: tuple[str, ...], as_json: bool) -> None:
    """List who may read of NAME's data, what, and until when. A network's grants hold for its devices, too.

    Example: watt wallet access list home-03 --key owner.key
    """
    of = {"kind": _kind_of(name, kind), "name": name}
    rows = records(ask(nodes, lambda client: client.query("grants", "granted", of)), GRANT)
    if as_json:
        return print_json(rows)
    shown = [(row["reader"], ", ".join(row["classes"]), clock(row["until"])) for row in rows]
    print_table(f"May read of {name}, beside its owner, member and auditors", ("Key", "Classes", "Until"), shown)


@click.command()
@click.argument("device")
@click.option("--slot", type=SLOT, help=f"In this slot's period: {SAID}. By default now.")
@node_option
@json_option
@refusals_to_exit_codes
def pseudonym(device: str, slot: Slot | None, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show the name under which DEVICE's orders and fills are public in a billing period: another one in the next.

    Example: watt wallet pseudonym home-03/ev --key owner.key
    """

    async def read(client: Client) -> Any:
        seconds = await slot_seconds_of(client.query)
        number = (await client.node_info()).now // seconds if slot is None else slot.at(seconds)
        return await client.query("privacy", "pseudonym", {"device": device, "slot": number})

    period, name = ask(nodes, read)
    if as_json:
        return print_json({"device": device, "period": period, "pseudonym": name or None})
    click.echo(f"{device} is {name} in period {period}" if name else f"{device} has no pseudonym in period {period}")


def _kind_of(name: str, kind: str | None) -> str:
    return kind or (DEVICE if "/" in name else NETWORK)
