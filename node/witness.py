"""Queries and their proofs: how a node answers, and how a client checks the answer without trusting it.

A query is a function of the state. A proven answer comes with every state entry that the query read, each
with its Merkle proof under the head's ``state_root``. The client checks the header's certificate, then the
proofs, and runs the same query over the proven entries itself: the node's word is never needed. Only queries
that read single keys can be proven; a scan could leave entries out.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from chaincode.contract import ContractError, State, Value
from chaincode.registry import Registry
from node.epochs import header_fault
from node.errors import CodecError, RefusedError, WattError
from node.ledger.reading import LOCAL_STEPS, ReadOnlyState, query_context
from node.ledger.state import WorldState
from node.light import BLIND_BYTES, verify_proof
from node.model.block import Header
from node.model.certificate import Certificate
from node.model.codec import decode
from node.model.epoch import Epoch
from node.model.keys import Verify, verify

MAX_PROVEN_READS = 1024

UNPROVEN_REFUSALS = frozenset(
    (
        "unknown-contract",
        "unknown-method",
        "bad-args",
        "not-provable",
        "step-limit",
        "too-much",
        "read-only",
        "internal",
    )
)
"""What a query is refused with before or beside the rules. Every other refusal follows from what was read, so it comes
with proofs as an answer does, and whoever asked is refused by running the query."""

Read: TypeAlias = tuple[bytes, bytes | None, tuple[bytes, ...]]
"""A state key, its encoded value behind its blind or None if it has none, and the proof of that."""

_TABLE: Final = re.compile(rb"[a-z][a-z-]{0,47}")
_SHOWN_BYTES: Final = 128

_logger = logging.getLogger(__name__)


class LeftOutError(RefusedError):
    """Something that an answer needs is missing from what the node sends: it is no answer, and not a wrong one."""


class RecordingState(ReadOnlyState):
    """The same, and remembers which keys were read, in order, in ``reads``; scans are "not-provable"."""

    def __init__(self, state: WorldState, rows: int | None = None) -> None:
        super().__init__(state, rows)
        self.reads: dict[bytes, None] = {}

    def get(self, key: bytes) -> Value:
        self.reads[key] = None
        if len(self.reads) > MAX_PROVEN_READS:
            raise ContractError("not-provable", f"the query reads more than {MAX_PROVEN_READS} entries")
        return super().get(key)

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, Value]]:
        raise ContractError("not-provable", "the query scans the state")


def entry_name(key: bytes) -> str:
    """A state's key for people: its table, and the rest in hex: ``auction/00000000000cb1a0``. What has no table, or is
    longer than any key of ours, is whatever a liar sent: the beginning of it, in hex."""
    table, slash, rest = key.partition(b"/")
    if slash and _TABLE.fullmatch(table):
        return f"{table.decode()}/{_hex(rest)}"
    return _hex(key)


def _hex(raw: bytes) -> str:
    return raw.hex() if len(raw) <= _SHOWN_BYTES else f"{raw[:_SHOWN_BYTES].hex()}..."


class _ProvenState(ReadOnlyState):
    """Entries whose proofs have been checked, and nothing else."""

    def __init__(self, entries: Mapping[bytes, Value]) -> None:
        self._entries = entries

    def get(self, key: bytes) -> Value:
        if key not in self._entries:
            raise LeftOutError("bad-proof", f"the query reads {entry_name(key)}, which the node leaves out")
        return self._entries[key]

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, Value]]:
        raise ContractError("not-provable", "the query scans the state")


def run_query(
    registry: Registry,
    head: Header,
    state: State,
    contract: str,
    method: str,
    args: Mapping[str, Any],
    sender: bytes = b"",
    steps: int = LOCAL_STEPS,
) -> Value:
    """Run a query over ``state``. Raises ContractError; "internal" for a mistake in the contract, which is logged."""
    try:
        return registry.call(query_context(head, state, sender, steps), contract, method, args, "query")
    except (ContractError, WattError, OSError, MemoryError):
        raise
    except Exception as error:
        _logger.exception("a mistake in the query %s.%s", contract, method)
        raise ContractError("internal", f"{contract}.{method} failed") from error


def proven_answer(
    registry: Registry,
    chain: bytes,
    epochs: Sequence[Epoch],
    header: Header,
    certificate: Certificate,
    reads: Sequence[Read],
    contract: str,
    method: str,
    args: Mapping[str, Any],
    sender: bytes = b"",
    verifier: Verify = verify,
) -> Value:
    """The answer to a query as the client computes it from proven entries; who sent them does not matter.

    ``epochs``: those that are proven, epoch 0 first (``node/epochs.py``). The answer is that of the block ``header``;
    whether that is recent, its height and time say. Raises
    RefusedError("bad-proof") if anything does not hold, ContractError if the query refuses.
    """
    fault = header_fault(chain, epochs, header, certificate, verifier)
    if fault is not None:
        raise RefusedError("bad-proof", fault)
    return answer_of(registry, header, reads, contract, method, args, sender)


def answer_of(
    registry: Registry,
    header: Header,
    reads: Sequence[Read],
    contract: str,
    method: str,
    args: Mapping[str, Any],
    sender: bytes = b"",
) -> Value:
    """``proven_answer`` for a header that has been proven already."""
    entries = {}
    for key, value, proof in reads:
        if not verify_proof(header.state_root, key, value, proof):
            raise RefusedError("bad-proof", f"the entry {entry_name(key)} is not proven")
        try:
            entries[key] = None if value is None else decode(value[BLIND_BYTES:])
        except CodecError as error:
            raise RefusedError("bad-proof", f"the entry {entry_name(key)} holds no value: {error}") from error
    state = _ProvenState(entries)
    return run_query(registry.at(state.get), header, state, contract, method, args, sender)
