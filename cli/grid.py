"""`watt admin grid`: a grid's file checked at home, published by the grid operator, and shown as the ledger has it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from chaincode import grid
from chaincode.contract import ContractError
from chaincode.grid import LineSettings
from cli.answers import grid_line
from cli.grid_file import DEFAULT_DECIMALS, GridVersion, format_grid, read_grid
from cli.output import count, json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import Account, Signing, ask, node_option, signed, transact
from cli.units import PUBLIC_KEY, Count, per_kwh
from node.errors import RefusedError
from node.gateway.client import Client, TxStatus
from node.model.codec import Value, encode
from node.model.transaction import MAX_TRANSACTION_BYTES

LINES_BYTES: Final = MAX_TRANSACTION_BYTES - 4 * 1024
"""Encoded lines that go into one transaction, beside all else that is in it."""

_file = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))


class BusView(NamedTuple):
    """A bus as seen from the root. ``toll``: base units per Wh of the whole way; limits: of the line to it, W."""

    bus: str
    parent: str | None
    depth: int
    metres: int
    toll: int
    limit_down_w: int | None
    limit_up_w: int | None


@click.group("grid")
def commands() -> None:
    """Buses, lines, tolls and limits."""


@commands.command()
@_file
@click.option("--decimals", type=click.IntRange(0, 18), default=DEFAULT_DECIMALS, show_default=True,
              help="Decimals of the network's token.")  # fmt: skip
@json_option
@refusals_to_exit_codes
def check(file: Path, decimals: int, as_json: bool) -> None:
    """Check a grid's CSV FILE and show it as the ledger would see it; no node is asked. docs/grid.md says its columns.

    Example: watt admin grid check street.csv
    """
    _show({}, read_grid(file, decimals), decimals, as_json)


@commands.command()
@_file
@signed
def publish(file: Path, signing: Signing, as_json: bool) -> None:
    """Publish the grid of a CSV FILE for products that open from now on. The grid operator signs.

    Example: watt admin grid publish street.csv --key grid-operator.key
    """
    key = signing.open()

    async def use(client: Client) -> TxStatus:
        info = await client.node_info()
        version = read_grid(file, info.token_decimals)
        number, present = as_version(await client.query("grid", "tree"))
        gone = _buses(present) - _buses(version)
        if gone:
            raise RefusedError(
                "missing-bus", f"{file}: {min(gone)} of version {number} is gone, and devices may hang on it"
            )
        account = Account(client, key, info.chain)
        *drafts, last = _parts(version.lines)
        drafted = 0
        for lines in drafts:
            await account.settle("grid", "draft", {"lines": lines, "after": drafted})
            drafted += len(lines)
        args = {"root": version.root, "rate": version.rate, "lines": last, "drafted": drafted}
        return await account.settle("grid", "publish", args)

    status = ask(signing.nodes, use)
    if as_json:
        return print_json({"version": status.result, "height": status.height})
    click.echo(f"version {status.result!r} in block {status.height}, for products that open from now on")


@commands.command()
@click.option("--version", type=Count(least=1), help="An older version; by default the newest.")
@click.option("--csv", "as_csv", is_flag=True, help="Print it as the CSV file that `publish` reads.")
@node_option
@json_option
@refusals_to_exit_codes
def show(version: int | None, as_csv: bool, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show the grid that the ledger has.

    Example: watt admin grid show

    Example: watt admin grid show --csv > street.csv
    """
    if as_csv and as_json:
        raise click.UsageError("say either --csv or --json")

    async def read(client: Client) -> tuple[Value, Value, int]:
        args = {} if version is None else {"version": version}
        tree, feeder = await client.query("grid", "tree", args), await client.query("grid", "feeder")
        return tree, feeder, (await client.node_info()).token_decimals

    tree, feeder, decimals = ask(nodes, read)
    meter = feeder.hex() if isinstance(feeder, bytes) else None
    number, found = as_version(tree)
    if as_csv:
        return click.echo(format_grid(found, decimals), nl=False)
    _show({"version": number, "feeder_meter": meter}, found, decimals, as_json)


@commands.command("feeder-meter")
@click.argument("public_key", type=PUBLIC_KEY)
@signed
def feeder_meter(public_key: bytes, signing: Signing, as_json: bool) -> None:
    """Name the meter at the root by its PUBLIC_KEY. The grid operator signs.

    Example: watt admin grid feeder-meter 9e0a... --key grid-operator.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {"key": public_key}

    status = transact(*signing, "grid", "set_feeder_meter", args)
    if as_json:
        return print_json({"height": status.height})
    click.echo(f"done in block {status.height}")


def as_version(answer: Value) -> tuple[int, GridVersion]:
    """(number, grid) from the answer of the query ``grid.tree``. Raises RefusedError("bad-answer")."""
    match answer:
        case (int(number), str(root), int(rate), tuple(lines)):
            version = GridVersion(root, rate, tuple(grid_line(line) for line in lines))
        case _:
            raise RefusedError("bad-answer", "the node's answer is no grid: another version?")
    try:
        grid.check(*version)
    except ContractError as error:
        raise RefusedError("bad-answer", f"the node's answer is no grid: {error.message}") from error
    return number, version


def views(version: GridVersion) -> list[BusView]:
    """Every bus as seen from the root, in the tree's order: parents before children."""
    tree = grid.check(*version).tree
    line_to = {line[1]: line for line in version.lines}
    rows = [BusView(version.root, None, 0, 0, 0, None, None)]
    for bus, up, toll in list(zip(tree.buses, tree.parent, tree.toll, strict=True))[1:]:
        parent, (metres, _, *limits) = rows[up], line_to[bus][2:]
        rows.append(BusView(bus, parent.bus, parent.depth + 1, parent.metres + metres, parent.toll + toll, *limits))
    return rows


def dearest_way(version: GridVersion) -> tuple[str, str, int]:
    """The two buses with the greatest toll between them, and that toll: base units per Wh."""
    tree = grid.check(*version).tree
    deepest = [(0, bus) for bus in tree.buses]  # by bus: the dearest way down from it, and where that ends
    dearest = (tree.buses[0], tree.buses[0], 0)
    for index in reversed(range(1, len(tree.buses))):
        up = tree.parent[index]
        toll, end = deepest[index][0] + tree.toll[index], deepest[index][1]
        if toll + deepest[up][0] > dearest[2]:
            dearest = (end, deepest[up][1], toll + deepest[up][0])
        deepest[up] = max(deepest[up], (toll, end))
    return dearest


def _show(head: Mapping[str, object], version: GridVersion, decimals: int, as_json: bool) -> None:
    rows = views(version)
    one, other, toll = dearest_way(version)
    metres = sum(line[2] for line in version.lines)
    if as_json:
        return print_json({
            **head, "root": version.root, "rate": version.rate, "lines": len(version.lines), "metres": metres,
            "depth": rows[-1].depth, "dearest": {"from": one, "to": other, "toll": toll},
            "buses": [row._asdict() for row in rows],
        })  # fmt: skip
    title = f"version {head['version']}: " if "version" in head else ""
    print_table(
        f"{title}{count(len(version.lines), 'line')} of {metres} m below {version.root}, at most {rows[-1].depth} deep",
        ("Bus", "Hangs on", ">Metres", ">Toll per kWh", "?>Limit down W", "?>Limit up W"),
        ((row.bus, row.parent or "", row.metres, per_kwh(row.toll, decimals), *map(_limit, row[5:])) for row in rows),
    )
    click.echo(f"metres and tolls from {version.root}; the dearest way, {per_kwh(toll, decimals)} tokens per kWh, "
               f"is from {one} to {other}", err=True)  # fmt: skip
    if head.get("feeder_meter") is not None:
        click.echo(f"the meter at {version.root} has the key {head['feeder_meter']}", err=True)


def _limit(watt: object) -> str:
    return "" if watt is None else f"{watt}"


def _buses(version: GridVersion) -> set[str]:
    return {version.root, *(line[1] for line in version.lines)}


def _parts(lines: Sequence[LineSettings]) -> Iterator[tuple[LineSettings, ...]]:
    """The lines in as many parts as transactions are needed; one at least."""
    part: list[LineSettings] = []
    size = 0
    for line in lines:
        size += len(encode(line))
        if size > LINES_BYTES:
            yield tuple(part)
            part, size = [], len(encode(line))
        part.append(line)
    yield tuple(part)
