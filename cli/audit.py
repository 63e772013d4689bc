"""`watt audit`: a period of a ledger for those who have no node, as tables that prove themselves, or on one page."""

import asyncio
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

import click

from chaincode.registry import default_registry
from cli.audit_blocks import Blocks, read_blocks, write_blocks
from cli.audit_files import (
    ANSWERS,
    BLOCKS,
    CSV,
    PARQUET,
    columns_of,
    digest_of,
    is_same,
    manifest_of,
    read_manifest,
    write_manifest,
    write_table,
)
from cli.audit_reading import Made, Seen, read_tables, times_of, waiting
from cli.audit_report import Report, report_of, text_of
from cli.audit_tables import Tables, collect
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import node_option
from cli.sources import Recorder, config_option
from cli.units import clock
from cli.wallet_home import Trust, own_genesis, proof_options
from node.config import load_config
from node.errors import RefusedError
from node.export import Import
from node.ledger.chain import Ledger
from node.ledger.store import LevelStore
from node.model.block import Header
from node.model.genesis import Genesis
from node.secrecy import close_files
from node.setup import DATABASE_NAME
from node.upgrades.library import client_registry

_PATH = click.Path(path_type=Path)


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """What is read and from whom: --network, --node, the key to read with, what to believe in, or --config."""
    networks = click.option("--network", "networks", multiple=True, help="Only this network; may be repeated.")
    return networks(node_option(proof_options(config_option(command))))


@click.group()
def audit() -> None:
    """A period of the ledger for an auditor: tables with proofs, their check, one page of figures.

    Example: watt audit report 2017-06 --genesis genesis.json --key auditor.key
    """


@audit.command()
@click.argument("period")
@click.option("--out", "directory", type=_PATH, required=True, help="The directory to make; it must not exist.")
@click.option(
    "--format", "kind", type=click.Choice([PARQUET, CSV]), default=PARQUET, show_default=True, help="Of the tables."
)
@reading_options
@json_option
@refusals_to_exit_codes
def export(
    period: str,
    directory: Path,
    kind: str,
    networks: tuple[str, ...],
    nodes: tuple[str, ...],
    trust: Trust,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Write what the ledger knows of PERIOD to tables, with proofs of every row, and that none is missing.

    PERIOD is a month (2017-06), a day (2017-06-16), FROM..TO in UTC times or slots (TO is not in it), or "all". What
    the key (--key) may not see is left out, and named. Transfers of money come from the data of a stopped node
    (--config) alone: they are in the blocks and not in the state.

    Example: watt audit export 2017-06 --out june --genesis genesis.json --node 10.0.0.5:7401 --key auditor.key

    Example: watt audit export all --out all --format csv --config .demo/nodes/node-0/node.toml
    """
    if directory.exists():
        raise RefusedError("file-exists", f"{directory} is there already")
    close_files()
    draft = directory.with_name(directory.name + ".part")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        with (draft / ANSWERS).open("wb") as file:
            recorder = Recorder(file)
            made = read_tables(period, networks, True, nodes, trust, config_file, recorder)
            recorder.end()
        rows = dict(made.tables.rows)
        blocks = None
        if config_file is not None:
            blocks = _blocks(draft / BLOCKS, config_file, made)
            rows["transfers"] = blocks.rows
        for name, table in rows.items():
            write_table(draft / f"{name}.{kind}", columns_of(name), table)
        proven = {
            "oldest_block": made.oldest.height,
            "newest_block": made.newest.height,
            "answers": {"file": ANSWERS, "sha256": digest_of(draft / ANSWERS)},
            "blocks": None if blocks is None else {"file": BLOCKS, "sha256": digest_of(draft / BLOCKS)},
        }
        counts = {name: len(table) for name, table in rows.items()}
        chain = made.genesis.chain
        manifest = manifest_of(chain, made.tables.scope, made.tables.slot_seconds, kind, counts, proven)
        write_manifest(draft, manifest)
        draft.rename(directory)
    except OSError as error:
        raise RefusedError("not-written", f"{directory}: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _tell(made.tables, made, counts, blocks, f"Written to {directory}", as_json)


@audit.command()
@click.argument("directory", type=_PATH)
@own_genesis
@json_option
@refusals_to_exit_codes
def check(directory: Path, genesis: Genesis, as_json: bool) -> None:
    """Check an export without any node: every row is made again from answers that are proven from the genesis on.

    Nothing else in DIRECTORY is believed. Exit 0 if all tables are what the proofs say, 1 if not. What is not proven is
    said as well.

    Example: watt audit check june --genesis genesis.json
    """
    scope, kind, chain, names = read_manifest(directory)
    if chain != genesis.chain:
        raise RefusedError("wrong-chain", "the export is of another chain than the genesis document")
    try:
        with (directory / ANSWERS).open("rb") as file, waiting() as tell:
            source = Import(file, genesis, client_registry())
            reader = Seen(source)
            tables = asyncio.run(collect(reader, scope, tell, again=True))
            source.finish()
        blocks = None
        rows = dict(tables.rows)
        if "transfers" in names:
            begin, end = times_of(tables)
            blocks = read_blocks(directory / BLOCKS, genesis, source.epochs, begin, end)
            rows["transfers"] = blocks.rows
    except OSError as error:
        raise RefusedError("bad-audit", f"{directory}: {error.strerror}") from error
    if set(names) != rows.keys():
        raise RefusedError("bad-audit", f"the export has not the tables that it should have: {', '.join(sorted(rows))}")
    wrong = [name for name in names if not is_same(directory / f"{name}.{kind}", columns_of(name), rows[name])]
    if wrong:
        raise RefusedError("wrong-table", f"not what the proofs say: {', '.join(wrong)}")
    counts = {name: len(rows[name]) for name in names}
    made = Made(tables, cast("Header", reader.oldest), cast("Header", reader.newest), genesis)
    _tell(tables, made, counts, blocks, f"{directory} holds", as_json)


@audit.command()
@click.argument("period")
@click.option("--pdf", "pdf_file", type=_PATH, help="Write the page as PDF, too; needs the extra `pdf`.")
@reading_options
@json_option
@refusals_to_exit_codes
def report(
    period: str,
    pdf_file: Path | None,
    networks: tuple[str, ...],
    nodes: tuple[str, ...],
    trust: Trust,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Show a period on one page: energy, money, what the utility issued, imbalance, alerts, members, rules.

    Every figure is worked out here from answers that are proven; what the key may not see is named, and its figures are
    left out. PERIOD is as in `watt audit export`.

    Example: watt audit report 2017-06 --genesis genesis.json --key auditor.key --pdf june.pdf
    """
    if pdf_file is not None and pdf_file.exists():
        raise RefusedError("file-exists", f"{pdf_file} is there already")
    close_files()
    made = read_tables(period, networks, False, nodes, trust, config_file, None)
    page = report_of(made.tables, made.genesis, made.oldest, made.newest)
    if pdf_file is not None:
        _write_pdf(pdf_file, page)
    if as_json:
        return print_json(page._asdict())
    click.echo(text_of(page))


def _blocks(path: Path, config_file: Path, made: Made) -> Blocks:
    """Write the blocks of the period, and read them as whoever checks the export will."""
    config = load_config(config_file)
    begin, end = times_of(made.tables)
    store = LevelStore(config.path(config.data_dir) / DATABASE_NAME, create=False)
    try:
        ledger = Ledger.open(store, made.genesis, default_registry())
        with path.open("wb") as file:
            write_blocks(file, store, ledger, begin, end)
        return read_blocks(path, made.genesis, ledger.epochs(), begin, end)
    finally:
        store.close()


def unproven(tables: Tables, blocks: Blocks | None) -> list[str]:
    """What the proofs do not show, in words."""
    said = ["that a node has shown its newest block: the answers are true of the blocks named here"]
    if blocks is None:
        said.append("transfers of money: they are in the blocks, which only the data of a stopped node have (--config)")
    elif not blocks.begins or not blocks.ends:
        said.append(f"transfers before block {blocks.first} or behind block {blocks.last}: the period is not over yet")
    if blocks is not None and blocks.erased:
        said.append(f"what {blocks.erased} receipts and events said that have been erased; none of them moved money")
    if tables.scope.left_out:
        parts = ", ".join(f"{part} {name}".strip() for part, name in tables.scope.left_out[:20])
        said.append(f"what the reader was not allowed to see: {parts}")
    if tables.scope.networks is not None:
        said.append("other networks than those that were asked for")
    if tables.rows["deleted"]:
        said.append("the content of what the ledger has deleted: the table `deleted` has its digests")
    return said


def _tell(tables: Tables, made: Made, counts: dict[str, int], blocks: Blocks | None, title: str, as_json: bool) -> None:
    begin, end = times_of(tables)
    heights = {"oldest_block": made.oldest.height, "newest_block": made.newest.height}
    if as_json:
        words = {"not_proven": unproven(tables, blocks), "left_out": tables.scope.left_out}
        return print_json({"from": begin, "to": end, **heights, "tables": counts, **words})
    print_table(title, ["table", ">rows"], list(counts.items()))
    click.echo(
        f"{clock(begin)} to {clock(end)} UTC. Proven from the genesis on, by certificates of blocks "
        f"{made.oldest.height} to {made.newest.height}: every row, and that none is missing."
    )
    for line in unproven(tables, blocks):
        click.echo(f"Not proven: {line}.")


def _write_pdf(path: Path, page: Report) -> None:
    try:
        made: bytes = import_module("cli.audit_pdf").pdf_of(page)
    except ImportError as error:
        raise RefusedError("no-pdf-library", "install fpdf2, or wattledger with its extra: wattledger[pdf]") from error
    try:
        path.write_bytes(made)
    except OSError as error:
        raise RefusedError("not-written", f"{path}: {error.strerror}") from error
