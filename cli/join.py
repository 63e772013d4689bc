"""`watt node join`: a node's data from other nodes, for one that is new or was away for long."""

import asyncio
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cli.advice import advised
from cli.output import json_option, plain, print_json, print_table, refusals_to_exit_codes
from cli.session import fetching_options, open_key, passphrase_told, reader, trusted_roots
from node.config import Config, load_config
from node.errors import ConfigError, RefusedError
from node.gateway.client import addresses_in
from node.ledger.chain import Ledger
from node.ledger.store import LevelStore
from node.model.genesis import load_genesis
from node.model.keys import Signer
from node.setup import CONFIG_NAME, DATABASE_NAME
from node.snapshot.fetch import Verdict
from node.snapshot.join import JoinPlan, JoinReport
from node.snapshot.join import join as run_join
from node.snapshot.maker import make_now
from node.snapshot.shelf import SNAPSHOTS_NAME, Shelf, require_joined
from node.upgrades.library import node_registry

_PATH = click.Path(path_type=Path)
_BARS = {"chunks": "chunks fetched", "state": "state written", "blocks": "blocks executed"}


def _sources(_: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(addresses_in(value)))
    except RefusedError as error:
        raise click.BadParameter(error.message, param=param) from None


@click.command()
@click.option("--config", "config_path", type=_PATH, help="The stopped node's configuration.  [default: node.toml]")
@click.option("--data", type=_PATH, help="A data directory, with --genesis, instead of --config.")
@click.option("--genesis", "genesis_path", type=_PATH, help="The genesis document that --data is to belong to.")
@click.option(
    "--from",
    "sources",
    multiple=True,
    required=True,
    metavar="HOST:PORT",
    callback=_sources,
    help="The gateway of a node to fetch from; name several: parts are fetched from all at once.",
)
@click.option("--blocks", "blocks_only", is_flag=True, help="Take no snapshot: fetch every block, and execute it.")
@fetching_options
@json_option
@refusals_to_exit_codes
def join(
    config_path: Path | None,
    data: Path | None,
    genesis_path: Path | None,
    sources: tuple[str, ...],
    blocks_only: bool,
    as_json: bool,
) -> None:
    """Fetch a stopped node's data from other nodes: the newest snapshot, then the blocks after it.

    Nothing is believed that does not follow from the genesis document; who sends anything else is named and asked no
    more. Cut short, the same command goes on where it was. Older data of the node stay until the new ones are whole.

    State and blocks hold what is not public, and are given to members: with --config the node's own key asks, else
    --key does.

    Example: watt node join --config node.toml --from 10.0.0.5:7401 --from 10.0.0.6:7401
    """
    if data is None and genesis_path is None:
        config = load_config(config_path or Path(CONFIG_NAME))
        data, genesis_path = config.path(config.data_dir), config.path(config.genesis)
        key: Signer | None = _key_of(config)
    elif config_path is not None or data is None or genesis_path is None:
        raise click.UsageError("give either --config, or --data and --genesis")
    else:
        key = reader()
    plan = JoinPlan(data, load_genesis(genesis_path), sources, blocks_only, key, trusted_roots())
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        report = advised(asyncio.run)(run_join(plan, node_registry(plan.data), _Screen(progress)))
    if as_json:
        print_json(report._asdict())
    else:
        print_table(f"{data} holds", ["what", "value"], _rows(report))


def _key_of(config: Config) -> Signer:
    """The node's own."""
    passphrase_file = config.path(config.passphrase_file) if config.passphrase_file else passphrase_told()
    return open_key(config.path(config.key_file), passphrase_file)


@click.command()
@click.option("--config", "config_path", type=_PATH, default=CONFIG_NAME, show_default=True, help="The configuration.")
@click.option("--list", "only_list", is_flag=True, help="Make none; also of a running node.")
@json_option
@refusals_to_exit_codes
def snapshot(config_path: Path, only_list: bool, as_json: bool) -> None:
    """Make a snapshot of a stopped node's newest block, and list what it has for nodes that join.

    A running node makes one by itself every 1000 blocks.

    Example: watt node snapshot --config node.toml --list
    """
    config = load_config(config_path)
    data = config.path(config.data_dir)
    shelf = Shelf(data / SNAPSHOTS_NAME)
    if not only_list:
        require_joined(data)
        store = LevelStore(data / DATABASE_NAME, create=False)
        try:
            ledger = Ledger.open(store, load_genesis(config.path(config.genesis)), node_registry(data))
            make_now(store, ledger, shelf)
        except OSError as error:
            raise ConfigError("cannot-write", f"{data / SNAPSHOTS_NAME}: {error.strerror}") from error
        finally:
            store.close()
    if as_json:
        print_json([{"height": each.height, "chunks": len(each.chunks), "bytes": each.size} for each in shelf.kept])
    else:
        rows = [(each.height, len(each.chunks), each.size) for each in shelf.kept]
        print_table(f"Snapshots in {shelf.directory}", [">of block", ">chunks", ">bytes"], rows)


class _Screen:
    """Shows how a join goes on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def progress(self, what: str, done: int, total: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(_BARS[what], total=None)
        self._progress.update(self._tasks[what], completed=done, total=total)

    def dropped(self, source: str, verdict: Verdict) -> None:
        what = "dropped, it lied" if verdict.lied else "dropped"
        click.echo(f"watt: {source}: {what}: {verdict.code}: {plain(verdict.message)}", err=True)


def _rows(report: JoinReport) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [("height", report.height), ("root", report.root)]
    rows.append(("snapshot of block", report.snapshot_height or "none: all blocks are there"))
    rows += [("chunks fetched", report.chunks), ("blocks executed", report.blocks)]
    rows += [(f"seconds, {part}", seconds) for part, seconds in report.seconds.items()]
    return rows + [(f"dropped {source}", why) for source, why in report.dropped.items()]
