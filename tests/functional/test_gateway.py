"""What a gateway offers to clients, on real nodes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from chaincode.registry import default_registry
from node.errors import RefusedError
from node.gateway.client import BlockEvents, BulkReply, Client, Evidence, digest_of, tx_id_of
from node.gateway.proven import query_proven
from node.model.keys import verify
from node.model.received import received_bytes
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc
from testnet.cluster import Cluster
from tests.functional.trading import device


def test_node_info_says_where_a_node_stands(network: Cluster) -> None:
    async def scenario() -> None:
        for index, gateway in enumerate(network.network.gateways):
            async with Client(gateway) as client:
                info = await client.node_info()
            assert (info.member, info.member_index, info.members) == (f"node-{index}", index, 4)
            assert info.chain == network.network.genesis.chain
            assert info.height >= 1 and info.head_time <= info.now
            assert set(info.connected) == {f"node-{i}" for i in range(3) if i != index}  # the fourth is down
            assert (info.token_symbol, info.token_decimals) == ("WATT", 9)

    asyncio.run(scenario())


def test_many_at_once_are_answered_one_by_one(network: Cluster) -> None:
    buyer = device(network, "home-2/load")

    async def scenario() -> None:
        async with network.network.client(network.network.gateways[1]) as client:
            good = [await buyer.order(client) for _ in range(20)]
            answers = await client.submit_many([good[0], b"garbage", *good[1:]])
            assert [code for _, code in answers] == ["ok", "malformed", *["ok"] * 19]
            for raw in good:
                assert (await client.wait(tx_id_of(raw))).code == "ok"
            assert (await client.submit_many([good[3]]))[0][1] == "nonce-used"

    asyncio.run(scenario())


def test_a_stream_answers_chunk_by_chunk_and_one_that_subscribes_sees_every_transaction(network: Cluster) -> None:
    buyer = device(network, "home-2/load")

    async def scenario() -> None:
        async with network.network.client(network.network.gateways[2]) as client:
            first = (await client.node_info()).height + 1
            chunks = [[await buyer.order(client) for _ in range(10)] for _ in range(5)]

            async def send() -> AsyncIterator[list[bytes]]:
                for chunk in chunks:
                    yield chunk

            replies = [reply async for reply in client.submit_stream(send())]
            assert replies == [BulkReply({}, 0)] * 5
            wanted = {digest_of(raw) for chunk in chunks for raw in chunk}
            async with asyncio.timeout(30):
                blocks = await _until_seen(client, first, wanted)
            assert [block.height for block in blocks] == list(range(first, first + len(blocks)))
            results = [(digest, code) for block in blocks for digest, code in block.results if digest in wanted]
            assert sorted(results) == sorted((digest, "ok") for digest in wanted)  # each exactly once

        # The same from another node, later: a subscription can start at any height.
        async with network.network.client(network.network.gateways[2]) as other, asyncio.timeout(30):
            assert [b.hash for b in await _until_seen(other, first, wanted)] == [b.hash for b in blocks]

    asyncio.run(scenario())


async def _until_seen(client: Client, first: int, wanted: set[bytes]) -> list[BlockEvents]:
    blocks: list[BlockEvents] = []
    missing = set(wanted)
    async for block in client.subscribe(first):
        blocks.append(block)
        missing -= {digest for digest, _ in block.results}
        if not missing:
            break
    return blocks


def test_a_receipt_is_the_members_signed_word(network: Cluster) -> None:
    buyer = device(network, "home-3/load")
    genesis = network.network.genesis

    async def scenario() -> None:
        async with network.network.client(network.network.gateways[0]) as client:
            raw = await buyer.order(client)
            async with grpc.aio.insecure_channel(network.network.gateways[0]) as channel:
                reply = await pb_grpc.GatewayStub(channel).Submit(pb.SubmitRequest(transaction=raw))
            assert reply.id == tx_id_of(raw)
            signed = received_bytes(genesis.chain, 0, reply.received.height, [reply.id])
            assert verify(genesis.member_keys[0], signed, reply.received.signature)
            await client.wait(reply.id)

    asyncio.run(scenario())


def test_a_proven_answer_equals_the_nodes_and_a_tampered_one_is_found_out(network: Cluster) -> None:
    """Checklist 31: one certificate and a proof; whatever a lying node changes, the client sees."""
    genesis, registry = network.network.genesis, default_registry()

    async def scenario() -> None:
        async with network.network.client(network.network.gateways[0]) as client:
            proven = await query_proven(client, genesis, registry, "identity", "device", {"device": "home-1/pv"})
            assert proven.value == await client.query("identity", "device", {"device": "home-1/pv"})
            assert proven.header.chain == genesis.chain
            absent = {"device": "home-9/pv"}
            with pytest.raises(RefusedError) as caught:  # refused by the query itself, run here on a proof of absence
                await query_proven(client, genesis, registry, "identity", "device", absent)
            assert caught.value.code == "unknown-device"

            truth = await client.query_evidence("identity", "device", {"device": "home-1/pv"})
            (key, value, proof), *rest = truth.reads
            assert value is not None
            older = await client.block(1)
            lies: list[Evidence | RefusedError] = [
                replace(truth, reads=((key, value[:-1] + b"\xc3", proof), *rest)),
                replace(truth, reads=((key, None, proof), *rest)),
                replace(truth, reads=((key, value, proof[:-1]), *rest)),
                replace(truth, reads=()),
                replace(truth, certificate=older.certificate),
                replace(truth, certificate=truth.certificate[:-1]),
                replace(truth, header=older.header),
                replace(truth, header=b"\x00"),
                replace(truth, header=older.header, certificate=older.certificate),
                RefusedError("unknown-device", "just a word"),
            ]
            for lie in lies:
                with pytest.raises(RefusedError) as caught:
                    await query_proven(Liar(lie), genesis, registry, "identity", "device", {"device": "home-1/pv"})
                assert caught.value.code == "bad-proof", lie

    asyncio.run(scenario())


class Liar(Client):
    """A client whose node answers proven queries with whatever it likes."""

    def __init__(self, lie: Evidence | RefusedError) -> None:
        super().__init__("unused:1")
        self._lie = lie

    async def query_evidence(self, contract: str, method: str, args: Mapping[str, Any] | None = None) -> Evidence:
        if isinstance(self._lie, RefusedError):
            raise self._lie
        return self._lie

    async def boundaries(self, first: int) -> tuple[bytes, ...]:
        return ()


def test_a_client_goes_on_with_another_node(network: Cluster) -> None:
    async def scenario() -> None:
        async with network.network.client(["127.0.0.1:1", network.network.gateways[1]]) as client:
            assert (await client.node_info()).member == "node-1"
            assert (await device(network, "home-2/load").place(client)).code == "ok"
        async with Client("127.0.0.1:1") as client:
            with pytest.raises(RefusedError) as caught:
                await client.node_info()
            assert caught.value.code == "unreachable"

    asyncio.run(scenario())


def test_waiting_for_what_never_comes_ends_in_time(network: Cluster) -> None:
    async def scenario() -> None:
        async with network.network.client(network.network.gateways[0]) as client:
            assert (await client.status(bytes(32))).state == "unknown"
            with pytest.raises(RefusedError) as caught:
                await client.wait(bytes(32), timeout_s=0.3)
            assert caught.value.code == "timed-out"

    asyncio.run(scenario())


def test_health_and_reflection_are_served(network: Cluster) -> None:
    async def scenario() -> None:
        async with grpc.aio.insecure_channel(network.network.gateways[0]) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for service in ("", "watt.gateway.v1.Gateway"):
                reply = await health.Check(health_pb2.HealthCheckRequest(service=service))
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]))
            names = [service.name async for reply in call for service in reply.list_services_response.service]
            assert "watt.gateway.v1.Gateway" in names

    asyncio.run(scenario())
