"""How an audit reads: from a node or from stopped data, always with proofs, and what it remembers of them."""

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import click
from rich.console import Console

from cli.audit_tables import Scope, Tables, collect
from cli.session import ask
from cli.slots import SLOT
from cli.sources import Recorder, stopped_node
from cli.wallet_home import Trust, genesis_for
from node.config import load_config
from node.export import About, Import
from node.gateway.client import Client, Evidence
from node.gateway.proven import Keep, ProvenReader
from node.model.block import Header, decode_header, encode_header
from node.model.genesis import Genesis, load_genesis

_ALL: Final = "all"
_MONTH: Final = re.compile(r"(\d{4})-(\d{2})")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class Made(NamedTuple):
    """What was read: the tables, and between which blocks their answers are true; ``blocks``: of stopped data."""

    tables: Tables
    oldest: Header
    newest: Header
    genesis: Genesis


class Seen:
    """Reads, and remembers between which blocks the answers are true."""

    def __init__(self, read: Import) -> None:
        self._read = read
        self.oldest: Header | None = None
        self.newest: Header | None = None

    async def __call__(self, contract: str, method: str, args: Any) -> Any:
        try:
            return await self._read(contract, method, args)
        finally:
            self._note(self._read.at)

    def _note(self, header: Header | None) -> None:
        if header is not None:
            self.oldest = header if self.oldest is None or header.height < self.oldest.height else self.oldest
            self.newest = header if self.newest is None or header.height > self.newest.height else self.newest


def read_tables(
    period: str,
    networks: tuple[str, ...],
    devices: bool,
    nodes: tuple[str, ...],
    trust: Trust,
    config_file: Path | None,
    recorder: Recorder | None,
) -> Made:
    """Collect the tables from a node or from stopped data, always with proofs."""
    genesis = genesis_for(trust, config_file) or _genesis_of(cast("Path", config_file))
    heads: list[Header] = []

    def keep(contract: str, method: str, args: Any, evidence: Evidence, boundaries: Any) -> None:
        if not heads or encode_header(heads[-1]) != evidence.header:
            heads.append(decode_header(evidence.header))
        if recorder is not None:
            recorder.keep(contract, method, args, evidence, boundaries)

    if recorder is not None:
        recorder.begin(About(genesis.chain, True, 0))
    scope = _scope(period, genesis, networks, devices)
    with waiting() as tell:
        if config_file is not None:
            with stopped_node(config_file, keep) as (source, _):
                tables = asyncio.run(collect(source.read, scope, tell))
        else:
            tables = ask(nodes, lambda client: _collect_proven(client, trust, scope, keep, tell))
    return Made(tables, min(heads, key=lambda head: head.height), max(heads, key=lambda head: head.height), genesis)


async def _collect_proven(
    client: Client, trust: Trust, scope: Scope, keep: Keep, tell: Callable[[str], None]
) -> Tables:
    read, _ = cast("tuple[ProvenReader, Genesis]", trust.reader(client, keep))
    return await collect(read, scope, tell)


def _genesis_of(config_file: Path) -> Genesis:
    config = load_config(config_file)
    return load_genesis(config.path(config.genesis))


def _scope(period: str, genesis: Genesis, networks: tuple[str, ...], devices: bool) -> Scope:
    slot_seconds = cast("int", genesis.contracts.get("market", {}).get("slot_seconds", 1_800))
    first, end = slots_of(period, slot_seconds)
    return Scope(first, end, networks or None, devices)


def slots_of(period: str, slot_seconds: int) -> tuple[int | None, int | None]:
    """The slots that a period's name stands for: the first, and the first behind it. Raises click.BadParameter."""
    if period == _ALL:
        return None, None
    begin, dots, end = period.partition("..")
    if dots:
        bounds = _slot(begin, slot_seconds), _slot(end, slot_seconds)
    elif (month := _MONTH.fullmatch(period)) is not None:
        year, number = int(month[1]), int(month[2])
        after = f"{year + number // 12}-{number % 12 + 1:02}-01"
        bounds = _slot(f"{period}-01", slot_seconds), _slot(after, slot_seconds)
    elif _DAY.fullmatch(period):
        first = _slot(period, slot_seconds)
        bounds = first, first + 86_400 // slot_seconds
    else:
        raise click.BadParameter(f"{period[:40]!r} is no month, no day, no FROM..TO, and not 'all'")
    if bounds[0] >= bounds[1]:
        raise click.BadParameter(f"nothing lies in {period[:80]!r}")
    return bounds


def _slot(text: str, slot_seconds: int) -> int:
    return SLOT.convert(text, None, None).at(slot_seconds)


def times_of(tables: Tables) -> tuple[int, int]:
    """When the period begins and ends, block time in s."""
    return cast("int", tables.scope.first) * tables.slot_seconds, cast("int", tables.scope.end) * tables.slot_seconds


@contextmanager
def waiting() -> Iterator[Callable[[str], None]]:
    if not sys.stderr.isatty():
        yield lambda what: None
        return
    with Console(stderr=True).status("Reading") as status:
        yield lambda what: status.update(f"Reading {what}")
