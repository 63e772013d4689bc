"""What a home's market days leave in the state, with a retention and without; and the size of an exported file.

Homes with a load and a PV panel trade and meter every half hour for some days, in one process: real contracts on a
real ledger, blocks certified by one key, no network. Most of a node's state is the details of past slots; after their
retention a product, its totals, sums and a digest are left.
"""

import asyncio
import gc
import time
from collections.abc import Mapping
from io import BytesIO
from random import Random
from typing import Any, Final, NamedTuple

import click

from bench.homes import SLOTS_PER_DAY
from bench.street import Street
from chaincode.registry import default_registry
from cli.output import json_option, print_json, print_table
from cli.verify import Checked, verify_products
from node.export import About, Exporter, Import
from node.ledger.layout import STATE, after_prefix
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.codec import Value

COMPARED: Final = 2
"""Days at the end over which growth is measured; by then readings go too, a week and three days after they came."""


class Figures(NamedTuple):
    """``retention_s``: 0 for ever; ``bytes`` of keys and values of the state at the end, and what each of the last two
    days added for each home: what stays of a day for ever, once as much goes as comes; processor time of the slowest
    block and of all, in s.
    """

    retention_s: int
    entries: int
    bytes: int
    bytes_added_home_day: int
    slowest_block_s: float
    all_blocks_s: float


@click.command()
@click.option("--homes", default=20, show_default=True, type=click.IntRange(2, 1_000), help="Homes, two devices each.")
@click.option("--days", default=12, show_default=True, type=click.IntRange(12, 60), help="Days of trading.")
@json_option
def retention(homes: int, days: int, as_json: bool) -> None:
    """Measure the state that homes leave behind, kept for ever and pruned a day after it is final.

    Example: watt bench retention --homes 20 --days 12
    """
    rows, exports, before = [], [], 0
    for retention_s in (0, 86_400):
        street = Street(homes, retention_s)
        rng = Random(1)
        for slot in range(days * SLOTS_PER_DAY):
            if slot == (days - COMPARED) * SLOTS_PER_DAY:
                before = sum(_sizes(street))
            street.slot(slot, rng)
        rows.append(_measured(street, before))
        if not retention_s:
            exports.append(_exported(street))
        del street
        gc.collect()
    if as_json:
        return print_json({"state": [row._asdict() for row in rows], "export": exports[0]})
    print_table(
        f"State of {homes} homes after {days} days",
        (">Retention, s", ">Entries", ">Bytes", ">Added a home and day", ">Slowest block, s", ">All blocks, s"),
        rows,
    )
    print_table("A file of all products", tuple(f">{name}" for name in exports[0]), (tuple(exports[0].values()),))


def _sizes(street: Street) -> list[int]:
    """The bytes of each entry of the state."""
    return [len(key) - 1 + len(value) for key, value in street.store.scan(STATE, after_prefix(STATE))]


def _measured(street: Street, before: int) -> Figures:
    sizes = _sizes(street)
    retention_s = int(street.genesis.contracts["market"]["retention_s"])
    added = (sum(sizes) - before) // COMPARED // len(street.homes)
    return Figures(retention_s, len(sizes), sum(sizes), added, round(street.slowest_s, 3), round(street.all_s, 1))


def _exported(street: Street) -> dict[str, float]:
    """Size of a file of all products, and how long it takes to write and to verify."""
    file, ledger, genesis = BytesIO(), street.ledger, street.genesis
    certificate = ledger.head_certificate
    assert certificate is not None, "no block"
    header, proof = encode_header(ledger.head), encode_certificate(certificate)
    exporter = Exporter(file, About(genesis.chain, True, 0))

    async def read(contract: str, method: str, args: Mapping[str, Any]) -> Value:
        _, reads = street.executor.query_proven(contract, method, args)
        exporter.answer((contract, method, args), header, proof, reads, ())
        return street.executor.query(contract, method, args)

    async def write() -> Checked:
        checked = Checked()
        async for outcome in verify_products(read, None):
            checked = checked.plus(outcome.checked)
        return checked

    async def verify() -> None:
        source = Import(BytesIO(file.getvalue()), genesis, default_registry())
        async for outcome in verify_products(source, None):
            assert not outcome.faults, outcome.faults
        source.finish()

    began = time.process_time()
    checked = asyncio.run(write())
    exporter.close()
    written = time.process_time()
    asyncio.run(verify())
    verified = time.process_time()
    return {
        "products": checked.products,
        "auctions": checked.auctions,
        "orders": checked.orders,
        "bytes": exporter.size,
        "bytes_per_order": exporter.size // max(1, checked.orders),
        "write_s": round(written - began, 2),
        "verify_s": round(verified - written, 2),
    }
