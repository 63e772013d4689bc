"""Attacker: somebody who has recorded what others signed, and says it again: later, elsewhere, or changed a little.

Transactions name their chain, number and end; reads name chain, call, question and time; votes name chain, epoch, view
and height. So nothing that was signed for one of these is worth anything for another.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio
import msgspec
import pytest

from node.errors import RefusedError
from node.gateway.client import Client, Receipt, tx_id_of
from node.light import LightChain, LightError
from node.model.block import decode_header, encode_header
from node.model.certificate import decode_certificate, encode_certificate
from node.model.genesis import dump_genesis
from node.model.keys import SigningKey, verify
from node.model.read import READ_KEY, sign_read
from node.model.received import received_bytes
from node.model.transaction import sign_transaction
from protos import gateway_pb2 as pb
from testnet.cluster import Cluster
from tests.functional.trading import device

QUERY = "/watt.gateway.v1.Gateway/Query"
OTHER_CHAIN = bytes(range(32))


async def refusal(client: Client, raw: bytes) -> str:
    try:
        await client.submit(raw)
    except RefusedError as error:
        return error.code
    return "accepted"


def test_a_transaction_counts_once_on_one_chain_for_a_while(network: Cluster) -> None:
    who = device(network, "home-2/load")

    async def scenario() -> None:
        async with network.network.client() as client:
            raw = await who.order(client)
            assert (await client.wait(await client.submit(raw))).code == "ok"
            for gateway in network.network.gateways:
                async with Client(gateway) as other:
                    assert await refusal(other, raw) == "nonce-used"
            info = await client.node_info()
            args = {"device": who.id, "slot": 1}
            call = ("market", "place", args)
            elsewhere = sign_transaction(who.key, OTHER_CHAIN, 10**6, *call, info.now + 60).raw
            assert await refusal(client, elsewhere) == "wrong-chain"
            late = sign_transaction(who.key, info.chain, 10**6, *call, info.now - 1).raw
            assert await refusal(client, late) == "expired"

    asyncio.run(scenario())


def test_a_changed_transaction_is_nobodys(network: Cluster) -> None:
    """Every byte of a signed order changed in turn, some in every part of it: form or signature refuse each."""
    who = device(network, "home-2/load")

    async def scenario() -> set[str]:
        async with Client(network.network.gateways[0], who.key) as client:
            raw = await who.order(client)
            changed = [raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :] for at in range(0, len(raw), 3)]
            answers = await client.submit_many(changed)
            return {code for _, code in answers}

    codes = asyncio.run(scenario())
    assert "ok" not in codes and "bad-signature" in codes


def test_a_read_serves_for_its_question_its_chain_and_its_minutes(network: Cluster) -> None:
    key = device(network, "home-2/load").key
    gateway, chain = network.network.gateways[0], network.network.genesis.chain
    mine = pb.QueryRequest(contract="budget", method="settings").SerializeToString()
    other = pb.QueryRequest(contract="market", method="settings").SerializeToString()
    now = time.time_ns() // 1_000_000

    async def ask(request: bytes, *signed: bytes, path: str = QUERY) -> str:
        async with grpc.aio.insecure_channel(gateway) as channel:
            try:
                raw: Any = channel.unary_unary(path)
                await raw(request, metadata=[(READ_KEY, stamp) for stamp in signed], timeout=10)
            except grpc.aio.AioRpcError as error:
                metadata: Iterable[Any] = error.trailing_metadata() or ()
                return next((str(value) for key, value in metadata if key == "watt-code"), "")
            return "answered"

    async def scenario() -> None:
        good = sign_read(key, chain, QUERY, mine, now)
        assert await ask(mine, good) == "answered"
        assert await ask(mine, good) == "answered"  # within its minutes the same question has the same answer
        assert await ask(other, good) == "bad-read-signature"
        assert await ask(mine, sign_read(key, OTHER_CHAIN, QUERY, mine, now)) == "bad-read-signature"
        assert (
            await ask(mine, sign_read(key, chain, QUERY.replace("Query", "Subscribe"), mine, now))
            == "bad-read-signature"
        )
        assert await ask(mine, sign_read(key, chain, QUERY, mine, now - 3_600_000)) == "stale-read"
        assert await ask(mine, sign_read(key, chain, QUERY, mine, now + 3_600_000)) == "stale-read"
        for at in range(0, len(good), 7):
            changed = good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :]
            assert await ask(mine, changed) in ("bad-read-signature", "stale-read", "malformed"), at

    asyncio.run(scenario())


def test_what_proves_a_block_proves_no_other(network: Cluster) -> None:
    """Votes of another height, view, epoch or chain, and those of a network with the same members' names."""

    async def scenario() -> tuple[bytes, bytes, bytes]:
        async with Client(network.network.gateways[0]) as client:
            height = (await client.node_info()).height
            block, before = await client.block(height), await client.block(height - 1)
            return block.header, block.certificate, before.certificate

    header, certificate, before = asyncio.run(scenario())
    genesis = network.network.genesis
    light = LightChain(dump_genesis(genesis))
    light.accept(header, certificate)
    good, found = decode_header(header), decode_certificate(certificate)
    forged: dict[str, tuple[bytes, bytes]] = {
        "of the block before": (header, before),
        "for another epoch": (
            encode_header(msgspec.structs.replace(good, epoch=1)),
            encode_certificate(msgspec.structs.replace(found, epoch=1)),
        ),
        "of another view": (header, encode_certificate(msgspec.structs.replace(found, view=found.view + 1))),
        "for another height": (
            encode_header(msgspec.structs.replace(good, height=good.height + 1)),
            encode_certificate(msgspec.structs.replace(found, height=good.height + 1)),
        ),
        "for another chain": (encode_header(msgspec.structs.replace(good, chain=OTHER_CHAIN)), certificate),
    }
    for name, parts in forged.items():
        with pytest.raises(LightError):
            LightChain(dump_genesis(genesis)).accept(*parts)
            pytest.fail(name)
    renamed = msgspec.structs.replace(genesis, name="another network of the same members")
    with pytest.raises(LightError):
        LightChain(dump_genesis(renamed)).accept(header, certificate)


def test_a_receipt_of_one_transaction_is_none_of_another(network: Cluster) -> None:
    who = device(network, "home-2/load")

    async def scenario() -> None:
        async with network.network.client() as client:
            first, second = await who.order(client), await who.order(client)
            tx_id, receipt = await client.submit_for_receipt(first)
            assert receipt is not None and (await client.wait(tx_id)).code == "ok"
            assert _holds(network, receipt, first) and not _holds(network, receipt, second)

    asyncio.run(scenario())


def _holds(cluster: Cluster, receipt: Receipt, raw: bytes) -> bool:
    genesis = cluster.network.genesis
    signed = received_bytes(genesis.chain, receipt.member, receipt.height, [tx_id_of(raw)])
    return verify(genesis.member_keys[receipt.member], signed, receipt.signature)


def test_a_stranger_with_a_key_of_its_own_signs_for_itself_alone(network: Cluster) -> None:
    """A transaction under somebody's id with another's signature, and one that names somebody as its sender."""
    who, stranger = device(network, "home-2/load"), SigningKey(b"\7" * 32)

    async def scenario() -> None:
        async with Client(network.network.gateways[0], who.key) as client:
            raw = await who.order(client)
            theirs = stranger.sign(b"watt/tx-sign/1\0" + raw[64:]) + raw[64:]
            assert await refusal(client, theirs) == "bad-signature"
            info = await client.node_info()
            own = sign_transaction(stranger, info.chain, 1, "market", "settings", {}, info.now + 60).raw
            assert await refusal(client, own) in ("unknown-method", "unknown-sender")

    asyncio.run(scenario())
