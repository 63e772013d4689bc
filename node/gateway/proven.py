"""Queries whose answer needs no trust in the node that gives it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from chaincode.contract import ContractError, Value
from chaincode.registry import Registry
from node.errors import RefusedError
from node.gateway.client import Client
from node.model.block import Header, decode_header
from node.model.certificate import decode_certificate
from node.model.genesis import Genesis
from node.witness import proven_answer


class Proven(NamedTuple):
    """An answer, and the block whose state it is true of: whether that is recent, its time and height say."""

    value: Value
    header: Header


async def query_proven(
    client: Client,
    genesis: Genesis,
    registry: Registry,
    contract: str,
    method: str,
    args: Mapping[str, Any] | None = None,
) -> Proven:
    """Ask a contract and check the answer: the node sends what the query read, with proofs and the certificate of
    its head; the query is run here, on that. ``genesis``: the caller's own copy.

    Raises RefusedError: "bad-proof"; "not-provable" for queries that scan; "no-block" before block 1; what the node or
    the query refuses with.
    """
    answer = await client.query_evidence(contract, method, args)
    if not answer.certificate:
        raise RefusedError("no-block", "the node has no block with a certificate yet")
    header = decode_header(answer.header)
    certificate = decode_certificate(answer.certificate)
    try:
        value = proven_answer(registry, genesis, header, certificate, answer.reads, contract, method, args or {})
    except ContractError as error:
        raise RefusedError(error.code, error.message) from error
    return Proven(value, header)
