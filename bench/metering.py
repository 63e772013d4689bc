"""What do readings cost that a collector brings: their signatures, the rules, the root, the disk?

Blocks full of collected rows are decoded, executed by the real contracts and committed to a LevelDB with synced writes,
as a node does it: first as an honest primary fills them (``BATCH_ITEMS``), then as full as the format allows any
primary to fill them (``MAX_BATCH_ITEMS``).
"""

import gc
import platform
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import click

from bench.ledger import STEPS, Node
from chaincode.settlement_messages import reading_message
from chaincode.settlement_metering import MAX_COLLECTED_ROWS
from cli.output import json_option, print_json, print_table
from node.ledger.store import LevelStore
from node.limits import BATCH_ITEMS
from node.model.block import MAX_BATCH_ITEMS
from node.model.codec import sha256
from node.model.genesis import Genesis, Member, Token
from node.model.keys import SigningKey
from node.model.transaction import Transaction, sign_transaction

NEVER = 2**40
SLOT_S = 1_800
DEVICES_OF_A_HOME = 4
LIMIT_W = 10_000


@click.command()
@click.option("--devices", default=2_000, show_default=True, help="Devices, four in each home.")
@click.option("--slots", default=20, show_default=True, help="Slots that every device reports.")
@json_option
def metering(devices: int, slots: int, as_json: bool) -> None:
    """Measure full blocks of readings that a collector brings, each signed by its meter.

    Example: watt bench metering --devices 2000 --slots 20
    """
    with tempfile.TemporaryDirectory() as directory:
        node = Node(_genesis(devices), LevelStore(Path(directory) / "db", create=True))
        full, fullest = _run(node, devices, slots)
    times = [row[1] for row in full]
    rows, seconds = sum(row[0] for row in full), sum(sum(row.values()) for row in times)
    result: dict[str, object] = {
        "rows": rows,
        "rows_in_a_block": full[0][0],
        "bytes_in_a_block": full[0][2],
        **{f"{step}_ms": round(statistics.median(row[step] for row in times) * 1e3, 1) for step in STEPS},
        "us_per_row": round(seconds / rows * 1e6, 1),
        "rows_per_second": round(rows / seconds),
        "rows_in_the_fullest_block": fullest[0][0],
        "fullest_execute_ms": round(max(row[1]["execute"] for row in fullest) * 1e3, 1),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    if as_json:
        print_json(result)
    else:
        print_table("Collected readings: CPU of full blocks, medians", ["", ">"], list(result.items()))


_Block: TypeAlias = tuple[int, dict[str, float], int]
"""Rows, times by step, bytes."""


def _run(node: Node, devices: int, slots: int) -> tuple[list[_Block], list[_Block]]:
    """Two thirds of the readings in blocks of an honest primary, the rest in the fullest ones."""
    node.block((), 0)
    node.block((), slots * SLOT_S)  # all slots are over
    transactions = list(_transactions(node.chain, devices, slots))
    gc.collect()
    gc.freeze()
    some = len(transactions) * 2 // 3
    batches = [list(_batches(transactions[:some], BATCH_ITEMS)), list(_batches(transactions[some:], MAX_BATCH_ITEMS))]
    blocks: list[list[_Block]] = [[], []]
    for kind, found in enumerate(batches):
        for batch in found:
            execution, took = node.block(batch, slots * SLOT_S)
            if any(receipt.code != "ok" or receipt.result != () for receipt in execution.receipts):
                raise RuntimeError(f"refused: {execution.receipts[0]}")
            size = sum(len(tx.raw) for tx in batch)
            blocks[kind].append((len(batch) * MAX_COLLECTED_ROWS, took, size))
    return blocks[0], blocks[1]


def _transactions(chain: bytes, devices: int, slots: int) -> Iterator[Transaction]:
    """All devices' readings, slot by slot, as many in a transaction as it takes."""
    meters = [_key("meter", device) for device in range(devices)]
    collector = _key("collector", 0)
    rows: list[tuple[Any, ...]] = []
    nonce = 0
    for slot in range(slots):
        for device, meter in enumerate(meters):
            wh, registers = (100, 0), (10_000_000 + 100 * slot, 0)
            message = reading_message(chain, _name(device), slot, wh, registers)
            rows.append((_name(device), slot, *wh, *registers, meter.sign(message)))
            if len(rows) == MAX_COLLECTED_ROWS:
                nonce += 1
                args = {"rows": tuple(rows)}
                yield sign_transaction(collector, chain, nonce, "settlement", "collect", args, NEVER)
                rows = []


def _batches(transactions: Sequence[Transaction], items: int) -> Iterator[Sequence[Transaction]]:
    """As many as ``items`` in a block, full ones only."""
    of_a_block = items // MAX_COLLECTED_ROWS
    for start in range(0, len(transactions) - of_a_block + 1, of_a_block):
        yield transactions[start : start + of_a_block]


def _genesis(devices: int) -> Genesis:
    names = [_name(device) for device in range(devices)]
    networks = dict.fromkeys(name.partition("/")[0] for name in names)
    rows: list[list[Any]] = [
        [
            name,
            name.partition("/")[0],
            "load",
            _hex("device", index),
            _hex("meter", index),
            "t",
            LIMIT_W,
            0,
            False,
            False,
        ]
        for index, name in enumerate(names)
    ]
    contracts: dict[str, Any] = {
        "grid": {"root": "t", "lines": []},
        "identity": {
            "members": [["club", _hex("collector", 0), ["aggregator"]]],
            "networks": [[network, "club", _hex(network, 0), "t"] for network in networks],
            "devices": rows,
        },
        "budget": {"period_slots": 48},
        "market": {
            "tariffs": [[0, 100, 20]],
            "slot_seconds": SLOT_S,
            "open_before_s": 900 * SLOT_S,
            "metering_window_s": 100 * SLOT_S,
            "outage_s": 100 * SLOT_S,
        },
    }
    members = tuple(Member(f"member-{index}", _hex("member", index), "") for index in range(4))
    return Genesis(1, "bench", Token("WATT", 9, 1_000_000), members, 0, 0, 1, contracts)


def _name(device: int) -> str:
    return f"home-{device // DEVICES_OF_A_HOME}/load-{device % DEVICES_OF_A_HOME}"


def _key(what: str, index: int) -> SigningKey:
    return SigningKey(sha256(b"bench metering", what.encode(), index.to_bytes(4, "big")))


def _hex(what: str, index: int) -> str:
    return _key(what, index).public_key.hex()
