"""`watt admin upgrade` and `watt node upgrade`: other code for contracts: tried, voted on, installed.

What is voted on is the digest of a bundle (``node/upgrades/bundle.py``): it is computed here, from the files that
whoever votes has before them.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from chaincode.ballot import NOTICE
from chaincode.motions import UPGRADE
from cli import ballots
from cli.answers import records
from cli.ballots import approve_one, at_option, picked, votes, withdraw_command
from cli.motions import lines_of, read_motions, read_scheduled
from cli.output import count, json_option, plain, print_json, print_table, refusals_to_exit_codes
from cli.session import Signing, ask, node_option, signed, transact
from cli.units import Count
from node.config import load_config
from node.errors import RefusedError
from node.gateway.client import Client
from node.model.genesis import load_genesis
from node.setup import CONFIG_NAME
from node.upgrades.bundle import load, read_bundle, replaced
from node.upgrades.library import UPGRADES_NAME, Installed, Library, client_directory
from node.upgrades.trial import Trial, try_upgrade

ACTIVE: Final = ("name", "bundle_digest", "first_height", "contracts")
BLOCKS: Final = 1000
SHOWN: Final = 20
_PATH = click.Path(path_type=Path)
_bundle_argument = click.argument("bundle", type=_PATH, metavar="DIR")


@click.group()
def upgrade() -> None:
    """Other code for contracts: trying it, and voting on it. A bundle is a directory: see docs/upgrades.md."""


@upgrade.command("propose")
@_bundle_argument
@at_option
@signed
def propose(
    bundle: Path,
    height: tuple[int, bool],
    signing: Signing,
    as_json: bool,
) -> None:
    """Propose that the bundle in DIR takes effect; it counts as your approval. An admin of a validator signs.

    Give it to the other members: who approves compares the bundle digest, which is printed first, and every node needs
    the bundle before the height.

    Example: watt admin upgrade propose night-rates --at +5000 --key admin.key
    """
    files = read_bundle(bundle)
    load(files)
    click.echo(f"bundle digest {files.digest.hex()}", err=as_json)

    async def args(_: Client) -> dict[str, Any]:
        return {"name": files.manifest.name, "digest": files.digest}

    ballots.propose("motions", height, args, signing, as_json, "propose_upgrade")


@upgrade.command("approve")
@click.argument("number", type=Count())
@click.option("--bundle", type=_PATH, required=True, help="The bundle that you have read: approve this, and no other.")
@signed
def approve(number: int, bundle: Path, signing: Signing, as_json: bool) -> None:
    """Approve motion NUMBER if it is about the bundle that you have.

    Example: watt admin upgrade approve 3 --bundle night-rates --key admin.key
    """
    digest = read_bundle(bundle).digest

    async def find(client: Client, number: int) -> dict[str, Any]:
        found = picked(await read_motions(client), number, "watt admin proposals")
        if found["kind"] != UPGRADE or found["subject"][1] != digest:
            raise RefusedError(
                "wrong-bundle", f"motion {number} is not about {bundle}: its bundle digest is {digest.hex()}"
            )
        return found

    def show(found: dict[str, Any]) -> None:
        click.echo("\n".join(plain(line) for line in (*lines_of(found, 0), *votes(found))), err=True)

    approve_one("motions", number, find, show, None, True, signing, as_json)


upgrade.add_command(
    withdraw_command(
        "motions",
        """Take back motion NUMBER, or your approval if it is another's.

        Example: watt admin upgrade withdraw 3 --key admin.key
        """,
    )
)


@upgrade.command("cancel")
@signed
def cancel(signing: Signing, as_json: bool) -> None:
    """Propose that the upgrade which is scheduled is not to be. It is decided up to the last block before.

    Example: watt admin upgrade cancel --key admin.key
    """
    first = 0

    async def args(client: Client) -> dict[str, Any]:
        nonlocal first
        found = [row for row in await read_scheduled(client) if row["kind"] == UPGRADE]
        if not found:
            raise RefusedError("no-upgrade", "no upgrade is scheduled")
        first = found[0]["first_height"] - 1 + NOTICE
        return {"digest": found[0]["subject"][1]}

    status = transact(*signing, "motions", "cancel_upgrade", args)
    ballots.proposed("motions", status, first, as_json)


@upgrade.command("list")
@node_option
@json_option
@refusals_to_exit_codes
def list_active(nodes: tuple[str, ...], as_json: bool) -> None:
    """List the upgrades in force, and the contracts that are theirs.

    Example: watt admin upgrade list
    """

    async def read(client: Client) -> list[dict[str, Any]]:
        return records(await client.query("motions", "upgrades"), ACTIVE)

    rows = ask(nodes, read)
    if as_json:
        return print_json(rows)
    cells = [(row["name"], row["first_height"], ", ".join(row["contracts"]), row["bundle_digest"]) for row in rows]
    print_table("Upgrades in force", ("Name", ">Since block", "Contracts", "Bundle digest"), cells)


@upgrade.command("try")
@_bundle_argument
@click.option("--config", "config_path", type=_PATH, help="The configuration of a stopped node.")
@click.option("--data", type=_PATH, help="A data directory, such as a backup's, with --genesis, instead of --config.")
@click.option("--genesis", "genesis_path", type=_PATH, help="The genesis document that --data belongs to.")
@click.option("--blocks", type=Count(1), default=BLOCKS, show_default=True, help="How many blocks to execute again.")
@json_option
@refusals_to_exit_codes
def try_(
    bundle: Path, config_path: Path | None, data: Path | None, genesis_path: Path | None, blocks: int, as_json: bool
) -> None:
    """Try the bundle in DIR on a copy of a stopped node's data, which stay as they are.

    Runs its migration on the newest state, then executes past blocks again as if it had been active, and tells which
    receipts come out otherwise. Exit status 1 if the migration fails.

    Example: watt admin upgrade try night-rates --config node.toml --blocks 5000
    """
    if config_path is not None and data is None and genesis_path is None:
        config = load_config(config_path)
        data, genesis_path = config.path(config.data_dir), config.path(config.genesis)
    if data is None or genesis_path is None or (config_path is not None and data is None):
        raise click.UsageError("give either --config, or --data and --genesis")
    genesis, files = load_genesis(genesis_path), read_bundle(bundle)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
    with tempfile.TemporaryDirectory(prefix="watt-upgrade-") as scratch, bar as progress:
        task = progress.add_task("blocks", total=None)
        found = try_upgrade(
            data,
            genesis,
            files,
            blocks,
            Path(scratch),
            lambda at, end: progress.update(task, completed=at, total=end),
        )
    outcomes = [found.migration.outcome, *([found.replay.outcome] if found.replay else [])]
    if as_json:
        print_json(_document(found))
    else:
        _show(found, files.manifest.name)
    if any(outcome not in ("ok", "") for outcome in outcomes):
        sys.exit(1)


@click.group("upgrade")
def node_upgrade() -> None:
    """The bundles of contracts that are installed beside a node."""


_config_option = click.option(
    "--config", "config_path", type=_PATH, help="The node's configuration; by default node.toml here."
)
_client_option = click.option(
    "--client", is_flag=True, help="Yours, which commands check proven answers by, instead of a node's."
)


@node_upgrade.command("install")
@_bundle_argument
@_config_option
@_client_option
@json_option
@refusals_to_exit_codes
def install(bundle: Path, config_path: Path | None, client: bool, as_json: bool) -> None:
    """Check the bundle in DIR and install it. A running node finds it by itself.

    Example: watt node upgrade install night-rates --config node.toml
    """
    made = Library(_place(config_path, client)).install(bundle)
    assert made.manifest is not None
    instead, new = replaced(made.manifest)
    if as_json:
        about = {"name": made.manifest.name, "summary": made.manifest.summary}
        return print_json({"bundle_digest": made.digest, **about, "replaces": instead, "adds": new})
    click.echo(f"{made.manifest.name} {made.manifest.version}: bundle digest {made.digest.hex()}")
    if made.manifest.summary:
        click.echo(plain(made.manifest.summary))
    click.echo(f"replaces: {', '.join(instead) or 'nothing'}; adds: {', '.join(new) or 'nothing'}")


@node_upgrade.command("list")
@_config_option
@_client_option
@json_option
@refusals_to_exit_codes
def list_installed(config_path: Path | None, client: bool, as_json: bool) -> None:
    """List the bundles that are installed.

    Example: watt node upgrade list --config node.toml
    """
    found = Library(_place(config_path, client)).listed()
    if as_json:
        return print_json([_installed(row) for row in found])
    cells = [
        (row["name"], row["version"], ", ".join(row["contracts"]), row["fault"] or "ready", row["bundle_digest"])
        for row in map(_installed, found)
    ]
    print_table("Installed upgrades", ("Name", "Version", "Contracts", "State", "Bundle digest"), cells)


def _installed(row: Installed) -> dict[str, Any]:
    manifest = row.manifest
    known = ("", "", ()) if manifest is None else (manifest.name, manifest.version, manifest.contracts)
    return {
        **dict(zip(("name", "version", "contracts"), known, strict=True)),
        "bundle_digest": row.digest,
        "fault": row.fault,
    }


def _place(config_path: Path | None, client: bool) -> Path:
    if client:
        return client_directory()
    config = load_config(config_path or Path(CONFIG_NAME))
    return config.path(config.data_dir) / UPGRADES_NAME


def _document(found: Trial) -> dict[str, Any]:
    replay = found.replay
    return {
        "bundle_digest": found.digest,
        "in_force_since": found.in_force or None,
        "migration": found.migration._asdict(),
        "replay": None
        if replay is None
        else {**replay._asdict(), "differences": [each._asdict() for each in replay.differences]},
        "why_not_replayed": found.why_not,
    }


def _show(found: Trial, name: str) -> None:
    migration, replay = found.migration, found.replay
    click.echo(f"{name}, bundle digest {found.digest.hex()}")
    if found.in_force:
        click.echo(
            f"this very bundle is in force since block {found.in_force}: its migration would be a second one, and "
            "blocks from there on are compared with what it has made of them already"
        )
    if migration.outcome == "ok":
        changed = sum(migration.written.values()) + sum(migration.deleted.values())
        click.echo(
            f"migration in block {migration.height}: ok, {migration.micros / 1000:.1f} ms, "
            f"{count(changed, 'entry') if changed == 1 else f'{changed} entries'} changed; "
            f"state root then {migration.root.hex()}"
        )
        tables = sorted(migration.written.keys() | migration.deleted.keys())
        cells = [(table, migration.written.get(table, 0), migration.deleted.get(table, 0)) for table in tables]
        if cells:
            print_table("Entries", ("Table", ">Written", ">Deleted"), cells)
    else:
        click.echo(f"migration in block {migration.height} FAILS with {migration.outcome}: nothing would change")
    if replay is None:
        return click.echo(f"no block was executed again: {found.why_not}")
    click.echo(
        f"blocks {replay.first} to {replay.last} executed again from the state of block {replay.base}: "
        f"migration {replay.outcome or 'not reached'}, {count(replay.transactions, 'transaction')}, "
        f"{count(replay.differing, 'receipt')} otherwise; state root {replay.root.hex()}"
    )
    if replay.differences:
        shown = replay.differences[:SHOWN]
        print_table(
            "Receipts that would have been others" + (f", the first {SHOWN}" if replay.differing > SHOWN else ""),
            (">Block", "Call", "Was", "Would be", "?Transaction"),
            [(each.height, each.call, each.was, each.would_be, each.tx_id) for each in shown],
        )
