"""Bad input to running nodes: every one is refused with its stable code, and no node falls over."""

import asyncio
import os
import socket
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from node.config import split_address
from node.errors import RefusedError
from node.gateway.client import tx_id_of
from node.model.keys import SIGNATURE_BYTES, generate_key
from node.model.transaction import sign_transaction
from protos import gateway_pb2 as pb
from testnet.cluster import Cluster
from tests.functional.trading import PRICE, SLOT_SECONDS, VALID_S, Device, device

GATEWAY = "/watt.gateway.v1.Gateway/"


@pytest.fixture(autouse=True)
def no_node_falls_over(network: Cluster) -> Iterator[None]:
    """All processes are the same as before, and go on to agree on new blocks."""
    before = [network.pid(node) for node in network.network.nodes]
    yield
    assert [network.pid(node) for node in network.network.nodes] == before

    async def trade() -> None:
        async with network.network.client() as client:
            assert (await device(network, "home-3/load").place(client)).code == "ok"

    asyncio.run(trade())
    assert network.agreement().root is not None


def refusal(network: Cluster, raw: bytes) -> str:
    """The code with which a gateway refuses raw bytes as a transaction."""

    async def scenario() -> str:
        async with network.network.client(network.network.gateways[0]) as client:
            with pytest.raises(RefusedError) as caught:
                await client.submit(raw)
            return caught.value.code

    return asyncio.run(scenario())


def outcome(network: Cluster, contract: str, method: str, args: dict[str, Any], sender: str = "home-1/load") -> str:
    """The code that a signed call ends with: of a gateway's refusal, or of its receipt."""

    async def scenario() -> str:
        async with network.network.client(network.network.gateways[0]) as client:
            slot = (await client.node_info()).now // SLOT_SECONDS + 4
            order = {
                "device": "home-1/load",
                "side": "buy",
                "slot": slot,
                "energy_wh": 100,
                "price": PRICE,
                "until": "gate",
                "renewable": False,
            }
            filled = order | args if (contract, method) == ("market", "place") else args
            raw = await device(network, sender).sign(client, contract, method, filled)
            try:
                return (await client.wait(await client.submit(raw))).code
            except RefusedError as error:
                return error.code

    return asyncio.run(scenario())


def signed(network: Cluster, **changes: Any) -> bytes:
    """An order that is good but for what ``changes`` say of its payload."""

    async def scenario() -> bytes:
        who: Device = device(network, "home-1/load")
        async with network.network.client(network.network.gateways[0]) as client:
            info = await client.node_info()
            nonce = await client.nonce(who.key.public_key) + 1
        fields: dict[str, Any] = {"chain": info.chain, "nonce": nonce, "not_after": info.now + VALID_S} | changes
        args = {"order": bytes(32)}
        return sign_transaction(who.key, contract="market", method="cancel", args=args, **fields).raw

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("contract", "method", "args", "code"),
    [
        ("market", "no-such-method", {}, "unknown-method"),
        ("no-such-contract", "place", {}, "unknown-contract"),
        ("market", "order", {"order": bytes(32)}, "unknown-method"),  # a query is no transaction
        ("market", "place", {"energy_wh": "100"}, "bad-args"),
        ("market", "place", {"energy_wh": 100.0}, "bad-args"),
        ("market", "place", {"energy_wh": True}, "bad-args"),
        ("market", "place", {"energy_wh": None}, "bad-args"),
        ("market", "place", {"surprise": 1}, "bad-args"),
        ("market", "place", {"energy_wh": 0}, "bad-energy"),
        ("market", "place", {"energy_wh": -100}, "bad-energy"),
        ("market", "place", {"energy_wh": 2**64 - 1}, "over-capacity"),
        ("market", "place", {"price": -1}, "bad-price"),
        ("market", "place", {"price": 2**63}, "bad-price"),
        ("market", "place", {"slot": -5}, "closed-product"),
        ("market", "place", {"slot": 2**40}, "closed-product"),
        ("market", "place", {"device": "home-2/load"}, "wrong-key"),
        ("market", "place", {"device": "x" * 250}, "unknown-device"),
        ("budget", "issue", {"network": "home-1", "period": 0, "amount": 1, "reference": b"x"}, "not-allowed"),
    ],
)
def test_a_bad_call_has_its_code(network: Cluster, contract: str, method: str, args: dict[str, Any], code: str) -> None:
    assert outcome(network, contract, method, args) == code


def test_bad_transactions_are_refused_at_the_edge(network: Cluster) -> None:
    good = signed(network)
    assert refusal(network, b"") == "malformed"
    assert refusal(network, os.urandom(300)) == "malformed"
    assert refusal(network, good[:-1]) == "malformed"
    assert refusal(network, bytes(70_000)) == "oversize"
    assert refusal(network, bytes(SIGNATURE_BYTES) + good[SIGNATURE_BYTES:]) == "bad-signature"
    assert refusal(network, signed(network, chain=bytes(32))) == "wrong-chain"
    assert refusal(network, signed(network, not_after=1)) == "expired"
    assert refusal(network, signed(network, nonce=10**6)) == "nonce-out-of-window"


def test_a_replay_is_refused(network: Cluster) -> None:
    """Checklist 29."""

    async def scenario() -> None:
        who = device(network, "home-3/load")
        async with network.network.client(network.network.gateways[0]) as client:
            raw = await who.order(client)
            await client.wait(await client.submit(raw))
            for gateway in network.network.gateways:
                async with network.network.client(gateway) as other:
                    await other.wait(tx_id_of(raw))
                    with pytest.raises(RefusedError) as caught:
                        await other.submit(raw)
                    assert caught.value.code == "nonce-used"

    asyncio.run(scenario())


def test_a_stranger_can_sign_and_gets_nowhere(network: Cluster) -> None:
    async def scenario() -> str:
        async with network.network.client(network.network.gateways[0]) as client:
            info = await client.node_info()
            args = {"network": "home-1", "period": 0, "amount": 10**12, "reference": b"mine"}
            raw = sign_transaction(generate_key(), info.chain, 1, "budget", "issue", args, info.now + VALID_S).raw
            with pytest.raises(RefusedError) as caught:
                await client.submit(raw)
            return caught.value.code

    assert asyncio.run(scenario()) == "unknown-sender"


@pytest.mark.parametrize(
    ("method", "request_bytes", "status", "code"),
    [
        ("Submit", b"\xff\xff\xff", grpc.StatusCode.INVALID_ARGUMENT, "malformed"),
        ("Submit", b"", grpc.StatusCode.INVALID_ARGUMENT, "malformed"),
        ("Query", b"\x08", grpc.StatusCode.INVALID_ARGUMENT, "malformed"),
        (
            "Query",
            pb.QueryRequest(contract="market", method="book", args=b"\xc1").SerializeToString(),
            grpc.StatusCode.INVALID_ARGUMENT,
            "malformed",
        ),
        (
            "Query",
            pb.QueryRequest(contract="market", method="nothing").SerializeToString(),
            grpc.StatusCode.NOT_FOUND,
            "unknown-method",
        ),
        ("Nonce", pb.NonceRequest(public_key=b"x").SerializeToString(), grpc.StatusCode.INVALID_ARGUMENT, "bad-key"),
        ("Block", pb.BlockRequest(height=2**63).SerializeToString(), grpc.StatusCode.NOT_FOUND, "no-block"),
        ("Block", pb.BlockRequest(height=2**64 - 1).SerializeToString(), grpc.StatusCode.NOT_FOUND, "no-block"),
        ("Status", pb.StatusRequest(id=b"x" * 9999).SerializeToString(), None, None),
        (
            "SubmitMany",
            pb.SubmitManyRequest(transactions=[b""] * 5000).SerializeToString(),
            grpc.StatusCode.INVALID_ARGUMENT,
            "oversize",
        ),
        ("NoSuchCall", b"", grpc.StatusCode.UNIMPLEMENTED, None),
    ],
)
def test_a_bad_request_has_a_status_and_a_code(
    network: Cluster, method: str, request_bytes: bytes, status: grpc.StatusCode | None, code: str | None
) -> None:
    async def scenario() -> None:
        async with grpc.aio.insecure_channel(network.network.gateways[0]) as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(GATEWAY + method)
            if status is None:
                await call(request_bytes)
                return
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(request_bytes)
            assert caught.value.code() == status
            assert dict(list(caught.value.trailing_metadata() or ())).get("watt-code") == code

    asyncio.run(scenario())


def test_a_request_that_is_too_large_is_not_read(network: Cluster) -> None:
    """Checklist 53."""

    async def scenario() -> None:
        async with network.network.client(network.network.gateways[0]) as client:
            with pytest.raises(RefusedError) as caught:
                await client.submit_many([bytes(60_000)] * 200)
            assert caught.value.code == "oversize"

    asyncio.run(scenario())


def test_a_subscription_to_the_future_is_refused(network: Cluster) -> None:
    async def scenario() -> None:
        async with network.network.client(network.network.gateways[0]) as client:
            with pytest.raises(RefusedError) as caught:
                async for _ in client.subscribe(10**9):
                    pass
            assert caught.value.code == "no-block"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", bytes(5000), b"PRI * HT"]
)
def test_garbage_on_every_port_harms_nobody(network: Cluster, garbage: bytes) -> None:
    """Checklist 53 and 59."""
    for node in network.network.nodes:
        for address in (node.config.gateway.listen, node.config.peer.listen):
            with socket.create_connection(split_address(address), timeout=5) as connection:
                connection.sendall(garbage)
                connection.sendall(os.urandom(10_000))
