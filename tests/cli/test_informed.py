"""With a wallet's home commands believe no node: whatever they ask is asked with proof, but for what is named."""

import ast
import asyncio
from pathlib import Path

import grpc.aio
import pytest

import cli
from chaincode.registry import default_registry
from cli.informed import BELIEVED, InformedClient
from node.errors import RefusedError
from node.gateway.service import GatewayService
from node.light import LightChain
from node.model.codec import encode
from node.model.genesis import dump_genesis
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc
from tests.ledger.epoch_chains import make_genesis

GENESIS = make_genesis()
QUERIES = sorted(
    (contract.name, name)
    for contract in default_registry().contracts
    for name, method in vars(type(contract)).items()
    if getattr(method, "chaincode_kind", "") == "query"
)


class Claiming(GatewayService):
    """Answers everything with 7, and proves nothing. There is no node behind it."""

    def __init__(self) -> None:
        self.proven: list[bool] = []

    async def Query(self, request: pb.QueryRequest, context: object) -> pb.QueryReply:
        self.proven.append(request.proven)
        return pb.QueryReply(value=encode(7))


def test_what_is_asked_is_proven_but_for_what_is_named() -> None:
    """Also what no command asks yet: a new one signs nothing on a node's word, whoever forgets to say so."""
    asyncio.run(_asked())


async def _asked() -> None:
    server, node = grpc.aio.server(), Claiming()
    pb_grpc.add_GatewayServicer_to_server(node, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with InformedClient(f"127.0.0.1:{port}") as client, asyncio.timeout(30):
            client.inform(GENESIS, LightChain(dump_genesis(GENESIS)))
            for contract, method in (*QUERIES, ("new", "method")):
                if (contract, method) in BELIEVED:
                    assert await client.query(contract, method) == 7
                else:
                    with pytest.raises(RefusedError, match="no-block"):
                        await client.query(contract, method)
                assert node.proven.pop() is ((contract, method) not in BELIEVED), (contract, method)
                assert not node.proven
    finally:
        await server.stop(None)


def test_what_is_believed_exists_and_is_asked_with_a_reason() -> None:
    assert set(BELIEVED) <= set(QUERIES)
    assert all(BELIEVED.values())


def test_no_command_asks_past_the_proofs() -> None:
    """``query_at`` is for programs that trust their own node."""
    for path in Path(cli.__file__ or "").parent.glob("*.py"):
        names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert "query_at" not in names, path
