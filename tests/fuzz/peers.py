"""What peers send: frames, statements, and what a whole replica makes of them."""

import contextlib
from functools import cache

from node.consensus.messages import Forward, Message, Signed
from node.consensus.replica import Anchor, Replica, Settings
from node.consensus.settings import Memory
from node.consensus.statements import (
    Commit,
    Prepare,
    PrePrepare,
    Statement,
    Suspect,
    ViewChange,
    decode_statement,
    encode_statement,
)
from node.errors import CodecError, ConfigError, PeerError
from node.model.block import decode_batch, decode_header, encode_header
from node.model.certificate import decode_certificate, encode_certificate
from node.model.codec import decode, encode
from node.model.epoch import Boundary, decode_boundary, encode_boundary
from node.model.transaction import decode_transaction
from node.transport.tls import certificate_der, make_certificate
from node.transport.wire import Hello, decode_frame, encode_hello, encode_message
from tests.consensus.harness import CHAIN, GENESIS_HASH, Cluster, plain_verify
from tests.consensus.proofs import KEYS, MEMBERS, A, new_view, prepared, stable
from tests.fuzz.targets import target
from tests.ledger.chains import Chain, certify

PEER = 1


@cache
def _chain() -> Chain:
    chain = Chain()
    chain.add(chain.tx(0, 1, "add", name="k", amount=1), chain.tx(1, 1, "add", name="k", amount=2))
    return chain


def _statements() -> tuple[Statement, ...]:
    change = ViewChange(1, stable(2), (prepared(0, 3, A),))
    changes = dict.fromkeys((0, 1, 2), change)
    votes = (PrePrepare(0, 1, A), Prepare(0, 1, A), Commit(0, 1, A))
    return (*votes, Suspect(0), change, ViewChange(1, None, ()), new_view(changes, 1)[1])


def _encoded() -> tuple[bytes, ...]:
    return tuple(encode_statement(statement, CHAIN, 0) for statement in _statements())


@target(PeerError, seeds=_encoded)
def statement(data: bytes) -> None:
    encode_statement(decode_statement(data, CHAIN, 0), CHAIN, 0)


@cache
def _traffic() -> tuple[tuple[int, Message], ...]:
    """All that members say to member 0 while a few blocks are made, a view changes, and one catches up."""
    cluster = Cluster(4, timeout_ticks=4)
    cluster.is_traced = False
    heard: list[tuple[int, Message]] = []

    def passes(sender: int, to: int, message: Message) -> bool:
        if to == 0:
            heard.append((sender, message))
        return True

    cluster.passes = passes
    for _ in range(3):
        cluster.propose(0)
        cluster.deliver()
    cluster.passes = lambda sender, to, message: passes(sender, to, message) and to != 0
    cluster.tick(count=40, pending=True)
    cluster.propose(cluster.replica(1).primary)
    cluster.deliver()
    cluster.passes = passes
    cluster.tick(count=20)
    for member in (2, 0):
        cluster.crash(member)
        cluster.restart(member)
        cluster.tick(count=20)
    return tuple(heard)


@cache
def _frames() -> tuple[bytes, ...]:
    by_kind: dict[str, list[bytes]] = {}
    for _, message in _traffic():
        kind = type(message).__name__
        if isinstance(message, Signed):
            kind = type(decode_statement(message.data, CHAIN, 0)).__name__
        by_kind.setdefault(kind, []).append(encode_message(message))
    raw = _chain().tx(2, 1, "add", name="k", amount=1).raw
    hello, forward = encode_hello(Hello(CHAIN, "member-1")), encode_message(Forward((raw, raw)))
    frames = [frame for frames in by_kind.values() for frame in (*frames[:3], b"".join(frames[:5]))]
    return (hello, forward, *frames)


@target(PeerError, seeds=_frames)
def frame(data: bytes) -> None:
    decode_frame(data)


def _of_peer(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """The peer signs whatever it sends; others' signatures are their own."""
    return public_key == MEMBERS[PEER] or plain_verify(public_key, message, signature)


@target(PeerError, seeds=_frames)
def replica(data: bytes) -> None:
    """A faulty peer with its key: each message of the frame is dropped or obeyed, and the replica goes on; one that
    votes, and one that has lost its memory and asks."""
    messages = [message for message in decode_frame(data) if not isinstance(message, Hello | Forward)]
    for memory in (Memory.CONTINUED, Memory.LOST):
        core = Replica(Settings(CHAIN, 0, MEMBERS, 0), KEYS[0], _of_peer, Anchor(0, GENESIS_HASH, None), [], memory)
        for message in messages:
            _step(core, message)
        core.log_snapshot()


def _step(core: Replica, message: Message) -> None:
    """As a driver does it."""
    with contextlib.suppress(PeerError):
        core.step(PEER, message)
    ready = core.ready()
    for validate in ready.validate:
        core.validated(validate.digest, True)
    for execute in ready.execute:
        core.executed(execute.height, execute.batch_digest, execute.parent_hash, A)
    core.tick(pending=True, overdue=False)
    core.ready()


@target(CodecError, seeds=lambda: (_chain().ledger.block(1).body,))  # type: ignore[union-attr]
def batch(data: bytes) -> None:
    decode_batch(data)


@target(CodecError, seeds=lambda: tuple(_chain().tx(0, n, "add", name="k", amount=n).raw for n in (2, 300)))
def transaction(data: bytes) -> None:
    decode_transaction(data)


@target(CodecError, seeds=lambda: (encode_header(_chain().ledger.head),))
def header(data: bytes) -> None:
    assert encode_header(decode_header(data)) == data


@target(CodecError, seeds=lambda: (encode_certificate(stable(3)),))
def certificate(data: bytes) -> None:
    assert encode_certificate(decode_certificate(data)) == data


def _boundary() -> tuple[bytes, ...]:
    chain = _chain()
    head, proof = encode_header(chain.ledger.head), encode_certificate(certify(chain.execute()))
    return (encode_boundary(Boundary(head, proof, chain.genesis.epoch.members)),)


@target(CodecError, seeds=_boundary)
def boundary(data: bytes) -> None:
    assert encode_boundary(decode_boundary(data)) == data


@target(CodecError, seeds=lambda: (encode((None, True, -1, 2**64 - 1, "text", b"bytes", ((), (1,)))),))
def value(data: bytes) -> None:
    assert encode(decode(data)) == data


@target(ConfigError, seeds=lambda: (make_certificate("north")[1],))
def peer_certificate(data: bytes) -> None:
    certificate_der(data.decode("ascii", "replace"))
