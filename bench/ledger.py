"""What does one order cost from its bytes to the disk, network and signatures aside? The real market, one process.

Blocks of orders are decoded, executed by the real contracts, and committed to a LevelDB with synced writes. The root's
share is measured by computing it once more.
"""

import gc
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random

import click

from bench.market import FEED_IN, RETAIL, build, funding, order_slots, traders
from chaincode.registry import default_registry
from cli.output import json_option, print_json, print_table
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.execution import Execution
from node.ledger.store import LevelStore
from node.model.block import Batch, decode_batch, encode_batch
from node.model.certificate import Certificate
from node.model.genesis import Genesis
from node.model.transaction import Transaction, sign_transaction

NEVER = 2**40
SECONDS_A_BLOCK = 1
STEPS = ("decode", "execute", "root", "commit")


class Node:
    """A ledger and executor that commit whatever they are given; CPU time in seconds by ``STEPS``."""

    def __init__(self, genesis: Genesis, store: LevelStore) -> None:
        registry = default_registry()
        self.chain = genesis.chain
        self.ledger = Ledger.open(store, genesis, registry)
        self.executor = Executor(self.ledger, registry, genesis)

    def block(self, transactions: Sequence[Transaction], block_time: int) -> tuple[Execution, dict[str, float]]:
        height = self.ledger.head.height + 1
        body = encode_batch(Batch(self.chain, 0, 0, block_time, tuple(tx.raw for tx in transactions)))
        start = time.process_time()
        decoded = decode_batch(body)
        decode_end = time.process_time()
        execution = self.executor.execute(height, body, decoded)
        execute_end = time.process_time()
        self.ledger.tree.update(execution.changes)
        root_end = time.process_time()
        self.ledger.commit(execution, Certificate(0, 0, height, execution.block_hash, ()))
        commit_s = time.process_time() - root_end
        root_s = root_end - execute_end
        times = (decode_end - start, execute_end - decode_end - root_s, root_s, commit_s)
        return execution, dict(zip(STEPS, times, strict=True))


@click.command()
@click.option("--blocks", default=40, show_default=True, help="Blocks of orders.")
@click.option("--orders", default=400, show_default=True, help="Orders in a block.")
@json_option
def ledger(blocks: int, orders: int, as_json: bool) -> None:
    """Measure decode, execution, root and commit of real orders, microseconds of CPU an order.

    Example: watt bench ledger --blocks 40 --orders 400
    """
    with tempfile.TemporaryDirectory() as directory:
        genesis = build(Path(directory) / "network", nodes=4).genesis
        node = Node(genesis, LevelStore(Path(directory) / "db", create=True))
        rows, changed, refused = _run(node, blocks, orders)
    result: dict[str, object] = {
        "blocks": blocks,
        "orders_per_block": orders,
        **{f"{step}_us": round(statistics.median(row[step] for row in rows) * 1e6 / orders, 1) for step in STEPS},
        "all_us": round(statistics.mean(sum(row.values()) for row in rows) * 1e6 / orders, 1),
        "changed_keys_per_order": round(changed / blocks / orders, 1),
        "refused": refused,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    if as_json:
        print_json(result)
    else:
        print_table("One order: CPU, medians over blocks; all_us the mean", ["", ">"], list(result.items()))


def _run(node: Node, blocks: int, orders: int) -> tuple[list[dict[str, float]], int, int]:
    now = int(time.time())
    for batch in funding(node.chain, now):
        execution, _ = node.block(batch, now)
        if any(receipt.code != "ok" for receipt in execution.receipts):
            raise RuntimeError("funding failed")
    signed = _orders(node.chain, now, blocks * orders)
    rows, changed, refused = [], 0, 0
    gc.collect()
    gc.freeze()
    for number in range(blocks):
        batch = signed[number * orders : (number + 1) * orders]
        execution, times = node.block(batch, now + (number + 1) * SECONDS_A_BLOCK)
        rows.append(times)
        changed += len(execution.changes)
        refused += sum(receipt.code != "ok" for receipt in execution.receipts)
    return rows, changed, refused


def _orders(chain: bytes, now: int, total: int) -> list[Transaction]:
    """``total`` orders, the devices in turn, spread over all open slots."""
    random = Random(1)
    devices = traders()
    nonces = [count(1) for _ in devices]
    first, last = order_slots(now)
    orders = []
    for number in range(total):
        trader = devices[number % len(devices)]
        args = {
            "device": trader.device,
            "energy_wh": random.randint(100, 3000),
            "price": random.randint(FEED_IN, RETAIL),
            "side": trader.side,
            "slot": random.randint(first, last),
        }
        nonce = next(nonces[number % len(devices)])
        orders.append(sign_transaction(trader.key, chain, nonce, "market", "place", args, NEVER))
    return orders
