"""Which billing period a command is about: the one that is named, or the one that is running."""

from typing import cast

import click

from cli.answers import HIDDEN, Reader, as_rows
from cli.asking import Source
from cli.slots import slot_seconds_of
from cli.units import MAX_PERIOD, Count
from node.errors import RefusedError
from node.gateway.client import Client
from node.gateway.proven import ProvenReader

period_option = click.option(
    "--period", type=Count(most=MAX_PERIOD), help="The billing period's number; by default the running one."
)


async def period_or_current(client: Client, period: int | None, name: str | None) -> int:
    """The number given, or that of the period of ``name``, a network or a device, in which the network's clock stands;
    without a name the consortium's.
    """
    if period is not None:
        return period
    return await _period_at(client.query, name, (await client.node_info()).now, await slot_seconds_of(client.query))


async def company_period(client: Client, period: int | None, member: str) -> int:
    """The number given, or that of the period of the company ``member`` in which the network's clock stands."""
    if period is not None:
        return period
    slot = (await client.node_info()).now // await slot_seconds_of(client.query)
    return cast("int", as_rows(await client.query("companies", "period", {"member": member, "slot": slot}))[0])


async def period_or_proven(read: ProvenReader, period: int | None, name: str) -> int:
    """The number given, or that of the period of ``name``, a network or a device, in which the head lies."""
    if period is not None:
        return period
    slot_seconds = await slot_seconds_of(read)
    assert read.oldest is not None
    return await _period_at(read, name, read.oldest.time, slot_seconds)


async def period_asked(client: Client, source: Source, period: int | None, name: str) -> int:
    """The number given, or that of the running period of ``name``: by the source, whether it proves or not."""
    if source.proven is None:
        return await period_or_current(client, period, name)
    return await period_or_proven(source.proven, period, name)


async def network_of(read: Reader, name: str) -> str:
    """The network ``name``, or the one of the device ``name``.

    Raises RefusedError: "unknown-network"; "not-allowed" or "sign-first" to whom that is not told.
    """
    hidden: RefusedError | None = None
    for kind, index in (("network", 0), ("device", 1)):
        try:
            return cast("str", as_rows(await read("identity", kind, {kind: name}))[index])
        except RefusedError as error:
            if error.code in HIDDEN:
                hidden = error
            elif error.code not in ("unknown-network", "unknown-device"):
                raise
    raise hidden or RefusedError("unknown-network", f"there is no network {name}, and no device of this name")


async def require_device(read: Reader, name: str) -> None:
    """Raises RefusedError("unknown-device"), but not to a key that may see a device's orders and no names."""
    try:
        await read("identity", "device", {"device": name})
    except RefusedError as error:
        if error.code not in HIDDEN:
            raise


async def _period_at(read: Reader, name: str | None, time: int, slot_seconds: int) -> int:
    args: dict[str, object] = {"slot": time // slot_seconds}
    if name is None:
        return cast("int", as_rows(await read("budget", "common_period", args))[0])
    return cast("int", as_rows(await read("budget", "period", {"network": await network_of(read, name), **args}))[0])
