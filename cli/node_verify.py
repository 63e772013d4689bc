"""`watt node verify`: a stopped node's chain checked from genesis, with how fast that went."""

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.advice import advised
from cli.evidence import verify_evidence
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from node.audit import AuditReport
from node.audit_ahead import MAX_JOBS
from node.config import load_config
from node.ledger.store import LevelStore
from node.model.genesis import load_genesis
from node.setup import DATABASE_NAME
from node.snapshot.audit import verify_data
from node.snapshot.shelf import SNAPSHOTS_NAME, Shelf
from node.upgrades.library import node_registry

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--config", "config_path", type=_PATH, help="The configuration of the node whose data is checked.")
@click.option("--data", type=_PATH, help="A data directory, with --genesis, instead of --config.")
@click.option("--genesis", "genesis_path", type=_PATH, help="The genesis document that --data belongs to.")
@click.option("--evidence", type=_PATH, help="Check this file instead: evidence of a lie, or a receipt.")
@click.option(
    "--jobs",
    type=click.IntRange(0, MAX_JOBS),
    help="Processes that check signatures ahead, and one more that keeps the tree; 0 for none but this one."
    "  [default: one less than there are cores]",
)
@json_option
@refusals_to_exit_codes
def verify(
    config_path: Path | None,
    data: Path | None,
    genesis_path: Path | None,
    evidence: Path | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Replay a stopped node's chain from genesis: every hash, signature, certificate, receipt and root.

    Data that began with a snapshot are replayed from the oldest one that the node has kept; `replayed_from` says where.
    So are those of which readings have been erased; what is left of such blocks is checked, and what is gone counted.

    With --evidence FILE: check by the genesis document alone who did what, or who received what; of a receipt, with
    --data or --config, also what became of the transaction. Exit 0 if the file proves it, 1 if it proves nothing.

    Example: watt node verify --config .testnet/nodes/node-0/node.toml
    """
    if config_path is not None and data is None and genesis_path is None:
        config = load_config(config_path)
        data, genesis_path = config.path(config.data_dir), config.path(config.genesis)
    elif config_path is not None or genesis_path is None:
        raise click.UsageError("give either --config, or --data and --genesis")
    genesis = load_genesis(genesis_path)
    if evidence is not None:
        return verify_evidence(evidence, genesis, data, as_json=as_json)
    if data is None:
        raise click.UsageError("--genesis alone goes with --evidence")
    store = LevelStore(data / DATABASE_NAME, create=False)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("blocks", total=None)
            report = advised(verify_data)(
                store,
                genesis,
                node_registry(data),
                Shelf(data / SNAPSHOTS_NAME),
                lambda at, head: progress.update(task, completed=at, total=head),
                jobs,
            )
    finally:
        store.close()
    if as_json:
        return print_json({**report._asdict(), "speed": speed_of(report)})
    unsaid = {"speed"} if report.erased_blocks else {"speed", "replayed_to", "erased_blocks", "erased"}
    rows = [(name, value) for name, value in report._asdict().items() if name not in unsaid]
    print_table(f"{data} holds", ["what", "value"], [*rows, *speed_of(report).items()])
    if not report.erased_blocks and report.replayed_from <= report.height:
        click.echo(
            f"Blocks {report.replayed_from} to {report.height} have been executed again: every hash, signature, "
            "certificate, receipt and root is right."
        )
    if report.erased_blocks:
        click.echo(
            f"Of {report.erased_blocks} blocks readings have been erased: their digests, links and certificates hold; "
            "what was in them cannot be checked any more."
        )


def speed_of(report: AuditReport) -> dict[str, float]:
    """How fast it went, for people and programs: per second of all that it took, and as fast as it could have been if
    there were nothing to do but signatures."""
    speed = report.speed
    blocks, seconds, bound_s = report.height - report.base, max(speed.seconds, 1e-6), max(speed.bound_s, 1e-6)
    return {
        "seconds": round(speed.seconds, 2),
        "blocks_per_s": round(blocks / seconds),
        "transactions_per_s": round(report.transactions / seconds),
        "signatures": speed.signatures,
        "jobs": speed.jobs,
        "bound_s": round(speed.bound_s, 2),
        "bound_transactions_per_s": round(report.transactions / bound_s),
        "replay_percent": round(100 * speed.replay_s / seconds),
        "own_s": round(speed.own_s, 2),
    }
