"""Which billing period a command is about: the one that is named, or the one that is running."""

from typing import cast

import click

from cli.answers import Reader, as_rows
from cli.units import MAX_PERIOD, Count
from cli.verify import slot_seconds_of
from node.gateway.client import Client
from node.gateway.proven import ProvenReader

period_option = click.option(
    "--period", type=Count(most=MAX_PERIOD), help="The billing period's number; by default the running one."
)


async def period_or_current(client: Client, period: int | None) -> int:
    """The number given, or that of the period in which the network's clock stands."""
    if period is not None:
        return period
    return await _period_at(client.query, (await client.node_info()).now, await slot_seconds_of(client.query))


async def period_or_proven(read: ProvenReader, period: int | None) -> int:
    """The number given, or that of the period in which the head lies."""
    if period is not None:
        return period
    slot_seconds = await slot_seconds_of(read)
    assert read.oldest is not None
    return await _period_at(read, read.oldest.time, slot_seconds)


async def _period_at(read: Reader, time: int, slot_seconds: int) -> int:
    return cast("int", as_rows(await read("budget", "period", {"slot": time // slot_seconds}))[0])
