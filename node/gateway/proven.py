"""Queries whose answer needs no trust in the node that gives it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from chaincode.contract import ContractError, Value
from chaincode.registry import Registry
from node.errors import CodecError, RefusedError
from node.gateway.client import Client
from node.gateway.codes import RETRY_MS, UNREACHABLE
from node.model.block import Header, decode_header
from node.model.certificate import decode_certificate
from node.model.genesis import Genesis
from node.witness import UNPROVEN_REFUSALS, proven_answer

_NOT_BY_THE_RULES = UNPROVEN_REFUSALS.union(
    RETRY_MS, (UNREACHABLE, "stopping", "malformed", "oversize", "out-of-range", "no-block", "unknown-call")
)


class Proven(NamedTuple):
    """An answer, and the block whose state it is true of: whether that is recent, its time and height say."""

    value: Value
    header: Header


class ProvenReader:
    """Reads as ``query_proven`` does, for whoever asks many questions. ``oldest``: the lowest of the blocks that the
    answers are true of, None before the first."""

    def __init__(self, client: Client, genesis: Genesis, registry: Registry) -> None:
        self._client = client
        self._genesis = genesis
        self._registry = registry
        self.oldest: Header | None = None

    async def __call__(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        """The answer. Raises RefusedError as ``query_proven`` does."""
        proven = await query_proven(self._client, self._genesis, self._registry, contract, method, args)
        if self.oldest is None or proven.header.height < self.oldest.height:
            self.oldest = proven.header
        return proven.value


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

    Raises RefusedError: "bad-proof"; "not-provable" for queries that scan; "no-block" before block 1; what the node is
    too busy for; and what the rules refuse with, of which the node's word is no proof: the query refuses here.
    """
    try:
        answer = await client.query_evidence(contract, method, args)
    except RefusedError as error:
        if error.code in _NOT_BY_THE_RULES:
            raise
        raise RefusedError("bad-proof", f"the node refuses with {error.code}, and does not prove it") from error
    if not answer.certificate:
        raise RefusedError("no-block", "the node has no block with a certificate yet")
    try:
        header, certificate = decode_header(answer.header), decode_certificate(answer.certificate)
    except CodecError as error:
        raise RefusedError("bad-proof", f"no header or certificate: {error.message}") from error
    try:
        value = proven_answer(registry, genesis, header, certificate, answer.reads, contract, method, args or {})
    except ContractError as error:
        raise RefusedError(error.code, error.message) from error
    return Proven(value, header)
