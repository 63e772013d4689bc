"""What clients send to a gateway, and what a node may answer to a client, who does not trust it."""

from functools import cache
from typing import Any

import msgspec
from google.protobuf.message import DecodeError, Message

from chaincode.contract import ContractError
from chaincode.registry import Registry, default_registry
from node.control import _requests
from node.errors import CodecError, RefusedError
from node.gateway import answers
from node.gateway.service import _decode_args
from node.limits import QUERY_ROWS, QUERY_STEPS
from node.model.block import decode_header, encode_header
from node.model.certificate import decode_certificate, encode_certificate
from node.model.codec import encode
from node.model.keys import SigningKey, verify
from node.model.transaction import decode_transaction, sign_transaction
from node.snapshot.offer import Offer, Trust, checked_offer
from node.witness import proven_answer
from protos import gateway_pb2 as pb
from tests.chaincode.samples import Plain, Sample
from tests.fuzz.targets import target
from tests.ledger.chains import Chain


@cache
def _chain() -> Chain:
    chain = Chain()
    chain.add(chain.tx(0, 1, "add", name="k", amount=1), chain.tx(1, 1, "add", name="total", amount=2))
    return chain


REQUESTS: tuple[type[Message], ...] = (
    pb.SubmitRequest,
    pb.SubmitManyRequest,
    pb.StatusRequest,
    pb.QueryRequest,
    pb.NonceRequest,
    pb.BlockRequest,
    pb.SubscribeRequest,
    pb.NodeInfoRequest,
    pb.SnapshotsRequest,
    pb.SnapshotChunkRequest,
    pb.BlocksRequest,
    pb.EpochsRequest,
)


def _requests_sent() -> tuple[bytes, ...]:
    raw = _chain().tx(0, 2, "add", name="k", amount=1).raw
    args = msgspec.msgpack.encode({"name": "total"})
    sent: tuple[Message, ...] = (
        pb.SubmitRequest(transaction=raw),
        pb.SubmitManyRequest(transactions=[raw, raw]),
        pb.StatusRequest(id=bytes(32), wait_ms=1),
        pb.QueryRequest(contract="sample", method="count", args=args, proven=True),
        pb.SubscribeRequest(from_height=1),
    )
    return tuple(request.SerializeToString() for request in sent)


@target(DecodeError, seeds=_requests_sent)
def request(data: bytes) -> None:
    """gRPC hands bytes to the generated code, and ``guard.py`` takes its DecodeError."""
    for kind in REQUESTS:
        kind.FromString(data)


def _queries() -> tuple[bytes, ...]:
    calls: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("sample", "count", {"name": "total"}),
        ("sample", "book", {}),
        ("none", "count", {}),
    )
    return tuple(
        pb.QueryRequest(contract=c, method=m, args=msgspec.msgpack.encode(a), proven=p).SerializeToString()
        for c, m, a in calls
        for p in (False, True)
    )


@target(DecodeError, ContractError, RefusedError, seeds=_queries)
def query(data: bytes) -> None:
    """From the request to the answer, as the service does it."""
    asked = pb.QueryRequest.FromString(data)
    args = _decode_args(asked.args)
    executor = _chain().executor
    ask = executor.query_proven if asked.proven else executor.query
    encode(ask(asked.contract, asked.method, args, steps=QUERY_STEPS, rows=QUERY_ROWS))


def _calls() -> tuple[bytes, ...]:
    key, chain = SigningKey(bytes(32)), bytes(32)
    calls: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("market", "place", {"device": "home-1/ev", "side": "buy", "slot": 1, "energy_wh": 1, "price": 1}),
        ("budget", "share", {"giver": "a/b", "receiver": "c/d", "amount": 1}),
        ("settlement", "report", {"device": "a/b", "slot": 1, "import_wh": [1, 2], "export_wh": [b"", None, True]}),
        ("settlement", "collect", {"rows": [["a/b", 1, 2, 3, 4, 5, bytes(64)], ["c/d", 1, 0, 0, 0, 0, b""]]}),
    )
    return tuple(sign_transaction(key, chain, 1, c, m, args, 100).raw for c, m, args in calls)


@cache
def _registry() -> Registry:
    return default_registry()


@target(CodecError, ContractError, seeds=_calls)
def call(data: bytes) -> None:
    """A transaction's call, as the gateway's edge and the mempool look at it."""
    payload = decode_transaction(data).payload
    _registry().check_call(payload.contract, payload.method, payload.args)


@target(
    msgspec.DecodeError,
    UnicodeDecodeError,
    RecursionError,
    seeds=lambda: (b'{"command":"diagnosis"}', b'{"command":"links"}'),
)
def control_request(data: bytes) -> None:
    _requests.decode(data)


def _statuses() -> tuple[bytes, ...]:
    committed = pb.StatusReply(
        state=pb.StatusReply.COMMITTED, height=1, code="ok", details=encode((1, 2)), result=encode(("a", None))
    )
    return (committed.SerializeToString(), pb.StatusReply(state=pb.StatusReply.PENDING).SerializeToString())


@target(DecodeError, RefusedError, seeds=_statuses)
def status_answer(data: bytes) -> None:
    answers.tx_status(pb.StatusReply.FromString(data))


def _info() -> tuple[bytes, ...]:
    return (
        pb.NodeInfoReply(version="1", chain=bytes(32), member="north", height=7, token_decimals=9).SerializeToString(),
    )


@target(DecodeError, RefusedError, seeds=_info)
def info_answer(data: bytes) -> None:
    info = answers.node_info_of(pb.NodeInfoReply.FromString(data))
    assert 0 <= info.token_decimals <= 18


def _events() -> tuple[bytes, ...]:
    event = pb.Event(contract="market", topic="trade", keys=["home-1"], data=encode((1, "a")))
    block = pb.BlockEvents(
        height=1, time=2, hash=bytes(32), transaction_digests=bytes(96), failed=[pb.Refusal(index=1, code="x")],
        events=[event, event],
    )  # fmt: skip
    return (block.SerializeToString(),)


@target(DecodeError, RefusedError, seeds=_events)
def events_answer(data: bytes) -> None:
    found = answers.block_events(pb.BlockEvents.FromString(data))
    assert all(len(digest) == 32 for digest, _ in found.results)


def _answers() -> tuple[bytes, ...]:
    chain = _chain()
    ledger = chain.ledger
    assert ledger.head_certificate is not None
    _, reads = chain.executor.query_proven("sample", "count", {"name": "total"})
    reply = pb.QueryReply(
        value=encode(2), height=1, header=encode_header(ledger.head),
        certificate=encode_certificate(ledger.head_certificate),
    )  # fmt: skip
    answers.put_reads(reply, reads)
    return (reply.SerializeToString(),)


@target(DecodeError, RefusedError, ContractError, seeds=_answers)
def proven_query_answer(data: bytes) -> None:
    """A lying node's proof is refused, or shows what is true."""
    evidence = answers.evidence_of(pb.QueryReply.FromString(data))
    head, proof = decode_header(evidence.header), decode_certificate(evidence.certificate)
    registry, genesis = Registry([Sample(), Plain()]), _chain().genesis
    answer = proven_answer(
        registry, genesis.chain, (genesis.epoch,), head, proof, evidence.reads, "sample", "count", {"name": "total"}
    )
    assert answer == _chain().executor.query("sample", "count", {"name": "total"})


def _offers() -> tuple[bytes, ...]:
    chain = _chain()
    certificate = chain.ledger.head_certificate
    assert certificate is not None
    nodes = (chain.ledger.tree.prove(b"")[0],)
    snapshot = pb.Snapshot(
        header=encode_header(chain.ledger.head), certificate=encode_certificate(certificate), depth=1, nodes=nodes
    )
    return (snapshot.SerializeToString(),)


@target(DecodeError, CodecError, seeds=_offers)
def snapshot_answer(data: bytes) -> None:
    offered = pb.Snapshot.FromString(data)
    genesis = _chain().genesis
    offer = Offer(offered.header, offered.certificate, offered.depth, tuple(offered.nodes))
    checked_offer(offer, Trust(genesis.chain, (genesis.epoch,), verify))
