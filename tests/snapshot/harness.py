"""Nodes that serve a small chain over the real wire, and a join from them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import grpc.aio

from node.errors import NodeFault
from node.gateway.guard import Guard
from node.gateway.snapshots import SnapshotService
from node.ledger.chain import Ledger
from node.ledger.layout import STATE, after_prefix
from node.ledger.store import LevelStore, Store
from node.setup import DATABASE_NAME
from node.snapshot.fetch import Verdict
from node.snapshot.join import JoinPlan, JoinReport, join
from node.snapshot.maker import make_now
from node.snapshot.shelf import Shelf
from protos import gateway_pb2_grpc as pb_grpc
from tests.ledger.chains import Chain
from tests.ledger.epoch_chains import EpochChain

AnyChain: TypeAlias = Chain | EpochChain


def grown(blocks: int, chain: Chain | None = None, names: int = 60) -> Chain:
    """A chain with so many more blocks, whose state has up to ``names`` entries of some size."""
    chain = chain or Chain()
    for _ in range(blocks):
        number = chain.ledger.head.height
        chain.add(
            chain.tx(number % 6, number // 6 + 1, "add", name=f"n{number % names}" + "x" * 100, amount=number),
            chain.tx((number + 1) % 6, 1000, "take"),
        )
    return chain


def snapshot(chain: AnyChain, directory: Path) -> Shelf:
    """A shelf with a snapshot of the chain's head."""
    shelf = Shelf(directory)
    make_now(chain.store, chain.ledger, shelf)
    return shelf


@asynccontextmanager
async def served(*services: SnapshotService) -> AsyncIterator[tuple[str, ...]]:
    """Serve each on a port of its own; their addresses."""
    async with AsyncExitStack() as stack:
        addresses = []
        for service in services:
            faults: list[NodeFault] = []
            server = grpc.aio.server(interceptors=(Guard(faults.append, service._chain),))
            pb_grpc.add_SnapshotsServicer_to_server(service, server)
            addresses.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
            await server.start()
            stack.push_async_callback(server.stop, 0)
        yield tuple(addresses)


class Seen:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []
        self.verdicts: dict[str, Verdict] = {}

    def progress(self, what: str, done: int, total: int) -> None:
        self.steps.append((what, done, total))

    def dropped(self, source: str, verdict: Verdict) -> None:
        self.verdicts[source] = verdict


def joined(
    chain: AnyChain,
    data: Path,
    services: Sequence[SnapshotService],
    seen: Seen | None = None,
    *,
    blocks_only: bool = False,
) -> JoinReport:
    """Join ``data`` from these nodes."""

    async def run() -> JoinReport:
        async with served(*services) as addresses:
            plan = JoinPlan(data, chain.genesis, addresses, blocks_only)
            return await asyncio.wait_for(join(plan, chain.registry, seen or Seen()), 60)

    return asyncio.run(run())


def service(chain: AnyChain, shelf: Shelf) -> SnapshotService:
    """An honest node's."""
    return SnapshotService(chain.genesis.chain, chain.ledger, shelf, everybody)


def everybody(reader: bytes) -> None:
    """These chains know no readers' keys: whoever asks may see everything."""


def state_of(store: Store) -> list[tuple[bytes, bytes]]:
    """All entries of the state."""
    return list(store.scan(STATE, after_prefix(STATE)))


def opened(chain: AnyChain, data: Path) -> tuple[LevelStore, Ledger]:
    """What a join has left, opened as a node does."""
    store = LevelStore(data / DATABASE_NAME, create=False)
    return store, Ledger.open(store, chain.genesis, chain.registry)
