"""An example to copy: four real nodes, one order, and the proof that all of them did the same.

``network`` (conftest.py) is a running network of four processes that all tests share. It has the street of
``testnet/neighbourhood.py``: three homes, their devices' keys on disk, a budget issued to each. Tests that stop or kill
nodes take ``own_network`` instead.

Tests are plain functions; what speaks to a node is asynchronous and goes into one ``asyncio.run``.
"""

import asyncio

from node.consensus.quorum import quorum
from node.model.block import decode_header
from node.model.certificate import certificate_fault, decode_certificate
from node.model.keys import verify
from testnet.cluster import Cluster
from tests.functional.trading import device


def test_an_order_is_in_a_block_that_every_node_agrees_on(network: Cluster) -> None:
    buyer = device(network, "home-2/load")
    genesis = network.network.genesis

    async def scenario() -> None:
        # A client speaks to any gateway; given several, it goes on with the next one if one fails. This one reads with
        # a validator's key, which may see everything: `Client(gateways, key)` sees what the key may.
        async with network.network.client() as client:
            # Signing happens here: the node only ever sees bytes that it cannot change.
            raw = await buyer.order(client)

            # "Received" is not "executed": the answer to that is in a block.
            tx_id = await client.submit(raw)
            status = await client.wait(tx_id)
            assert (status.state, status.code) == ("committed", "ok")

            # What the market returned is the order's id; ask it what became of the order.
            order = await client.query("market", "order", {"order": status.result})
            assert isinstance(order, tuple) and "home-2/load" in order

            # The block's certificate: a quorum of members has signed the state after it.
            block = await client.block(status.height)
            header, certificate = decode_header(block.header), decode_certificate(block.certificate)
            members = genesis.member_keys
            assert certificate.block_hash == header.hash
            assert certificate_fault(certificate, genesis.chain, members, quorum(len(members)), verify) is None

        # And every node, asked by itself, holds that very block, hence the same state root.
        for gateway in network.network.gateways:
            async with network.network.client(gateway) as client:
                await client.wait(tx_id)
                assert (await client.block(status.height)).header == block.header

    asyncio.run(scenario())
    assert network.agreement().root is not None
