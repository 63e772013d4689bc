"""A node that answers in this process, and counts what it was asked."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from bench.local_chain import LocalChain
from chaincode.contract import ContractError
from node.errors import RefusedError
from node.gateway.answers import evidence_of, put_reads
from node.gateway.client import Evidence
from node.limits import QUERY_ROWS, QUERY_STEPS
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.codec import Value, encode
from protos import gateway_pb2 as pb

T = TypeVar("T")


class CountedNode:
    """What a client asks of a node, answered in this process with a node's bounds, and counted."""

    def __init__(self, chain: LocalChain) -> None:
        self._chain = chain
        self.queries = self.entries = self.bytes = self.largest = 0
        self.all_s = self.slowest_s = 0.0

    async def boundaries(self, first: int) -> tuple[bytes, ...]:
        return ()

    async def query(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        return self._timed(lambda: self._plain(contract, method, args))

    async def query_evidence(self, contract: str, method: str, args: Mapping[str, Any] | None) -> Evidence:
        return self._timed(lambda: self._proven(contract, method, args or {}))

    def _plain(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        value = self._chain.executor.query(contract, method, args, steps=QUERY_STEPS, rows=QUERY_ROWS)
        self._count(len(encode(value)))
        return value

    def _proven(self, contract: str, method: str, args: Mapping[str, Any]) -> Evidence:
        ledger = self._chain.ledger
        value, reads = self._chain.executor.query_proven(contract, method, args, steps=QUERY_STEPS, rows=QUERY_ROWS)
        assert ledger.head_certificate is not None, "no block"
        header, certificate = encode_header(ledger.head), encode_certificate(ledger.head_certificate)
        self.entries += len(reads)
        reply = pb.QueryReply(value=encode(value), height=ledger.head.height, header=header, certificate=certificate)
        put_reads(reply, reads)
        self._count(reply.ByteSize())
        return evidence_of(reply)

    def _count(self, length: int) -> None:
        self.bytes, self.largest = self.bytes + length, max(self.largest, length)

    def _timed(self, answer: Callable[[], T]) -> T:
        self.queries += 1
        began = time.process_time()
        try:
            return answer()
        except ContractError as error:
            raise RefusedError(error.code, error.message) from error
        finally:
            took = time.process_time() - began
            self.all_s, self.slowest_s = self.all_s + took, max(self.slowest_s, took)
