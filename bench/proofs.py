"""What a proof costs in a large state: bytes on the wire, microseconds to make and to check, on one core.

A month of four homes is lived on a real ledger whose blocks four members certify; then entries that nobody asks for
are added until the state has as many keys as wanted. A balance and a whole statement are then asked for as a wallet
does, each answer with its proofs; and checked twice: as a device does, by ``node/light.py`` alone, and as the wallet
does, which runs the query over the proven entries as well.
"""

import asyncio
import gc
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, cast

import click

from bench.counted_node import CountedNode
from bench.homes import MEMBERS, SLOT_S
from bench.month import FINAL_S, Month
from chaincode.contract import Context, Contract, Value, transaction
from chaincode.keys import uint
from chaincode.registry import Registry, default_registry
from cli.output import json_option, print_json, print_table
from cli.statement_facts import gather_facts
from node.gateway.client import Client, Evidence
from node.gateway.proven import ProvenReader
from node.ledger.layout import STATE, after_prefix
from node.light import LightChain, proven_value
from node.model.genesis import dump_genesis

HOMES: Final = 4
HOME: Final = "home-0"
DEVICE: Final = "home-0/load"
FILLS: Final = 5_000
"""Entries that one transaction adds."""
TIMES: Final = 300


class Filler(Contract):
    """Entries that nobody asks for: they are there to make the state large."""

    name = "filler"

    @transaction
    def fill(self, ctx: Context, *, first: int, count: int) -> Value:
        for number in range(first, first + count):
            ctx.put(b"filler/" + uint(number), (number, "as large as others are"))
        return None


class Figures(NamedTuple):
    """``queries`` and state ``entries`` of one answer; ``bytes``: all that the node sends for it, header, certificate
    and proofs; microseconds of CPU: of the node to answer, of a device to check, of a wallet to check and run it."""

    proof: str
    keys: int
    queries: int
    entries: int
    bytes: int
    make_us: float
    check_us: float
    wallet_us: float


@click.command()
@click.option("--keys", default=1_000_000, show_default=True, help="Keys that the state has.")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 31), help="Days of the statement.")
@json_option
def proofs(keys: int, days: int, as_json: bool) -> None:
    """Measure a balance proof and a statement's proofs: bytes, and microseconds of one core.

    Example: watt bench proofs --keys 1000000 --json
    """
    chain = Month(HOMES, days, registry=Registry([*default_registry().contracts, Filler()]))
    chain.go_to(chain.live() * SLOT_S + FINAL_S)
    count = _fill(chain, keys)
    gc.collect()
    gc.freeze()
    balance = ("budget", "budget", {"device": DEVICE, "period": 0})
    rows = [_measured("balance", count, chain, [balance] * TIMES, TIMES)]
    asked = asyncio.run(_asked_for_statement(chain))
    rows.append(_measured(f"statement of {days} days", count, chain, asked, 1))
    machine = f"{platform.machine()}, Python {platform.python_version()}, one core"
    if as_json:
        return print_json({"members": len(MEMBERS), "machine": machine, "rows": [row._asdict() for row in rows]})
    print_table(f"Proofs ({machine})", tuple(f">{name}" for name in Figures._fields), rows)


def _fill(chain: Month, keys: int) -> int:
    """Add entries until the state has ``keys``; how many it has."""
    have = sum(1 for _ in chain.store.scan(STATE, after_prefix(STATE)))
    for first in range(0, keys - have, FILLS):
        count = min(FILLS, keys - have - first)
        chain.block(chain.ledger.head.time, ("filler", "fill", {"first": first, "count": count}))
    return sum(1 for _ in chain.store.scan(STATE, after_prefix(STATE)))


async def _asked_for_statement(chain: Month) -> list[tuple[str, str, Mapping[str, Any]]]:
    """The questions that a statement is made of."""
    asked: list[tuple[str, str, Mapping[str, Any]]] = []

    async def read(contract: str, method: str, args: Mapping[str, Any]) -> Value:
        asked.append((contract, method, args))
        return await CountedNode(chain).query(contract, method, args)

    await gather_facts(read, HOME, 0)
    return asked


def _measured(
    what: str, keys: int, chain: Month, asked: list[tuple[str, str, Mapping[str, Any]]], times: int
) -> Figures:
    """``asked`` in turn, ``times`` answers in all: the figures are of one."""
    node = CountedNode(chain)
    answers: list[Evidence] = []

    async def ask() -> None:
        for contract, method, args in asked:
            answers.append(await node.query_evidence(contract, method, args))

    make_us = _microseconds(lambda: asyncio.run(ask()), times)
    light = LightChain(dump_genesis(chain.genesis))
    check_us = _microseconds(lambda: _check(light, answers), times)
    reader = ProvenReader(cast("Client", _Given(answers)), chain.genesis, default_registry())

    async def wallet() -> None:
        for contract, method, args in asked:
            await reader(contract, method, args)

    wallet_us = _microseconds(lambda: asyncio.run(wallet()), times)
    return Figures(
        what,
        keys,
        len(asked) // times,
        node.entries // times,
        node.bytes // times,
        make_us,
        check_us,
        wallet_us,
    )


def _check(light: LightChain, answers: list[Evidence]) -> None:
    """What a device does with answers."""
    for answer in answers:
        header = light.accept(answer.header, answer.certificate)
        for key, value, proof in answer.reads:
            proven_value(header, key, value, proof)


class _Given:
    """A node's answers, given once more in their order."""

    def __init__(self, answers: list[Evidence]) -> None:
        self._answers = iter(answers)

    async def boundaries(self, first: int) -> tuple[bytes, ...]:
        return ()

    async def query_evidence(self, contract: str, method: str, args: Mapping[str, Any] | None) -> Evidence:
        return next(self._answers)


def _microseconds(work: Callable[[], object], times: int) -> float:
    began = time.process_time()
    work()
    return round((time.process_time() - began) * 1e6 / times, 1)
