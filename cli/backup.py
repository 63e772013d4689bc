"""`watt node backup` and `watt node restore`: a node's database put aside while it runs, and put back."""

import time
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TextColumn

from chaincode.registry import default_registry
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.units import clock
from node.backup import DONE, FAILED, RUNNING, Backup, Manifest, Status, entries_of, install_bundles, read_manifest
from node.config import Config, load_config
from node.control import MakeBackup, ask
from node.errors import ConfigError, RefusedError
from node.ledger.chain import Ledger
from node.ledger.store import LevelStore
from node.model.genesis import load_genesis
from node.setup import CONFIG_NAME, DATABASE_NAME
from node.snapshot.shelf import require_joined
from node.snapshot.staging import Staging
from node.upgrades.library import UPGRADES_NAME, Library

POLL_S = 0.1
_PATH = click.Path(path_type=Path)
_config_option = click.option(
    "--config", "config_path", type=_PATH, default=CONFIG_NAME, show_default=True, help="The node's configuration."
)


@click.command()
@_config_option
@click.option("--out", "place", type=_PATH, required=True, help="The directory to make; it must not be there.")
@json_option
@refusals_to_exit_codes
def backup(config_path: Path, place: Path, as_json: bool) -> None:
    """Copy a node's database, as it is after one block, while the node goes on; a stopped node's too.

    There are no keys and no vote log in the copy; it holds everything else that the node knows, the installed upgrades
    of contracts among it, so keep it as closed as the node. What the node deletes later stays in it.

    Example: watt node backup --config node.toml --out /var/backups/watt/2026-11-22
    """
    config = load_config(config_path)
    place = place.resolve()
    with _progress("copied") as progress:
        shown = progress.add_task("copied", total=None)
        try:
            ask(config.path(config.data_dir), MakeBackup(str(place)))
        except RefusedError as refusal:
            if refusal.code != "not-running":
                raise
            _copy_stopped(config, place, lambda copied: progress.update(shown, completed=copied))
        else:
            _wait(config, lambda copied: progress.update(shown, completed=copied))
    _say(place, read_manifest(place), as_json)


def _wait(config: Config, tell: Callable[[int], None]) -> None:
    """Until the running node has made its backup. Raises RefusedError("backup-failed")."""
    while True:
        status = msgspec.convert(ask(config.path(config.data_dir), MakeBackup()), Status)
        tell(status.bytes)
        if status.state == DONE:
            return
        if status.state == FAILED:
            raise RefusedError("backup-failed", status.message)
        if status.state != RUNNING:
            raise RefusedError("backup-failed", "the node was started anew meanwhile")
        time.sleep(POLL_S)


def _copy_stopped(config: Config, place: Path, tell: Callable[[int], None]) -> None:
    data, genesis = config.path(config.data_dir), load_genesis(config.path(config.genesis))
    require_joined(data)
    store = LevelStore(data / DATABASE_NAME, create=False)
    try:
        ledger = Ledger.open(store, genesis, default_registry())
        copy = Backup(store, ledger, Library(data / UPGRADES_NAME), genesis, config.member, place)
        copy.run(lambda: tell(copy.bytes))
    except OSError as error:
        raise ConfigError("cannot-write", f"{place}: {error.strerror}") from error
    finally:
        store.close()


@click.command()
@_config_option
@click.option("--from", "place", type=_PATH, required=True, help="The backup's directory.")
@json_option
@refusals_to_exit_codes
def restore(config_path: Path, place: Path, as_json: bool) -> None:
    """Put a backup in the place of a stopped node's data, which are removed when it is whole.

    Every entry is checked against the backup's digest, the state against the newest block's certificate, bundles of
    contracts by their digests; `watt node verify` replays the rest. Data that are sound and go as far are left alone
    (`data-ahead`). The node then takes the blocks since from the others, and votes when nothing that it may have voted
    for meanwhile can matter any more.

    Example: watt node restore --config node.toml --from /var/backups/watt/2026-11-22
    """
    config = load_config(config_path)
    manifest, genesis = read_manifest(place), load_genesis(config.path(config.genesis))
    if manifest.chain != genesis.chain.hex():
        raise ConfigError(
            "db-other-chain", f"{place} is of chain {manifest.chain[:16]}, not {genesis.chain.hex()[:16]}"
        )
    staging = Staging(config.path(config.data_dir), genesis, default_registry())
    try:
        if staging.old_height is not None and staging.old_height >= manifest.height:
            message = (
                f"the data reach block {staging.old_height}, the backup block {manifest.height}: just run the node"
            )
            raise RefusedError("data-ahead", message)
        with _progress("restored") as progress:
            shown = progress.add_task("restored", total=manifest.bytes)
            copied = 0

            def told(batch: dict[bytes, bytes | None]) -> dict[bytes, bytes | None]:
                nonlocal copied
                copied += sum(len(key) + len(value or b"") for key, value in batch.items())
                progress.update(shown, completed=copied)
                return batch

            ledger = staging.from_entries(map(told, entries_of(place, manifest)))
            if (ledger.head.height, ledger.head_hash.hex()) != (manifest.height, manifest.block_hash):
                raise ConfigError("bad-backup", f"{place}: its newest block is not the one that it names")
            install_bundles(place, manifest, Library(config.path(config.data_dir) / UPGRADES_NAME))
            staging.finish()
    except OSError as error:
        raise ConfigError("cannot-write", f"{config.path(config.data_dir)}: {error.strerror}") from error
    finally:
        staging.close()
    _say(config.path(config.data_dir), manifest, as_json)
    if not as_json:
        click.echo("start it: `watt node run`; it follows, and votes again some twenty blocks later", err=True)


def _progress(what: str) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn(what), DownloadColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _say(place: Path, manifest: Manifest, as_json: bool) -> None:
    values = msgspec.to_builtins(manifest)
    if as_json:
        return print_json({"directory": str(place), **values})
    values["made"] = clock(manifest.made)
    values["upgrades"] = " ".join(manifest.upgrades) or "none"
    print_table(f"{place} holds", ["what", "value"], list(values.items()))
