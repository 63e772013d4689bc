"""Attacker: a device whose key was stolen, and an aggregator that was hacked with all its devices' keys.

Each floods the gateways over several connections and never waits, with valid transactions, then with forged ones, while
homes of other members place orders. Here is what holds however busy the machine is: the flood is refused, and told for
how long; what it gets into blocks is bounded; no order of the homes is refused or lost. How much longer the homes wait,
``watt bench flood`` measures on a machine that has time for it: at most twice as long.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from bench.crowd import MEMBER_PER_SECOND, SENDER_PER_SECOND, Homes, Placed, build_crowd, devices_of
from bench.flooder import FORGED, ORDERS, Attacker, Result
from node.limits import MEMBER_BURST_SECONDS, SENDER_BURST_SECONDS
from testnet.cluster import Cluster, last_line

SECONDS = 4.0
PER_SECOND = 12
CPU_SHARE = 0.5
ORDER_MS = 30_000.0
"""An order that takes so long is not late, but lost. The machine may have other work."""
GATEWAYS = 2
"""That are flooded."""


class Seen(NamedTuple):
    """``floods``: transactions of the attacker in blocks; ``seconds``: how long all took."""

    placed: list[Placed]
    result: Result
    floods: int
    seconds: float


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Four nodes with the crowd's members."""
    cluster = Cluster(build_crowd(tmp_path_factory.mktemp("crowd")))
    try:
        cluster.start_all()
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.stop_all()
        for node in cluster.network.nodes:
            print(node.name, last_line(node))


@pytest.fixture(scope="module")
def homes(crowd: Cluster) -> Homes:
    return Homes(crowd.network)


async def _watched(crowd: Cluster, homes: Homes) -> tuple[list[Placed], int]:
    """The homes' orders, and how many transactions of others are in blocks by the time that all of them are."""
    included: set[bytes] = set()

    async def watch(first: int) -> None:
        async with crowd.network.client() as client:
            async for block in client.subscribe(first):
                included.update(digest for digest, _ in block.results)

    async with crowd.network.client() as client:
        watching = asyncio.create_task(watch((await client.node_info()).height + 1))
    placed = await homes.trade(SECONDS, PER_SECOND)
    ours = {one.digest for one in placed if one.code == "ok"}
    async with asyncio.timeout(ORDER_MS / 1000):
        while not ours <= included:
            await asyncio.sleep(0.05)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    return placed, len(included - ours)


def _flooded(crowd: Cluster, homes: Homes, devices: list[str], *, first_nonce: int, what: str = ORDERS) -> Seen:
    with Attacker(
        crowd.network, devices, what=what, first_nonce=first_nonce, seconds=SECONDS, cpu_share=CPU_SHARE
    ) as attacker:
        began = time.monotonic()
        attacker.begin()
        placed, floods = asyncio.run(_watched(crowd, homes))
        result = attacker.result()
        seen = Seen(placed, result, floods, time.monotonic() - began)
    print(result, max(one.ms for one in placed), seen.floods, seen.seconds)
    return seen


def _require_others_served(seen: Seen) -> None:
    assert len(seen.placed) == int(SECONDS * PER_SECOND)
    assert {one.code for one in seen.placed} == {"ok"}
    assert max(one.ms for one in seen.placed) < ORDER_MS


def _require_refused_and_told(result: Result) -> None:
    codes = result.codes
    assert codes.get("too-fast", 0) + codes.get("call too-fast", 0) > 0, codes
    assert result.untold == 0


def _require_within_share(seen: Seen, of_sender: float = math.inf) -> None:
    """What was saved up, what came since, and the one with which a bucket is overdrawn, at each gateway."""
    share = min(of_sender, MEMBER_PER_SECOND * (MEMBER_BURST_SECONDS + seen.seconds))
    assert 0 < seen.floods <= GATEWAYS * (share + 1)
    assert seen.result.codes["ok"] <= GATEWAYS * (share + 1)


def test_a_flood_of_one_key_gets_no_more_than_its_share_and_others_all(crowd: Cluster, homes: Homes) -> None:
    """Checklist 6: valid transactions of one key."""
    seen = _flooded(crowd, homes, devices_of("swarm")[:1], first_nonce=1)
    _require_others_served(seen)
    _require_refused_and_told(seen.result)
    _require_within_share(seen, SENDER_PER_SECOND * (SENDER_BURST_SECONDS + seen.seconds))


def test_a_flood_of_forgeries_gets_nothing_and_leaves_its_victim_all(crowd: Cluster, homes: Homes) -> None:
    """Checklist 6: forged ones that name a device which trades meanwhile."""
    victim = devices_of("north")[0]
    seen = _flooded(crowd, homes, [victim], first_nonce=homes.nonce(victim) + 1, what=FORGED)
    _require_others_served(seen)
    _require_refused_and_told(seen.result)
    assert seen.result.codes["bad-signature"] > 0
    assert seen.result.codes.get("ok", 0) == 0


def test_a_flood_of_two_hundred_keys_gets_no_more_than_one_members_share(crowd: Cluster, homes: Homes) -> None:
    """Checklist 6: valid ones of all devices of an aggregator."""
    seen = _flooded(crowd, homes, devices_of("swarm")[1:], first_nonce=1)
    _require_others_served(seen)
    _require_refused_and_told(seen.result)
    _require_within_share(seen)
