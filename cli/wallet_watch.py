"""`watt wallet watch`: events as blocks bring them."""

import asyncio
from collections.abc import AsyncIterator

import click

from chaincode.contract import Event
from cli.answers import event_fields
from cli.output import SHORT_ID, json_option, plain, print_json, refusals_to_exit_codes
from cli.session import ask, node_option
from cli.units import Count, clock
from node.gateway.client import BlockEvents, Client


@click.command()
@click.argument("names", nargs=-1)
@click.option("--from-height", type=Count(1), help="Begin at this block; by default at the next one.")
@click.option("--blocks", type=Count(1), help="Stop after so many blocks; by default never.")
@node_option
@json_option
@refusals_to_exit_codes
def watch(
    names: tuple[str, ...], from_height: int | None, blocks: int | None, nodes: tuple[str, ...], as_json: bool
) -> None:
    """Print events as blocks bring them, of the devices and networks NAMES, or all. With --json, one object a line.

    Example: watt wallet watch home-03 home-03/ev
    """

    async def follow(client: Client) -> None:
        seen = 0
        stream: AsyncIterator[BlockEvents] = client.subscribe(from_height)
        async for block in stream:
            for event in block.events:
                if not names or set(names) & set(event.keys):
                    _print_event(block, event, as_json)
            seen += 1
            if seen == blocks:
                return

    try:
        ask(nodes, follow)
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("stopped", err=True)


def _print_event(block: BlockEvents, event: Event, as_json: bool) -> None:
    named = event_fields(event.topic, event.data)
    if as_json:
        return print_json(
            {
                "height": block.height,
                "time": block.time,
                "contract": event.contract,
                "topic": event.topic,
                "keys": event.keys,
                "data": event.data if named is None else named,
            }
        )
    if named is not None:
        data = " ".join(f"{name}={_short(value)}" for name, value in named.items())
    else:
        data = _short(event.data)
    click.echo(plain(f"{clock(block.time)}  {block.height:>7}  {event.topic:<12} {' '.join(event.keys):<24} {data}"))


def _short(item: object) -> str:
    if isinstance(item, tuple):
        return f"[{' '.join(_short(each) for each in item)}]"
    return item.hex()[:SHORT_ID] if isinstance(item, bytes) else str(item)
