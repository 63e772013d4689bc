"""Who sees what, on real nodes: a stranger, a neighbour, the owner, a friend with leave, a validator."""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import pytest

from node.errors import RefusedError
from node.gateway.client import BlockEvents, Client, digest_of
from node.model.keys import SigningKey, generate_key
from node.snapshot.fetch import AskList
from node.snapshot.remote import Remote
from testnet.cluster import Cluster
from testnet.neighbourhood import neighbourhood_key
from tests.functional.trading import FIRST_SLOT, SLOT_SECONDS, Device, device

LOAD = "home-2/load"
FRIEND = generate_key()


def as_reader(cluster: Cluster, key: SigningKey | None) -> Client:
    return Client(cluster.network.gateways[1], key, chain=cluster.network.genesis.chain)


async def code_of(call: Awaitable[object]) -> str:
    with pytest.raises(RefusedError) as caught:
        await call
    return caught.value.code


async def blocks(client: Client, first: int, last: int) -> list[BlockEvents]:
    seen = []
    async with asyncio.timeout(30):
        async for block in client.subscribe(first):
            seen.append(block)
            if block.height >= last:
                break
    return seen


def named(seen: Sequence[BlockEvents]) -> set[str]:
    """The topics of events that name the load, or its home."""
    return {event.topic for block in seen for event in block.events if {LOAD, "home-2"}.intersection(event.keys)}


def test_everybody_sees_the_own_and_of_others_what_is_public(network: Cluster) -> None:
    """Checklist 4."""
    asyncio.run(_who_sees_what(network))


async def _who_sees_what(network: Cluster) -> None:
    load = device(network, LOAD)
    owner, neighbour = (neighbourhood_key(network.network.directory, home) for home in ("home-2", "home-3"))
    async with network.network.client() as client:
        raw_order = await load.order(client)
        tx_id = await client.submit(raw_order)
        status = await client.wait(tx_id)
        assert status.code == "ok" and isinstance(status.result, bytes)
        order, height = status.result, status.height
        slot = (await client.node_info()).now // SLOT_SECONDS + FIRST_SLOT
        assert len((await client.block(height)).body) > 100

    for key, code in ((None, "sign-first"), (neighbour, "not-allowed"), (generate_key(), "not-allowed")):
        async with as_reader(network, key) as client:
            for name in (LOAD, "home-2/none"):  # whether there is such a device is nobody's business
                assert await code_of(client.query("market", "orders", {"device": name})) == code
                assert await code_of(client.query("settlement", "reading", {"device": name, "slot": slot})) == code
                assert await code_of(client.query_evidence("market", "position", {"device": name, "slot": 0})) == code
                assert await code_of(client.query("identity", "device", {"device": name})) == code
            assert await code_of(client.query("market", "order", {"order": order})) == code
            assert await code_of(client.query("market", "book", {"slot": slot})) == code
            assert isinstance(await client.query("market", "depth", {"slot": slot}), tuple)
            raw = await client.block(height)
            assert raw.header and raw.certificate and not raw.body
            seen = await blocks(client, height, height)
            assert not named(seen)
            (shown,) = [event for block in seen for event in block.events if event.topic == "order"]
            assert isinstance(shown.data, tuple) and shown.data[0] != order
            assert len(shown.keys) == 1 and shown.keys[0] not in (LOAD, "home-2")
            assert [digest for digest, _ in seen[0].results] == [digest_of(raw_order)]
            began = time.monotonic()  # an id can be guessed by who knows the key: neither word nor haste tells
            assert await code_of(client.wait(tx_id, 0.5)) == "timed-out" and time.monotonic() - began >= 0.5
            assert await client.status(tx_id) == await client.status(bytes(32))

    for key in (owner, load.key):
        async with as_reader(network, key) as client:
            assert await client.query("market", "order", {"order": order})
            assert await client.query("market", "orders", {"device": LOAD})
            seen = await blocks(client, height, height)
            assert "order" in named(seen) and not any("home-3" in str(event.keys) for event in seen[0].events)
            assert (await client.status(tx_id)).result == order
            assert not (await client.block(height)).body

    async with Remote(generate_key(), network.network.genesis.chain) as joiner:
        assert await code_of(joiner.listing(AskList(network.network.gateways[0]))) == "not-allowed"


def test_leave_to_read_is_given_and_taken_back_while_a_subscription_goes_on(network: Cluster) -> None:
    """Checklist 4."""
    asyncio.run(_leave(network))


async def _leave(network: Cluster) -> None:
    owner, load = Device(network.network.directory, "home-2"), device(network, LOAD)
    subject = {"kind": "network", "name": "home-2", "reader": FRIEND.public_key}

    async def told(
        client: Client, friend: Client, key: Device, contract: str, method: str, args: Mapping[str, Any]
    ) -> set[str]:
        """What the friend's subscription names of the block that holds this."""
        raw = await key.sign(client, contract, method, dict(args)) if contract else await load.order(client)
        status = await client.wait(await client.submit(raw))
        assert status.code == "ok"
        return named(await blocks(friend, status.height, status.height))

    async with network.network.client(network.network.gateways[1]) as client, as_reader(network, FRIEND) as friend:
        asked = {"device": LOAD}
        assert await code_of(friend.query("market", "orders", asked)) == "not-allowed"
        until = (await client.node_info()).now + 3600
        leave = {**subject, "classes": ["market"], "until": until}
        await told(client, friend, owner, "grants", "grant", leave)
        assert await told(client, friend, load, "", "", {}) == {"order"}
        assert await friend.query("market", "orders", asked)
        assert await code_of(friend.query("budget", "budget", {"device": LOAD, "period": 0})) == "not-allowed"
        await told(client, friend, owner, "grants", "revoke", subject)
        assert await told(client, friend, load, "", "", {}) == set()
        assert await code_of(friend.query("market", "orders", asked)) == "not-allowed"
