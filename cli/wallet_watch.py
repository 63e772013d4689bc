"""`watt wallet watch`: events as blocks bring them, printed, or done by a plug."""

import asyncio
import os
import shlex
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import click

from chaincode.contract import Event
from cli.answers import event_fields
from cli.output import SHORT_ID, json_option, plain, print_json, refusals_to_exit_codes
from cli.plug import Done, Follower, Plug, Switch
from cli.session import ask, node_option
from cli.units import Count, clock
from node.errors import RefusedError
from node.gateway.client import BlockEvents, Client

MAX_TIMEOUT_S = 3_600


def _command(_: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """The words of a command, as a shell would split them."""
    if value is None:
        return None
    try:
        words = tuple(shlex.split(value))
    except ValueError as error:
        raise click.BadParameter(f"{value[:60]!r}: {error}", param=param) from None
    if not words:
        raise click.BadParameter("an empty command", param=param)
    return words


@click.command()
@click.argument("names", nargs=-1)
@click.option("--device", help="With --exec: the device whose plug it is.")
@click.option(
    "--exec", "command", metavar="CMD", callback=_command, help="Run CMD when the device is curtailed, restored."
)
@click.option(
    "--timeout", "timeout_s", type=Count(1, MAX_TIMEOUT_S), default=30, show_default=True,
    help="With --exec: the seconds that CMD may take.",
)  # fmt: skip
@click.option("--from-height", type=Count(1), help="Begin at this block; by default at the next one.")
@click.option("--blocks", type=Count(1), help="Stop after so many blocks; by default never.")
@node_option
@json_option
@refusals_to_exit_codes
def watch(
    names: tuple[str, ...],
    device: str | None,
    command: tuple[str, ...] | None,
    timeout_s: int,
    from_height: int | None,
    blocks: int | None,
    nodes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print events as blocks bring them, of the devices and networks NAMES, or all. With --json, one object a line.

    With --device and --exec, CMD is run instead, without a shell, for every `curtail` and `restore` of the device, and
    at the start for what holds then: the event is in WATT_EVENT, WATT_DEVICE, WATT_PERIOD, WATT_HEIGHT and WATT_TIME.
    Name several nodes: when one is lost, another goes on from the next block.

    Example: watt wallet watch home-03 home-03/ev

    Example: watt wallet watch --device home-03/ev --exec '/usr/local/bin/plug 192.168.1.20'
    """
    if (device is None) != (command is None):
        raise click.UsageError("--device and --exec belong together")
    if command is not None and (names or from_height is not None):
        raise click.UsageError("--exec follows its --device from now on: no NAMES, no --from-height")
    if device is not None and command is not None:
        work = _drive(device, command, timeout_s, blocks, len(nodes), as_json)
    else:
        work = _print_all(names, from_height, blocks, as_json)
    try:
        ask(nodes, work)
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("stopped", err=True)


def _print_all(
    names: tuple[str, ...], from_height: int | None, blocks: int | None, as_json: bool
) -> Callable[[Client], Awaitable[None]]:
    async def work(client: Client) -> None:
        seen = 0
        stream: AsyncIterator[BlockEvents] = client.subscribe(from_height)
        async for block in stream:
            for event in block.events:
                if not names or set(names) & set(event.keys):
                    _print_event(block, event, as_json)
            seen += 1
            if seen == blocks:
                return

    return work


def _drive(
    device: str, command: tuple[str, ...], timeout_s: int, blocks: int | None, gateways: int, as_json: bool
) -> Callable[[Client], Awaitable[None]]:
    """Follow the device until a signal ends it; a command that is running then is ended first."""
    if shutil.which(command[0]) is None:
        raise RefusedError("no-command", f"{command[0]}: no such command, or not executable")

    def tell(text: str) -> None:
        click.echo(plain(f"watt: {text}"), err=True)

    async def work(client: Client) -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        plug = Plug(command, timeout_s, tell)

        async def apply(switch: Switch) -> None:
            print_done(await plug.apply(switch), as_json, tell)

        await Follower(client, gateways, device, apply, tell).run(blocks)

    return work


def print_done(done: Done, as_json: bool, tell: Callable[[str], None]) -> None:
    """What a command has done. If nobody reads that any more ``tell`` says so, once, and the plug is followed on."""
    try:
        _print_done(done, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        tell("nobody reads what is printed any more; the plug is followed all the same")


def _print_done(done: Done, as_json: bool) -> None:
    switch = done.switch
    if as_json:
        return print_json({**switch._asdict(), "tries": done.tries, "done": not done.fault, "fault": done.fault})
    outcome = f"given up: {done.fault}" if done.fault else "done" if done.tries == 1 else f"done at try {done.tries}"
    click.echo(plain(f"{clock(switch.time)}  {switch.height:>7}  {switch.event:<8} {switch.device}: {outcome}"))


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
