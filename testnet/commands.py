"""`watt testnet`: a local network of real processes."""

import asyncio
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar, cast

import click
import msgspec
from click.core import ParameterSource

from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from node.config import split_address
from node.errors import ConfigError, RefusedError
from node.model.genesis import MIN_MEMBERS
from testnet.authorities import TRUST_NAME, renew_due
from testnet.cluster import Cluster, NodeStatus
from testnet.genesis import (
    DEFAULT_BASE_PORT,
    GENESIS_NAME,
    MAX_BASE_PORT,
    MAX_NODES,
    Network,
    build_network,
    load_network,
)
from testnet.neighbourhood import STREET, Place, build_neighbourhood, fund, is_neighbourhood
from testnet.partition import Cut, cut

P = ParamSpec("P")
R = TypeVar("R")

STANDSTILL_S: Final = 15
"""Three heartbeats without a block."""

_MORE = {
    "partition": "testnet.faults_commands",
    "heal": "testnet.faults_commands",
    "add": "testnet.membership_commands",
    "remove": "testnet.membership_commands",
    "demo": "testnet.demo",
    "company": "testnet.company",
    "experiment": "testnet.experiment",
}
"""Command to module."""
directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=".testnet",
    show_default=True,
    envvar="WATT_TESTNET",
    help="The network's directory. Also WATT_TESTNET.",
)


def refusals(command: Callable[P, R]) -> Callable[P, R]:
    """``refusals_to_exit_codes``, and the disk's refusals too: one line instead of a traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise ConfigError("cannot-write", f"{where}{error.strerror or error}") from error

    return refusals_to_exit_codes(run)


class _WithMore(click.Group):
    """The group; what is in `_MORE` is loaded when it is used: it brings a lot along, or builds on this module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *_MORE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MORE:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(importlib.import_module(_MORE[cmd_name]), cmd_name)
        return command


@click.group(cls=_WithMore)
def testnet() -> None:
    """A local network of real processes.

    Example: watt testnet up --nodes 4
    """


@testnet.command()
@directory_option
@click.option("--nodes", type=click.IntRange(MIN_MEMBERS, MAX_NODES), default=4, show_default=True,
              help="How many validators.")  # fmt: skip
@click.option("--base-port", type=click.IntRange(0, MAX_BASE_PORT), default=DEFAULT_BASE_PORT, show_default=True,
              help="Gateways listen on the next ports, peers on those from 101 on.")  # fmt: skip
@click.option("--genesis", "settings_path", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="A JSON file with the contracts' genesis settings; without, three homes to trade with.")  # fmt: skip
@click.option("--grid", "grid_name", metavar="FILE|simbench",
              help="The three homes' grid: a CSV file, or `simbench` for LV3.101 of that data set.")  # fmt: skip
@click.option("--tls", is_flag=True, help="Close the gateways by TLS, with certificates of authorities made for it.")
@json_option
@click.pass_context
@refusals
def up(
    ctx: click.Context,
    directory: Path,
    nodes: int,
    base_port: int,
    settings_path: Path | None,
    grid_name: str | None,
    tls: bool,
    as_json: bool,
) -> None:
    """Make a network, unless the directory holds one, start its nodes, and wait until they make blocks.

    Example: watt testnet up --nodes 4

    Example: watt testnet up --grid street.csv
    """
    if settings_path is not None and grid_name is not None:
        raise click.UsageError("say either --genesis, whose settings have a grid, or --grid")
    directory = directory.resolve()
    settings = None if settings_path is None else _read_settings(settings_path)
    place = STREET if grid_name is None else _placed(grid_name)
    if (directory / GENESIS_NAME).exists():
        network = load_network(directory)
        _require_same(
            network,
            nodes=nodes if _is_given(ctx, "nodes") else None,
            base_port=base_port if _is_given(ctx, "base_port") else None,
            settings=settings,
            grid=None if grid_name is None else place.grid.settings(),
            tls=tls,
        )
        renew_due(directory, [node.config for node in network.nodes])
    elif settings is None:
        network = build_neighbourhood(directory, nodes=nodes, base_port=base_port, place=place, tls=tls)
    else:
        network = build_network(directory, settings, nodes=nodes, base_port=base_port, tls=tls)
    cluster = Cluster(network)
    started = cluster.start_all()
    try:
        cluster.wait_ready()
    except RefusedError:
        cluster.stop_all(started)
        raise
    if is_neighbourhood(cluster.network):
        asyncio.run(fund(cluster.network))
    _print(cluster, cluster.status(), as_json)


@testnet.command()
@directory_option
@json_option
@refusals
def status(directory: Path, as_json: bool) -> None:
    """Height, view and root of every node, and whether they agree.

    Example: watt testnet status --json
    """
    cluster = Cluster(load_network(directory.resolve()))
    _print(cluster, cluster.status(), as_json)


@testnet.command()
@click.argument("name", metavar="NODE")
@directory_option
@refusals
def stop(name: str, directory: Path) -> None:
    """Stop one node cleanly (SIGTERM).

    Example: watt testnet stop node-2
    """
    cluster = Cluster(load_network(directory.resolve()))
    cluster.stop(cluster.node(name))
    click.echo(f"{cluster.node(name).name} is stopped", err=True)


@testnet.command()
@click.argument("name", metavar="NODE")
@directory_option
@refusals
def kill(name: str, directory: Path) -> None:
    """Kill one node (SIGKILL), as a crash would.

    Example: watt testnet kill node-0
    """
    cluster = Cluster(load_network(directory.resolve()))
    cluster.kill(cluster.node(name))
    click.echo(f"{cluster.node(name).name} is killed", err=True)


@testnet.command()
@click.argument("name", metavar="NODE")
@directory_option
@refusals
def restart(name: str, directory: Path) -> None:
    """Start one node again, after stopping it if it runs.

    Example: watt testnet restart node-0
    """
    cluster = Cluster(load_network(directory.resolve()))
    node = cluster.node(name)
    if cluster.pid(node) is not None:
        cluster.stop(node)
    cluster.start(node)
    cluster.wait_answer(node)
    click.echo(f"{node.name} is started", err=True)


@testnet.command()
@directory_option
@refusals
def down(directory: Path) -> None:
    """Stop all nodes. Their data stays: `up` goes on where they were.

    Example: watt testnet down
    """
    stopped = Cluster(load_network(directory.resolve())).stop_all()
    click.echo(f"stopped: {', '.join(stopped) or 'none was running'}", err=True)


def _is_given(ctx: click.Context, parameter: str) -> bool:
    return ctx.get_parameter_source(parameter) is not ParameterSource.DEFAULT


def _require_same(
    network: Network,
    *,
    nodes: int | None,
    base_port: int | None,
    settings: dict[str, dict[str, object]] | None,
    grid: dict[str, object] | None,
    tls: bool,
) -> None:
    """Refuse what was asked for of a network that exists, if it is another. Raises ConfigError("testnet-exists")."""
    there = f"{network.directory} holds a network already, "
    if nodes not in (None, len(network.nodes)):
        raise ConfigError("testnet-exists", there + f"of {len(network.nodes)} nodes: leave --nodes out")
    _, first = split_address(network.gateways[0])
    if base_port not in (None, first - 1):
        raise ConfigError("testnet-exists", there + f"with base port {first - 1}: leave --base-port out")
    if settings not in (None, network.genesis.contracts):
        raise ConfigError("testnet-exists", there + "of other settings: leave --genesis out")
    if grid not in (None, network.genesis.contracts.get("grid")):
        raise ConfigError("testnet-exists", there + "on another grid: leave --grid out, or publish it as a new version")
    if tls and network.roots is None:
        raise ConfigError("testnet-exists", there + "with plain gateways: leave --tls out")


def _placed(grid_name: str) -> Place:
    from testnet.placing import place_on  # noqa: PLC0415 - brings a library of graphs along, slow to load

    return place_on(grid_name)


def _read_settings(path: Path) -> dict[str, dict[str, object]]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, object]])
    except OSError as error:
        raise ConfigError("no-genesis", f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError("bad-genesis", f"{path}: {_no_codec(error)}") from error


def _no_codec(error: Exception) -> str:
    return "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)


def _print(cluster: Cluster, nodes: list[NodeStatus], as_json: bool) -> None:
    answering = [status for status in nodes if status.info is not None]
    agreement = cluster.agreement() if answering else None
    agree = agreement is not None and agreement.root is not None
    scale = cluster.network.genesis.time_scale
    rows = [_row(status, cut(status.node) if status.info else None, scale) for status in nodes]
    if as_json:
        at = {"height": agreement.height, "root": agreement.root} if agreement is not None else {}
        print_json({"nodes": rows, "agree": agree, **at})
        return
    parted = ["cut_off_from"] if any(row["cut_off_from"] for row in rows) else []
    columns = ["node", ">pid", "gateway", ">height", ">age_s", "?>view", "?>pending", "root", *parted]
    cells = [[_cell(row[column.lstrip("?>")]) for column in columns] for row in rows]
    print_table(str(cluster.network.directory), columns, cells)
    for each in nodes:
        if each.fault is not None:
            click.echo(f"{each.node.name} is not believed: {each.fault.code}: {each.fault.message}", err=True)
    if cluster.network.roots is not None:
        click.echo(f"clients need: export WATT_CA={cluster.network.directory / TRUST_NAME}", err=True)
    if agreement is None:
        click.echo("no node answers", err=True)
    elif agree:
        click.echo(f"{agreement.nodes} of {len(nodes)} nodes answer and agree at height {agreement.height}", err=True)
        age_s = min(cast("int", row["age_s"]) for row in rows if row["age_s"] is not None)
        if age_s >= STANDSTILL_S:
            click.echo(f"no block for {age_s} s: `watt node doctor` says what a node waits for", err=True)
    else:
        click.echo(f"the nodes DISAGREE at height {agreement.height}", err=True)


def _row(status: NodeStatus, links: Cut | None, time_scale: int) -> dict[str, object]:
    """``age_s``: of the newest block, in real seconds."""
    info = status.info
    return {
        "node": status.node.name,
        "pid": status.pid,
        "gateway": status.node.gateway,
        "height": info.height if info else None,
        "age_s": max(0, info.now - info.head_time) // time_scale if info else None,
        "view": info.view if info else None,
        "primary": info.primary if info else None,
        "pending": info.pending if info else None,
        "connected": list(info.connected) if info else [],
        "root": info.state_root if info else None,
        "cut_off_from": list(links.names) if links else [],
        "fault": None if status.fault is None else f"{status.fault.code}: {status.fault.message}",
        "log": str(status.node.directory / "node.log"),
    }


def _cell(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()[:16]
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return "-" if value is None else str(value)
