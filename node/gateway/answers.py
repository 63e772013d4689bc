"""What a node's answers say to a client, who does not trust it: checked as far as their form goes, or refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from chaincode.contract import Event
from node.errors import CodecError, RefusedError
from node.model.codec import Value, decode
from protos import gateway_pb2 as pb

DIGEST_BYTES = 32
MAX_PATH = 64
"""Nodes along the path of a key: its hash has so many hexadecimal digits."""
MAX_DECIMALS = 18
"""Of a token; a node that claims more would have its clients compute without end."""
_STATES = {pb.StatusReply.UNKNOWN: "unknown", pb.StatusReply.PENDING: "pending", pb.StatusReply.COMMITTED: "committed"}


@dataclass(frozen=True, slots=True)
class TxStatus:
    """``state``: "unknown", "pending" or "committed"; then the rest is set. ``code``: "ok" or why it failed.

    ``base``: an unknown transaction may be in a block up to this one, which the node does not have; 0: it has all.
    """

    state: str
    height: int = 0
    code: str = ""
    details: tuple[int, ...] = ()
    result: Value = None
    base: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    """The word of member ``member``, whose chain stood at ``height``; its signature is not checked yet."""

    member: int
    height: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class BulkReply:
    """What became of one request of a stream: refusal codes by position; positions not in it were accepted.
    ``retry_ms``: how long to wait if some were refused for want of room, else 0."""

    refused: dict[int, str]
    retry_ms: int


@dataclass(frozen=True, slots=True)
class BlockEvents:
    """A committed block. ``results``: (transaction's digest, code) in the batch's order, see ``digest_of``; ``time``:
    block time, seconds."""

    height: int
    time: int
    hash: bytes
    results: tuple[tuple[bytes, str], ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Where a node stands. Times are block times in seconds; ``pending``: transactions in its mempool; ``epoch``: of
    the next block; ``member_index``: in that epoch, -1 if the node is no member in it; ``upgrade_missing``: which
    upgrade the node has not got that it will need, "" if there is none."""

    version: str
    chain: bytes
    network: str
    member: str
    member_index: int
    members: int
    height: int
    head_hash: bytes
    state_root: bytes
    head_time: int
    now: int
    epoch: int
    view: int
    primary: int
    pending: int
    connected: tuple[str, ...]
    token_symbol: str
    token_decimals: int
    upgrade_missing: str = ""


@dataclass(frozen=True, slots=True)
class RawBlock:
    """A block's encoded header, body and certificate (``node/model``)."""

    header: bytes
    body: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """The head's encoded header and certificate, and what a query read: (key, entry or None, proof)."""

    header: bytes
    certificate: bytes
    reads: tuple[tuple[bytes, bytes | None, tuple[bytes, ...]], ...]


def tx_status(reply: pb.StatusReply) -> TxStatus:
    """What a node's answer says; like the next three, raises RefusedError("bad-answer") if it says nothing sensible."""
    state = _STATES.get(reply.state)
    if state is None:
        raise RefusedError("bad-answer", f"the node speaks of a state {reply.state}")
    if state != "committed":
        return TxStatus(state, base=reply.base)
    details = decoded(reply.details)
    if type(details) is not tuple or any(type(detail) is not int for detail in details):
        raise RefusedError("bad-answer", "the node's details of a receipt are no integers")
    return TxStatus(state, reply.height, reply.code, cast(tuple[int, ...], details), decoded(reply.result))


def node_info_of(reply: pb.NodeInfoReply) -> NodeInfo:
    """Where the node says that it stands."""
    if not 0 <= reply.token_decimals <= MAX_DECIMALS:
        raise RefusedError("bad-answer", f"the node speaks of a token of {reply.token_decimals} decimals")
    fields = {f: getattr(reply, f) for f in NodeInfo.__dataclass_fields__}
    return NodeInfo(**(fields | {"connected": tuple(reply.connected)}))


def evidence_of(reply: pb.QueryReply) -> Evidence:
    """What came with a proven answer."""
    nodes = tuple(reply.nodes)
    reads = []
    for read in reply.reads:
        if len(read.path) > MAX_PATH or any(place >= len(nodes) for place in read.path):
            raise RefusedError("bad-answer", "the proof of an entry names nodes that the node does not send")
        value = read.value if read.HasField("value") else None
        reads.append((read.key, value, tuple([nodes[place] for place in read.path])))
    return Evidence(reply.header, reply.certificate, tuple(reads))


def put_reads(reply: pb.QueryReply, reads: Iterable[tuple[bytes, bytes | None, Sequence[bytes]]]) -> None:
    """The node's side of it: (key, entry or None, proof) each, into an answer."""
    places: dict[bytes, int] = {}
    for key, value, proof in reads:
        path = [places.setdefault(node, len(places)) for node in proof]
        reply.reads.add(key=key, value=value, path=path)
    reply.nodes.extend(places)


def block_events(block: pb.BlockEvents) -> BlockEvents:
    """A block as a subscription brings it."""
    failed = {refusal.index: refusal.code for refusal in block.failed}
    digests = block.transaction_digests
    if len(digests) % DIGEST_BYTES:
        raise RefusedError("bad-answer", f"{len(digests)} bytes are no list of transactions")
    results = tuple(
        (digests[start : start + DIGEST_BYTES], failed.get(start // DIGEST_BYTES, "ok"))
        for start in range(0, len(digests), DIGEST_BYTES)
    )
    events = tuple(Event(event.contract, event.topic, tuple(event.keys), decoded(event.data)) for event in block.events)
    return BlockEvents(block.height, block.time, block.hash, results, events)


def decoded(data: bytes) -> Value:
    """A value that a node sends."""
    try:
        return decode(data)
    except CodecError as error:
        raise RefusedError("bad-answer", f"the node sends what is no value: {error.message}") from error
