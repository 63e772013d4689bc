"""Queries whose answer needs no trust in the node that gives it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from chaincode.contract import ContractError, Value
from chaincode.registry import Registry
from node.epochs import next_epoch
from node.errors import CodecError, RefusedError
from node.gateway.client import Client, Evidence
from node.gateway.codes import RETRY_MS, UNREACHABLE
from node.model.block import Header, decode_header
from node.model.certificate import decode_certificate
from node.model.epoch import Epoch, decode_boundary
from node.model.genesis import Genesis
from node.model.keys import verify
from node.witness import UNPROVEN_REFUSALS, proven_answer

_NOT_BY_THE_RULES = UNPROVEN_REFUSALS.union(
    RETRY_MS, (UNREACHABLE, "stopping", "malformed", "oversize", "out-of-range", "no-block", "unknown-call")
)
MAX_EPOCHS = 10_000
"""More changes of members than a client believes in: a node could send boundaries without end, but for this."""


Keep: TypeAlias = Callable[[str, str, Mapping[str, Any], Evidence, Sequence[bytes]], None]
"""Is given every question with the evidence of its answer, when that has been checked, and the boundaries so far."""


class Proven(NamedTuple):
    """An answer, and the block whose state it is true of: whether that is recent, its time and height say."""

    value: Value
    header: Header


class KnownEpochs:
    """Who the members were and are, learnt from whichever node answers, proven from the genesis on, and remembered."""

    def __init__(self, client: Client, genesis: Genesis) -> None:
        self._client = client
        self._chain = genesis.chain
        self._epochs: tuple[Epoch, ...] = (genesis.epoch,)
        self._has_asked = False
        self.boundaries: list[bytes] = []
        """What proves them, the first one epoch 1."""

    async def up_to(self, number: int) -> tuple[Epoch, ...]:
        """The epochs as far as they are known, ``number`` among them; at the first call, all that there are.

        Raises RefusedError("bad-epochs") if the node does not prove them.
        """
        while not self._has_asked or number >= len(self._epochs):
            answer = await self._client.boundaries(len(self._epochs))
            for data in answer:
                self._learn(data)
            if not answer and number >= len(self._epochs):
                raise RefusedError("bad-epochs", f"the node does not prove who the members of epoch {number} are")
            self._has_asked = self._has_asked or not answer
        return self._epochs

    def _learn(self, data: bytes) -> None:
        if len(self._epochs) >= MAX_EPOCHS:
            raise RefusedError("bad-epochs", f"the node names more than {MAX_EPOCHS} epochs")
        try:
            boundary = decode_boundary(data)
        except CodecError as error:
            raise RefusedError("bad-epochs", f"the node proves no epoch: {error.message}") from error
        self._epochs += (next_epoch(self._chain, self._epochs, boundary, verify),)
        self.boundaries.append(data)


class ProvenReader:
    """Reads as ``query_proven`` does, for whoever asks many questions. ``oldest``: the lowest of the blocks that the
    answers are true of, None before the first; ``keep``: is given all evidence."""

    def __init__(self, client: Client, genesis: Genesis, registry: Registry, keep: Keep | None = None) -> None:
        self._client = client
        self._keep = keep
        self._genesis = genesis
        self._registry = registry
        self._epochs = KnownEpochs(client, genesis)
        self.oldest: Header | None = None

    async def __call__(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        """The answer. Raises RefusedError as ``query_proven`` does."""
        called = (contract, method, args)
        proven = await query_proven(self._client, self._genesis, self._registry, *called, self._epochs, self._keep)
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
    epochs: KnownEpochs | None = None,
    keep: Keep | None = None,
) -> Proven:
    """Ask a contract and check the answer: the node sends what the query read, with proofs and the certificate of
    its head; the query is run here, on that. ``genesis``: the caller's own copy; ``epochs``: what an earlier call with
    the same genesis has learnt; ``keep``: is given the evidence, of a refusal too.

    Raises RefusedError: "bad-proof"; "bad-epochs"; "not-provable" for queries that scan; "no-block" before block 1;
    what the node is too busy for; and what the rules refuse with, of which the node's word is no proof: the query
    refuses here.
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
    epochs = epochs or KnownEpochs(client, genesis)
    known = await epochs.up_to(header.epoch)
    refusal = None
    try:
        value = proven_answer(
            registry, genesis.chain, known, header, certificate, answer.reads, contract, method, args or {}
        )
    except ContractError as error:
        refusal = error
    if keep is not None:
        keep(contract, method, args or {}, answer, epochs.boundaries)
    if refusal is not None:
        raise RefusedError(refusal.code, refusal.message) from refusal
    return Proven(value, header)
