"""`watt market verify` and `watt market export`: check past auctions, or take them along to be checked elsewhere."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import click
from rich.console import Console

from chaincode import market_certificate
from chaincode.contract import Value
from chaincode.pruned import Part
from cli.answers import Reader, as_rows
from cli.output import count, json_option, plain, print_json, refusals_to_exit_codes
from cli.session import ask, node_option, proven_at
from cli.slots import SAID, SLOT, Slot
from cli.sources import Recorder, config_option, stopped_node
from cli.units import clock, kwh
from cli.verify import PRUNED, Checked, Fault, Outcome, verify_products
from cli.wallet_home import Trust, genesis_for, proof_options
from node.errors import RefusedError
from node.export import About, Import
from node.gateway.client import Client
from node.gateway.proven import ProvenReader
from node.model.genesis import Genesis
from node.secrecy import close_files
from node.upgrades.library import client_registry

_BAD_CLEARING = "bad-clearing"
_PATH = click.Path(path_type=Path)

_product_option = click.option("--product", type=SLOT, help=f"The product to check, by its slot: {SAID}.")
_all_option = click.option("--all", "is_all", is_flag=True, help="All products that the ledger has.")


class Found(NamedTuple):
    """What a verification came to. ``details``: per product, what its auctions' digests are; ``known``: of so many
    products the chain has deleted the details since, and has these digests."""

    checked: Checked
    faults: tuple[Fault, ...]
    details: tuple[tuple[int, tuple[Part, ...]], ...]
    known: int | None = None


@click.command()
@click.argument("slot", required=False, type=SLOT)
@_product_option
@_all_option
@click.option("--file", "export_file", type=_PATH, help="A file of `watt market export`; needs --genesis.")
@click.option("--compare", is_flag=True, help="With --file: ask --node for the digests of what was deleted since.")
@node_option
@proof_options
@config_option
@json_option
@refusals_to_exit_codes
def verify(
    slot: Slot | None,
    product: Slot | None,
    is_all: bool,
    export_file: Path | None,
    compare: bool,
    nodes: tuple[str, ...],
    trust: Trust,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Check past auctions, of one product (SLOT, or --product) or of all: that each is what the rules demand of its
    orders, within the lines' limits, and that energy and money add up.

    With --genesis FILE or a wallet's home no node need be trusted: whatever is read comes with a proof under a block
    that the members certified, who are proven from the genesis on; without, the auctions are checked as the node shows
    them. With --config FILE the same is read from the data directory of a stopped node, and with --file FILE from an
    exported file: no node is asked, unless with --compare, which proves a file by the digests that a chain keeps of
    what it has deleted.

    Example: watt market verify --product 2017-06-16T12:30

    Example: watt market verify --all --genesis .testnet/genesis.json

    Example: watt market verify --config .demo/nodes/node-0/node.toml

    Example: watt market verify --file june.export --genesis genesis.json
    """
    named = _one_product(slot, product, is_all)
    if config_file is not None and (trust.is_told or export_file is not None):
        raise click.UsageError("--config names its own genesis and data: say no --genesis, --wallet or --file with it")
    if export_file is not None and trust.trusts_node:
        raise click.UsageError("--file needs --genesis, or a wallet's home: nothing else in the file is believed")
    if compare and export_file is None:
        raise click.UsageError("--compare needs --file")
    if config_file is not None:
        with stopped_node(config_file) as (source, _):
            found, shown = asyncio.run(_verify(source.read, named)), source.shown()
    elif export_file is not None:
        found, shown = _verify_file(export_file, cast("Genesis", trust.genesis()), named)
        if compare:
            found = ask(nodes, lambda client: compared(_proven(client, trust), found))
    elif not trust.trusts_node:
        found, shown = _verify_proven(nodes, trust, named)
    else:
        found = ask(nodes, lambda client: _verify(client.query, named))
        shown = "as the node shows them; with --genesis FILE or a wallet's home no node need be trusted"
    _tell(found, shown, as_json)
    if found.faults:
        raise RefusedError(_BAD_CLEARING, f"not what the rules demand: {count(len(found.faults), 'fault')}")


@click.command()
@_product_option
@_all_option
@click.option("--out", "out_file", type=_PATH, required=True, help="The file to write; it must not exist.")
@node_option
@proof_options
@config_option
@json_option
@refusals_to_exit_codes
def export(
    product: Slot | None,
    is_all: bool,
    out_file: Path,
    nodes: tuple[str, ...],
    trust: Trust,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Write a product's auctions, or those of all, to a file that proves itself to whoever has the genesis document.

    What is written is checked as by `watt market verify`, and can be checked again with its --file when the chain has
    deleted these details, or without any node. It is read from a node with proofs (by --genesis, or a wallet's home),
    or from the data of a stopped one (--config).

    Example: watt market export --all --out june.export --genesis genesis.json

    Example: watt market export --product 2017-06-16T12:30 --out noon.export --config .demo/nodes/node-0/node.toml
    """
    named = _one_product(None, product, is_all)
    if named is None and not is_all:
        raise click.UsageError("say --product S, or --all")
    genesis_for(trust, config_file)
    if out_file.exists():
        raise RefusedError("file-exists", f"{out_file} is there already")
    close_files()
    draft = out_file.with_name(out_file.name + ".part")
    try:
        with draft.open("wb") as file:
            found, size = _export(file, named, nodes, trust, config_file)
        draft.rename(out_file)
    except OSError as error:
        raise RefusedError("not-written", f"{out_file}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    _tell(found, f"and written to {out_file}, {size:,} bytes", as_json, {"bytes": size})
    if found.faults:
        raise RefusedError(_BAD_CLEARING, f"not what the rules demand: {count(len(found.faults), 'fault')}")


def _export(
    file: BinaryIO, named: Slot | None, nodes: tuple[str, ...], trust: Trust, config_file: Path | None
) -> tuple[Found, int]:
    recorder = Recorder(file)
    if config_file is not None:
        with stopped_node(config_file, recorder.keep) as (source, genesis):
            found = asyncio.run(_record(recorder, source.read, genesis, named))
        return found, recorder.end()

    async def use(client: Client) -> Found:
        read, genesis = cast("tuple[ProvenReader, Genesis]", trust.reader(client, recorder.keep))
        return await _record(recorder, read, genesis, named)

    return ask(nodes, use), recorder.end()


async def _record(recorder: Recorder, read: Reader, genesis: Genesis, named: Slot | None) -> Found:
    slot = None if named is None else await named.by(read)
    recorder.begin(About(genesis.chain, slot is None, slot or 0))
    return await _collect(read, slot)


def _proven(client: Client, trust: Trust) -> ProvenReader:
    return cast("tuple[ProvenReader, Genesis]", trust.reader(client))[0]


def _verify_proven(nodes: tuple[str, ...], trust: Trust, named: Slot | None) -> tuple[Found, str]:
    async def use(client: Client) -> tuple[Found, str]:
        read = _proven(client, trust)
        found = await _verify(read, named)
        return found, f"with proofs under certificates of the members, proven from the genesis on, {proven_at(read)}"

    return ask(nodes, use)


def _verify_file(path: Path, genesis: Genesis, named: Slot | None) -> tuple[Found, str]:
    async def use(file: BinaryIO) -> tuple[Found, str]:
        read = Import(file, genesis, client_registry())
        slot = None if read.about.is_all else read.about.slot
        if named is not None:
            slot = named.at(cast("int", genesis.contracts.get("market", {}).get("slot_seconds", 1_800)))
        found = await _collect(read, slot)
        read.finish()
        oldest = "no block" if read.oldest is None else f"block {read.oldest.height} of {clock(read.oldest.time)}"
        return found, f"from {path}, with proofs under certificates proven from the genesis on, at {oldest} or later"

    try:
        with path.open("rb") as file:
            return asyncio.run(use(file))
    except OSError as error:
        raise RefusedError("no-export", f"{path}: {error.strerror}") from error


async def compared(read: Reader, found: Found) -> Found:
    """Hold a file's digests against those that the chain has now of what it has deleted."""
    faults, known = list(found.faults), 0
    for slot, details in found.details:
        kept = await _pruned(read, slot)
        if kept.keys() <= {part.name for part in details}:  # auctions go first: these are not, or not all, gone yet
            continue
        known += 1
        in_file = {part.name: tuple(part) for part in details}
        for name in market_certificate.TABLES:  # also those that the file has nothing of: it may be of an older block
            if in_file.get(name) != kept.get(name):
                text = f"the file's table {name} is not the one that the chain has deleted"
                faults.append(Fault(slot, -1, "wrong-digest", text))
    return found._replace(faults=tuple(faults), known=known)


async def _pruned(read: Reader, slot: int) -> dict[Value, tuple[Value, ...]]:
    """What is left of the slot's deleted tables, by name; nothing of a slot that this node does not know yet."""
    try:
        answer = await read("market", PRUNED, {"slot": slot})
    except RefusedError as error:
        if error.code != "no-product":
            raise
        return {}
    return {row[0]: row for row in [as_rows(row) for row in as_rows(answer or ())]}


async def _verify(read: Reader, named: Slot | None) -> Found:
    slot = None if named is None else await named.by(read)
    return await _collect(read, slot)


async def _collect(read: Reader, slot: int | None) -> Found:
    checked = Checked()
    faults: list[Fault] = []
    details: list[tuple[int, tuple[Part, ...]]] = []
    with _progress() as tell:
        async for outcome in verify_products(read, slot):
            tell(outcome)
            checked = checked.plus(outcome.checked)
            faults += outcome.faults
            if not outcome.checked.pruned:
                details.append((outcome.slot, outcome.details))
    return Found(checked, tuple(faults), tuple(details))


@contextmanager
def _progress() -> Iterator[Callable[[Outcome], None]]:
    console = Console(stderr=True)
    if not sys.stderr.isatty():
        yield lambda outcome: None
        return
    with console.status("Checking auctions") as status:
        yield lambda outcome: status.update(f"Checked slot {outcome.slot}: {outcome.checked.auctions} auctions")


def _one_product(slot: Slot | None, product: Slot | None, is_all: bool) -> Slot | None:
    if sum([slot is not None, product is not None, is_all]) > 1:
        raise click.UsageError("say one product, or --all")
    return product if slot is None else slot


def _tell(found: Found, shown: str, as_json: bool, more: Mapping[str, int] | None = None) -> None:
    checked, faults = found.checked, found.faults
    if as_json:
        known = {} if found.known is None else {"compared": found.known}
        rows = [fault._asdict() for fault in faults]
        return print_json({**checked._asdict(), **known, **(more or {}), "read": shown, "faults": rows})
    for fault in faults:
        place = f"slot {fault.slot}" if fault.auction < 0 else f"slot {fault.slot}, auction {fault.auction}"
        click.echo(f"{place}: {fault.code}: {plain(fault.message)}")
    verdict = "all as the rules demand" if not faults else count(len(faults), "fault")
    click.echo(f"{what_was_checked(checked)}: {verdict}")
    if found.known is not None:
        click.echo(f"of {count(found.known, 'product')} in it the chain has deleted the details, with these digests")
    return click.echo(f"read {shown}" if not more else shown)


def what_was_checked(checked: Checked) -> str:
    """The products with their auctions, and those of which there are none left to check."""
    with_details, parts = checked.products - checked.pruned, []
    if with_details or not checked.pruned:
        parts.append(
            f"{count(with_details, 'product')}: {count(checked.auctions, 'auction')} with "
            f"{count(checked.orders, 'order')} and {count(checked.trades, 'trade')}, {kwh(checked.energy_wh)} kWh"
        )
    if checked.pruned:
        parts.append(
            f"{count(checked.pruned, 'product')} whose details have been deleted (only an export proves them), so that "
            "no auction was checked, only that sums of money agree and nothing is left in escrow"
        )
    return "; ".join(parts)
