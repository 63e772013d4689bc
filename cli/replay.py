"""`watt market replay`: past blocks executed again under other rules, and the difference in money by party.

How it is done, and what it can say, stands at the head of ``node/whatif.py``.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import click
from rich.console import Console
from rich.progress import track

from chaincode.grid import LineSettings
from chaincode.settlement_ledger import Settled
from cli.grid_file import read_grid
from cli.output import count, json_option, plain, print_json, print_table, refusals_to_exit_codes, tokens
from cli.rule_values import FIELDS, Change, change, number, read_csv, read_tariffs, shown, whole
from cli.session import ask, node_option
from cli.sources import config_option
from cli.units import Count, base_units_per_wh, kwh
from cli.wallet_home import Trust, genesis_for, proof_options
from node.config import load_config
from node.errors import RefusedError
from node.gateway.client import Client
from node.ledger.chain import Ledger
from node.ledger.store import LevelStore
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.genesis import Genesis, load_genesis
from node.setup import DATABASE_NAME
from node.tally import Comparison
from node.upgrades.library import client_registry, node_registry
from node.whatif import Change as RulesChange
from node.whatif import GridLines, Outcome, WhatIf

FILES: Final = ("tariffs", "tolls", "limits", "grid")
"""Settings whose value is a file."""
SHOWN_NETWORKS: Final = 20
_MONEY: Final = {"bought": 1, "sold": -1, "tolls": 1, "retail": 1, "feed_in": -1}
"""The parts of what energy cost: their names, and 1 for what is paid, -1 for what is earned."""


class Setting(NamedTuple):
    """``--set NAME=VALUE``: of the rules a ``Change``, of the grid or the tariffs the path of a file."""

    name: str
    value: Change | Path


class SettingType(click.ParamType[Setting]):
    """``gate=15min``, ``tolls=FILE``."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Setting:
        if isinstance(value, Setting):
            return value
        name, _, text = str(value).partition("=")
        if name in FILES and text:
            return Setting(name, Path(text))
        try:
            return Setting(name, change(name, text))
        except ValueError as error:
            hint = f"; files are {', '.join(FILES)}" if name not in FIELDS else ""
            self.fail(f"{str(value)[:60]!r}: {error}{hint}", param, ctx)


@click.command()
@click.option("--from", "first", type=Count(1), required=True, help="The first block under changed rules.")
@click.option("--to", "last", type=Count(1), help="The last block; by default the newest.")
@click.option(
    "--set",
    "settings",
    type=SettingType(),
    multiple=True,
    help="What is changed; may be repeated. Settings as in `watt admin rules show`, or files: "
    "tariffs (from, retail, feed_in), tolls (from, to, toll), limits (from, to, limit_down_w, limit_up_w), grid.",
)
@node_option
@proof_options
@config_option
@json_option
@refusals_to_exit_codes
def replay(
    first: int,
    last: int | None,
    settings: tuple[Setting, ...],
    nodes: tuple[str, ...],
    trust: Trust,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Execute past blocks again under changed rules, and show the difference in money by party.

    All blocks up to the last are replayed from genesis on and must give what their certificates prove; from the first
    on they are executed on a second state, too, where the rules are changed. Products that are open then keep their
    terms; with --from 1 everything is under the changed rules. Blocks come from the data of a stopped node (--config),
    or from a running one (by --genesis, or a wallet's home). In the files prices are in tokens per kWh; lines that are
    not named stay as they are. Without --set it shows that nothing differs.

    Example: watt market replay --from 1 --set gate=15min --config .demo/nodes/node-0/node.toml

    Example: watt market replay --from 2000 --to 9000 --set tolls=tolls.csv --genesis .testnet/genesis.json
    """
    own = genesis_for(trust, config_file)
    if config_file is not None:
        genesis, outcome = _from_data(config_file, first, last, settings)
    else:
        genesis, outcome = _from_node(nodes, cast("Genesis", own), first, last, settings)
    if as_json:
        return print_json(_document(outcome))
    _show(outcome, settings, genesis.token.decimals)


def _from_data(
    config_file: Path, first: int, last: int | None, settings: tuple[Setting, ...]
) -> tuple[Genesis, Outcome]:
    config = load_config(config_file)
    genesis = load_genesis(config.path(config.genesis))
    change_ = _change(settings, genesis.token.decimals)
    data = config.path(config.data_dir)
    registry = node_registry(data)
    store = LevelStore(data / DATABASE_NAME, create=False)
    try:
        ledger = Ledger.open(store, genesis, registry)
        if ledger.base:
            raise RefusedError(
                "no-history", f"the data begin with a snapshot of block {ledger.base}: a replay begins with block 1"
            )
        end = _end(first, last, ledger.head.height)
        with tempfile.TemporaryDirectory(prefix="watt-replay-") as scratch:
            run = WhatIf(genesis, registry, first, end, change_, Path(scratch))
            try:
                for height in _progress(end):
                    block, certificate = ledger.block(height), ledger.certificate(height)
                    if block is None or certificate is None:
                        raise RefusedError("bad-chain", f"height {height}: it is missing")
                    run.feed(encode_header(block.header), block.body, encode_certificate(certificate))
                return genesis, run.outcome()
            finally:
                run.close()
    finally:
        store.close()


def _from_node(
    nodes: tuple[str, ...], genesis: Genesis, first: int, last: int | None, settings: tuple[Setting, ...]
) -> tuple[Genesis, Outcome]:
    change_ = _change(settings, genesis.token.decimals)

    async def use(client: Client) -> Outcome:
        info = await client.node_info()
        if info.chain != genesis.chain:
            raise RefusedError("wrong-chain", "the node is of another chain than the genesis document")
        end = _end(first, last, info.height)
        with tempfile.TemporaryDirectory(prefix="watt-replay-") as scratch:
            run = WhatIf(genesis, client_registry(), first, end, change_, Path(scratch))
            try:
                for height in _progress(end):
                    block = await client.block(height)
                    run.feed(block.header, block.body, block.certificate)
                return run.outcome()
            finally:
                run.close()

    return genesis, ask(nodes, use)


def _end(first: int, last: int | None, head: int) -> int:
    end = head if last is None else last
    if end > head or first > end:
        raise RefusedError("bad-range", f"from {first} to {end}: the newest block is {head}")
    return end


def _progress(end: int) -> Any:
    console = Console(stderr=True)
    heights = range(1, end + 1)
    return track(heights, "Executing blocks", console=console, disable=not sys.stderr.isatty(), transient=True)


def _change(settings: tuple[Setting, ...], decimals: int) -> RulesChange:
    """What is to be changed. Raises RefusedError for files that are not what they should be."""
    files: dict[str, Path] = {}
    for each in settings:
        if isinstance(each.value, Path) and files.setdefault(each.name, each.value) is not each.value:
            raise RefusedError("bad-settings", f"{each.name} is named twice")
    changes = [each.value for each in settings if isinstance(each.value, Change)]
    tariffs = read_tariffs(files["tariffs"], decimals) if "tariffs" in files else ()
    regrids: list[Callable[[GridLines], GridLines]] = []
    if "grid" in files:
        version = read_grid(files["grid"], decimals)
        regrids.append(lambda _: (version.root, version.rate, version.lines))
    if "tolls" in files:
        regrids.append(_lines_of(files["tolls"], ("from", "to", "toll"), lambda row: _tolled(row, decimals)))
    if "limits" in files:
        regrids.append(_lines_of(files["limits"], ("from", "to", "limit_down_w", "limit_up_w"), _limited))

    def regrid(lines: GridLines) -> GridLines:
        for each in regrids:
            lines = each(lines)
        return lines

    return RulesChange(tuple((each.field, each.value) for each in changes), tariffs, regrid if regrids else None)


def _lines_of(
    path: Path, columns: tuple[str, ...], read: Callable[[dict[str, str]], Callable[[LineSettings], LineSettings]]
) -> Callable[[GridLines], GridLines]:
    """What a file of lines makes of a grid: lines that it names are changed as ``read`` says of their row."""
    changed: dict[tuple[str, str], Callable[[LineSettings], LineSettings]] = {}
    for line, cells in read_csv(path, columns, "bad-lines"):
        ends = cells["from"], cells["to"]
        if ends in changed:
            raise RefusedError("bad-lines", f"{path}, line {line}: {plain(' -> '.join(ends))[:120]} stands twice")
        try:
            changed[ends] = read(dict(cells))
        except (ValueError, click.BadParameter) as error:
            raise RefusedError("bad-lines", f"{path}, line {line}: {error}") from error

    def regrid(grid: GridLines) -> GridLines:
        root, rate, lines = grid
        unknown = changed.keys() - {(line[0], line[1]) for line in lines}
        if unknown:
            parent, child = min(unknown)
            raise RefusedError("bad-lines", f"{path}: the grid has no line from {parent[:60]} to {child[:60]}")
        return root, rate, tuple([changed.get((line[0], line[1]), _same)(line) for line in lines])

    return regrid


def _same(line: LineSettings) -> LineSettings:
    return line


def _tolled(row: dict[str, str], decimals: int) -> Callable[[LineSettings], LineSettings]:
    """A toll is the rate times the metres, and a step: all of it as a step, of a line without metres."""
    toll = base_units_per_wh(number(row["toll"]), decimals)
    return lambda line: (line[0], line[1], 0, toll, line[4], line[5])


def _limited(row: dict[str, str]) -> Callable[[LineSettings], LineSettings]:
    down, up = (whole(row[name]) if row[name] else None for name in ("limit_down_w", "limit_up_w"))
    return lambda line: (*line[:4], down, up)


def _sums(sums: Settled) -> dict[str, int]:
    return {"cost": sums.cost(), **sums._asdict()}


def parties(found: Comparison) -> dict[str, tuple[int, int]]:
    """What others than networks received, in both runs."""
    pairs = list(zip(*found.networks.values(), strict=True)) or [(), ()]
    utility = [sum(sums.retail - sums.feed_in for sums in run) for run in pairs]
    was, would = found.traded
    return {
        "utility": (utility[0], utility[1]),
        "grid operator": (was.tolls, would.tolls),
        "congestion": (was.rent, would.rent),
    }


def _document(outcome: Outcome) -> dict[str, Any]:
    """Everything, in base units and Wh."""
    found = outcome.comparison

    def pair(was: Any, would: Any) -> dict[str, Any]:
        return {"was": was, "would_be": would}

    return {
        "from": outcome.first,
        "to": outcome.last,
        "blocks": outcome.blocks,
        "products_that_kept_their_terms": outcome.kept,
        "products_under_changed_rules": outcome.opened,
        "slots_compared": found.slots,
        "slots_settled_in_one_alone": pair(*found.only),
        "traded": pair(*(run._asdict() for run in found.traded)),
        "networks": {name: pair(_sums(was), _sums(would)) for name, (was, would) in found.networks.items()},
        "received": {name: pair(*both) for name, both in parties(found).items()},
        "rent_returned": {name: pair(*both) for name, both in found.rent.items()},
        "transactions": found.transactions,
        "refusals": pair(*found.refusals),
        "refused": [{"call": call, "code": code, **pair(*both)} for (call, code), both in found.refused.items()],
    }


def _show(outcome: Outcome, settings: tuple[Setting, ...], decimals: int) -> None:
    found = outcome.comparison
    named = [f"{each.name} = {_value(each)}" for each in settings] or ["nothing changed"]
    click.echo(f"blocks {outcome.first} to {outcome.last}, with {plain(', '.join(named))}")
    if outcome.first == 1:
        click.echo(f"{count(outcome.opened, 'product')} opened, all under the changed rules")
    else:
        click.echo(
            f"{count(outcome.kept, 'product')} open at block {outcome.first} kept their terms, "
            f"{outcome.opened} opened under the changed rules: with --from 1 all would"
        )
    only = f"; settled in one of both alone: {found.only[0]} and {found.only[1]}" if any(found.only) else ""
    click.echo(f"compared: {count(found.slots, 'slot')} settled in both{only}")
    _show_networks(found, decimals)
    print_table(
        "Received by others, tokens",
        ("Party", ">Was", ">Would be", ">Difference"),
        ((name, *(tokens(figure, decimals) for figure in (*both, both[1] - both[0])))
         for name, both in parties(found).items()),
    )  # fmt: skip
    returned = sorted(found.rent.items(), key=lambda row: -abs(row[1][1] - row[1][0]))
    if returned:
        print_table(
            "Congestion rent that came back, tokens; not in what energy cost",
            ("Network", ">Was", ">Would be", ">Difference"),
            ((name, *(tokens(figure, decimals) for figure in (*both, both[1] - both[0])))
             for name, both in returned[:SHOWN_NETWORKS]),
        )  # fmt: skip
    was, would = found.traded
    print_table(
        "Trade",
        ("", ">Was", ">Would be"),
        (
            ("kWh traded", kwh(was.energy_wh), kwh(would.energy_wh)),
            ("trades", was.trades, would.trades),
            ("refusals", *found.refusals),
        ),
    )
    differing = [(*key, *both) for key, both in found.refused.items() if both[0] != both[1]]
    if differing:
        print_table("Refusals that differ", ("Call", "Code", ">Was", ">Would be"), differing)


def _value(setting: Setting) -> str:
    value = setting.value
    return str(value) if isinstance(value, Path) else shown(value.field, value.value)


def _show_networks(found: Comparison, decimals: int) -> None:
    """What energy cost each network, those with the greatest difference first."""
    order = sorted(found.networks, key=lambda name: -abs(_difference(found, name, "cost")))
    columns = ("Network", ">Was", ">Would be", ">Difference", *(f"?>{name}" for name in _MONEY))
    rows = []
    for name in order[:SHOWN_NETWORKS]:
        was, would = (sums.cost() for sums in found.networks[name])
        differences = [sign * _difference(found, name, field) for field, sign in _MONEY.items()]
        rows.append((name, *(tokens(figure, decimals) for figure in (was, would, would - was, *differences))))
    if len(order) > SHOWN_NETWORKS:
        rest = [[sums.cost() for sums in found.networks[name]] for name in order[SHOWN_NETWORKS:]]
        was, would = (sum(figures) for figures in zip(*rest, strict=True))
        more = (tokens(figure, decimals) for figure in (was, would, would - was))
        rows.append((f"{len(rest)} others", *more, *("" for _ in _MONEY)))
    print_table("Cost of energy, tokens; behind it, what each part adds to the difference", columns, rows)


def _difference(found: Comparison, network: str, field: str) -> int:
    was, would = (_sums(sums)[field] for sums in found.networks[network])
    return would - was
