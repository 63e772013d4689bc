"""Queries whose answer needs no trust in the node that gives it, and what becomes of a node that deserves none.

The node sends what the query read, with proofs and the certificate of its head (``node/witness.py``); all of it is
checked by ``node/light.py``, and the query is run here. What a node does wrong has a code, and the node is named:

| code | the node |
| --- | --- |
| lying-node | sends what its proofs or signatures do not show, or refuses what the rules do not |
| truncating-node | leaves out entries that the query reads, or who the members are |
| stale-node | shows a block older than one that was seen before, or older than is accepted |
| other-chain | is of another chain than the genesis document |
| forked-chain | shows a certified block where another certified one was seen: the members have broken the chain |
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from chaincode.contract import ContractError, Value
from chaincode.registry import Registry
from node.errors import RefusedError
from node.gateway.client import Client, Evidence
from node.gateway.codes import RETRY_MS, UNREACHABLE, UNTRUSTED
from node.light import Epoch, LightChain, LightError, read_header
from node.model.block import Header, decode_header
from node.model.genesis import Genesis, dump_genesis
from node.witness import MAX_PROVEN_READS, UNPROVEN_REFUSALS, LeftOutError, answer_of

T = TypeVar("T")

_UNREAD: Final = frozenset(("not-allowed", "sign-first", "stale-read", "bad-read-signature"))
"""What a node refuses with that does not let the reader read: its word, and no proof of anything."""
_NOT_BY_THE_RULES: Final = UNPROVEN_REFUSALS.union(
    RETRY_MS,
    _UNREAD,
    (UNREACHABLE, UNTRUSTED, "stopping", "malformed", "oversize", "out-of-range", "no-block", "unknown-call"),
)
_FAULTS: Final = {
    "bad-proof": "lying-node",
    "bad-epochs": "lying-node",
    "bad-answer": "lying-node",
    "stale": "stale-node",
    "other-chain": "other-chain",
    "forked": "forked-chain",
}
"""What is wrong with an answer -> what that makes of the node that sent it."""
_NEVER_ASKED_AGAIN: Final = frozenset((UNREACHABLE, UNTRUSTED, *RETRY_MS))
STALE_PATIENCE_S: Final = 2.0
"""So long a node may take to get to a block that was seen elsewhere."""
_STALE_PAUSE_S: Final = 0.25


Keep: TypeAlias = Callable[[str, str, Mapping[str, Any], Evidence, Sequence[bytes]], None]
"""Is given every question with the evidence of its answer, when that has been checked, and the boundaries so far."""


class Proven(NamedTuple):
    """An answer, and the block whose state it is true of: whether that is recent, its time and height say."""

    value: Value
    header: Header


class RuledError(RefusedError):
    """What the rules refuse with, proven as an answer is."""


class KnownEpochs:
    """What is known of a chain, ``light``, and how more is learnt of whichever node answers: proven from the genesis
    on, or from what was known before. ``not_before``: the block time from which on blocks are accepted."""

    def __init__(
        self, client: Client, genesis: Genesis, light: LightChain | None = None, not_before: int | None = None
    ) -> None:
        self._client = client
        self._not_before = not_before
        self._has_asked = False
        self.light = LightChain(dump_genesis(genesis)) if light is None else light

    @property
    def boundaries(self) -> list[bytes]:
        """What proves the epochs, the first one epoch 1."""
        return self.light.boundaries

    async def up_to(self, number: int) -> Sequence[Epoch]:
        """The epochs as far as they are known, ``number`` among them; at the first call, all that there are.

        Raises RefusedError("bad-epochs"); LeftOutError if the node says too little of them.
        """
        epochs = self.light.epochs
        while not self._has_asked or number >= len(epochs):
            answer = await self._client.boundaries(len(epochs))
            for data in answer:
                try:
                    self.light.add_epoch(data)
                except LightError as error:
                    code = error.code if error.code in _FAULTS else "bad-epochs"
                    raise RefusedError(code, f"epoch {len(epochs)} is not proven: {error.message}") from error
            if not answer and number >= len(epochs):
                raise LeftOutError("bad-epochs", f"the node does not prove who the members of epoch {number} are")
            self._has_asked = self._has_asked or not answer
        return epochs

    async def accepted(self, header: bytes, certificate: bytes) -> Header:
        """The header that the certificate proves. Raises RefusedError: "bad-proof", "stale", "other-chain", "forked",
        and as ``up_to`` does."""
        try:
            shown = read_header(header)
            if shown.chain == self.light.chain:
                await self.up_to(shown.epoch)
            self.light.accept(header, certificate, self._not_before)
        except LightError as error:
            code = error.code if error.code in _FAULTS else "bad-proof"
            raise RefusedError(code, error.message) from error
        return decode_header(header)


class ProvenReader:
    """Reads as ``query_proven`` does, for whoever asks many questions. A node whose answer does not hold is named, to
    ``tell`` if the next one in the client's list can answer, else in the error. ``oldest``: the lowest of the blocks
    that the answers are true of, None before the first; ``keep``: is given all evidence."""

    def __init__(
        self,
        client: Client,
        genesis: Genesis,
        registry: Registry,
        keep: Keep | None = None,
        known: KnownEpochs | None = None,
        tell: Callable[[RefusedError], None] | None = None,
    ) -> None:
        self._client = client
        self._keep = keep
        self._tell = tell
        self._genesis = genesis
        self._registry = registry
        self._known = known or KnownEpochs(client, genesis)
        self.oldest: Header | None = None

    async def __call__(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        """The answer. Raises RefusedError: a code of the module's table, if no node in the list deserves trust; what
        the rules refuse with; what every node refuses to answer with."""
        called = (self._client, self._genesis, self._registry, contract, method, args, self._known, self._keep)
        proven = await self._of_any(lambda: query_proven(*called))
        if self.oldest is None or proven.header.height < self.oldest.height:
            self.oldest = proven.header
        return proven.value

    async def head(self) -> Header | None:
        """The newest block that a node shows, None if it has none with a certificate. Raises RefusedError as a question
        does."""
        return await self._of_any(self._head)

    async def _head(self) -> Header | None:
        height = (await self._client.node_info()).height
        if height < 1:
            return None
        block = await self._client.block(height)
        return await self._known.accepted(block.header, block.certificate)

    async def _of_any(self, asked: Callable[[], Awaitable[T]]) -> T:
        """The answer of the first node in the list that gives one that holds."""
        tried = 0
        while True:
            try:
                return await _patiently(asked)
            except RuledError:
                raise
            except RefusedError as error:
                tried += 1
                fault = await self._named(error) if error.code in _FAULTS else error
                is_word = error.code in _NOT_BY_THE_RULES and error.code not in _NEVER_ASKED_AGAIN
                if not (is_word or fault is not error) or tried >= len(self._client.addresses):
                    raise fault from error
                if fault is not error and self._tell is not None:
                    self._tell(fault)
                self._client.turn_away()

    async def _named(self, error: RefusedError) -> RefusedError:
        """The fault with the node's address and the name that it gives itself, of which there is no proof here."""
        address = self._client.address
        try:
            name = f"{address}, which says it is {(await self._client.node_info()).member[:48]}"
        except RefusedError:
            name = address
        code = "truncating-node" if isinstance(error, LeftOutError) else _FAULTS[error.code]
        return RefusedError(code, f"{name}: {error.message}")


async def _patiently(asked: Callable[[], Awaitable[T]]) -> T:
    """One question to one node; one that is behind may catch up."""
    patience_s = STALE_PATIENCE_S
    while True:
        try:
            return await asked()
        except RefusedError as error:
            if error.code != "stale" or isinstance(error, RuledError) or patience_s <= 0:
                raise
        await asyncio.sleep(_STALE_PAUSE_S)
        patience_s -= _STALE_PAUSE_S


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

    Raises RefusedError: "bad-proof" and "bad-epochs" (LeftOutError if something is missing); "stale", "other-chain",
    "forked"; "not-provable" for queries that scan; "no-block" before block 1; what the node is too busy for, or does
    not let the reader know; and what the rules refuse with, of which the node's word is no proof: the query refuses
    here.
    """
    try:
        answer = await client.query_evidence(contract, method, args)
    except RefusedError as error:
        if error.code in _NOT_BY_THE_RULES:
            raise
        raise RefusedError("bad-proof", f"it refuses with {error.code[:48]}, and does not prove it") from error
    if not answer.certificate:
        raise RefusedError("no-block", "the node has no block with a certificate yet")
    if len(answer.reads) > MAX_PROVEN_READS:
        raise RefusedError("bad-proof", f"the answer has {len(answer.reads)} entries")
    known = epochs or KnownEpochs(client, genesis)
    header = await known.accepted(answer.header, answer.certificate)
    refusal = None
    try:
        value = answer_of(registry, header, answer.reads, contract, method, args or {})
    except ContractError as error:
        refusal = error
    if keep is not None:
        keep(contract, method, args or {}, answer, known.boundaries)
    if refusal is not None:
        raise RuledError(refusal.code, refusal.message) from refusal
    return Proven(value, header)
