"""Attacker: somebody with a key of its own who wants to read what is another's, and guesses: names of devices, ids of
orders and transactions, keys, and signatures in the name of keys that it knows.

Whatever it guesses, it is told what it would be told of what does not exist.
"""

import asyncio
import hashlib
import inspect
import time
from collections.abc import Iterator
from typing import Any, Final, get_type_hints

import grpc
import grpc.aio
import msgspec
import pytest

from chaincode.registry import default_registry
from node.errors import RefusedError
from node.gateway.client import Client
from node.model.codec import encode
from node.model.keys import SigningKey, generate_key
from node.model.read import READ_KEY, sign_read
from protos import gateway_pb2 as pb
from testnet.cluster import Cluster
from tests.functional.trading import Device, device

QUERY: Final = "/watt.gateway.v1.Gateway/Query"
VICTIM: Final = "home-2"
NOBODY: Final = "home-7"
REFUSALS: Final = ("not-allowed", "sign-first")


def questions(home: str, order: bytes) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every query that the contracts have, about this home."""
    values: dict[str, Any] = {
        "device": f"{home}/load",
        "network": home,
        "name": home,
        "order": order,
        "kind": "network",
    }
    plain: dict[str, Any] = {"int": 1, "bytes": order, "str": home, "bool": True}
    for contract in default_registry().contracts:
        for name in dir(contract):
            method = getattr(contract, name)
            if getattr(method, "chaincode_kind", "") != "query":
                continue
            asked = [each for each in inspect.signature(method).parameters.values() if each.kind is each.KEYWORD_ONLY]
            needed = [each for each in asked if each.default is each.empty]
            hints = get_type_hints(method)
            kinds = {each.name: getattr(hints[each.name], "__name__", str(hints[each.name])) for each in needed}
            yield contract.name, name, {each: values.get(each, plain.get(kinds[each], ())) for each in kinds}


async def said(client: Client, question: tuple[str, str, dict[str, Any]], *, proven: bool) -> tuple[str, bytes]:
    """The refusal in full, or what was told."""
    try:
        if proven:
            evidence = await client.query_evidence(*question)
            return "", b"".join([key + (value or b"") for key, value, _ in evidence.reads])
        return "", encode(await client.query(*question))
    except RefusedError as error:
        return f"{error.code}: {error.message}", b""


@pytest.mark.parametrize("who", ["a stranger", "a neighbour"])
def test_every_question_about_a_home_is_answered_as_about_one_that_is_not_there(network: Cluster, who: str) -> None:
    victim, neighbour = device(network, f"{VICTIM}/load"), Device(network.network.directory, "home-3")
    held = {Device(network.network.directory, name).key.public_key for name in (VICTIM, f"{VICTIM}.load")}

    async def scenario() -> tuple[int, int]:
        async with Client(network.network.gateways[0], victim.key) as client:
            done = await victim.place(client)
            assert done.code == "ok" and isinstance(done.result, bytes)
        key = neighbour.key if who == "a neighbour" else generate_key()
        refused = told = 0
        async with Client(network.network.gateways[0], key, chain=network.network.genesis.chain) as client:
            pairs = zip(questions(VICTIM, done.result), questions(NOBODY, bytes(32)), strict=True)
            for real, guessed in pairs:
                for proven in (False, True):
                    answer, content = await said(client, real, proven=proven)
                    code = answer.partition(":")[0]
                    if code in REFUSALS:
                        refused += 1
                        assert (answer, content) == await said(client, guessed, proven=proven), real
                        continue
                    told += 1
                    assert f"{VICTIM}/".encode() not in content and not [one for one in held if one in content], real
        return refused, told

    refused, told = asyncio.run(scenario())
    assert refused > 100 and told > 30, (refused, told)


def test_no_key_that_somebody_would_try_opens_anything(network: Cluster) -> None:
    """Seeds of one byte, of small numbers, of the names that keys here are for, hashed and as they are."""
    names = [VICTIM, f"{VICTIM}.load", "utility", "node-0", "password", network.network.genesis.name, ""]
    seeds = [bytes([byte]) * 32 for byte in range(0, 256, 8)]
    seeds += [number.to_bytes(32, order) for number in range(1, 20) for order in ("big", "little")]
    seeds += [hashlib.sha256(name.encode()).digest() for name in names] + [
        name.encode().ljust(32, b"\0") for name in names
    ]

    async def scenario() -> set[str]:
        codes = set()
        for seed in seeds:
            gateway, chain = network.network.gateways[1], network.network.genesis.chain
            async with Client(gateway, SigningKey(seed), chain=chain) as client:
                answer, _ = await said(client, ("budget", "alerts", {"network": VICTIM}), proven=False)
                codes.add(answer.partition(":")[0])
        return codes

    assert asyncio.run(scenario()) == {"not-allowed"}


def test_nobody_reads_in_the_name_of_a_key_that_it_only_knows(network: Cluster) -> None:
    """The owner's public key over the attacker's signature, over none, and over what small points let through."""
    owner, own = Device(network.network.directory, VICTIM).key, generate_key()
    chain, now = network.network.genesis.chain, time.time_ns() // 1_000_000
    request = pb.QueryRequest(
        contract="budget", method="alerts", args=msgspec.msgpack.encode({"network": VICTIM})
    ).SerializeToString()
    signature = sign_read(own, chain, QUERY, request, now)[-64:]
    small = [bytes(32), bytes([1]) + bytes(31), bytes([236]) + b"\xff" * 30 + b"\x7f", bytes(31) + b"\x80"]
    forged = [(owner.public_key, signature), (owner.public_key, bytes(64)), (owner.public_key, b"")]
    forged += [(point, start + bytes(32)) for point in small for start in small]

    async def asked(key: bytes, signed: bytes) -> str:
        async with grpc.aio.insecure_channel(network.network.gateways[2]) as channel:
            call: Any = channel.unary_unary(QUERY)
            try:
                await call(request, metadata=[(READ_KEY, encode((key, now, signed)))], timeout=10)
            except grpc.aio.AioRpcError as error:
                return next((str(value) for name, value in error.trailing_metadata() or () if name == "watt-code"), "")
            return "answered"

    async def scenario() -> set[str]:
        return {await asked(key, signed) for key, signed in forged}

    assert asyncio.run(scenario()) == {"bad-read-signature"}


def test_what_a_key_has_done_is_not_told_to_who_knows_it(network: Cluster) -> None:
    """A key that trades, one that is in the registry, and one that nobody has: the same answer."""
    victim = device(network, f"{VICTIM}/load")

    async def scenario() -> set[str]:
        async with Client(network.network.gateways[0], victim.key) as client:
            done = await victim.order(client)
            tx_id = await client.submit(done)
            assert (await client.wait(tx_id)).code == "ok"
        said_of = set()
        async with Client(network.network.gateways[0], generate_key(), chain=network.network.genesis.chain) as client:
            assert await client.status(tx_id) == await client.status(bytes(32))
            for key in (
                victim.key.public_key,
                Device(network.network.directory, VICTIM).key.public_key,
                bytes(range(32)),
            ):
                try:
                    said_of.add(str(await client.nonce(key)))
                except RefusedError as error:
                    said_of.add(f"{error.code}: {error.message}")
        return said_of

    assert len(asyncio.run(scenario())) == 1
