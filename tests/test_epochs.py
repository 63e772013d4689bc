"""From the genesis document alone: who the members were, and that no lie about it passes."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode.contract import ContractError
from node.audit import verify_chain
from node.epochs import header_fault, verified_epochs
from node.errors import NodeFault, RefusedError
from node.gateway.client import Client, Evidence
from node.gateway.proven import KnownEpochs, ProvenReader, query_proven
from node.ledger import layout
from node.ledger.layout import at_height
from node.model.block import decode_header, encode_header
from node.model.certificate import Certificate, decode_certificate, encode_certificate
from node.model.epoch import Boundary, Epoch, Validator, decode_boundary, encode_boundary
from node.model.keys import verify
from tests.chaincode.town import pem
from tests.ledger.epoch_chains import EpochChain, certify, certify_header, joining, key_of, make_genesis


def grown() -> EpochChain:
    """Three epochs: eve is added, then ada has a new key, then bob leaves; the head is the last one's second block."""
    chain = EpochChain()
    chain.grow_to(chain.decide("add", "eve", "ada", "bob", "cyd", **joining("eve")))
    rotated = {"public_key": key_of("new ada").public_key, "tls_certificate": pem("new ada").encode()}
    chain.grow_to(chain.decide("rotate", "ada", "bob", "cyd", "dan", "eve", **rotated))
    chain.grow_to(chain.decide("remove", "bob", "ada", "cyd", "dan", "eve") + 1)
    return chain


CHAIN = grown()
LEDGER, GENESIS = CHAIN.ledger, CHAIN.genesis
EPOCHS = LEDGER.epochs()
BOUNDARIES = LEDGER.boundaries()


def test_boundaries_prove_every_epoch_from_the_genesis_on() -> None:
    """Checklist 47: certificates are checked with the members of their own height."""
    assert verified_epochs(GENESIS, BOUNDARIES, verify) == EPOCHS
    assert verified_epochs(GENESIS, (), verify) == (GENESIS.epoch,)
    assert [len(epoch.members) for epoch in EPOCHS] == [4, 5, 5, 4]
    for boundary in BOUNDARIES:
        assert decode_boundary(encode_boundary(boundary)) == boundary


def edited(boundary: Boundary, **header: Any) -> Boundary:
    """The boundary with another header, whose certificate is of the true one."""
    return msgspec.structs.replace(
        boundary, header=encode_header(msgspec.structs.replace(decode_header(boundary.header), **header))
    )


def resigned(boundary: Boundary, by: Epoch, signers: int | None = None, **header: Any) -> Boundary:
    """Another header, certified by members of an epoch."""
    changed = msgspec.structs.replace(decode_header(boundary.header), **header)
    certificate = certify_header(changed, by, signers)
    return Boundary(encode_header(changed), encode_certificate(certificate), boundary.members)


FRIENDS = (*EPOCHS[1].members[:3], Validator("mallory", key_of("eve").public_key.hex(), pem("mallory")))
FIRST, SECOND = BOUNDARIES[0], BOUNDARIES[1]

LIES: dict[str, tuple[Boundary, ...]] = {
    "other members": (msgspec.structs.replace(FIRST, members=FRIENDS),),
    "members in another order": (msgspec.structs.replace(FIRST, members=FIRST.members[::-1]),),
    "another certificate of a member": (
        msgspec.structs.replace(
            FIRST, members=(msgspec.structs.replace(FIRST.members[0], tls_certificate=pem("x")), *FIRST.members[1:])
        ),
    ),
    "a key that is none": (
        msgspec.structs.replace(
            FIRST, members=(msgspec.structs.replace(FIRST.members[0], public_key="zz"), *FIRST.members[1:])
        ),
    ),
    "a key in capitals": (
        msgspec.structs.replace(
            FIRST,
            members=(
                msgspec.structs.replace(FIRST.members[0], public_key=FIRST.members[0].public_key.upper()),
                *FIRST.members[1:],
            ),
        ),
    ),
    "an edited header": (edited(FIRST, time=5),),
    "no header": (msgspec.structs.replace(FIRST, header=b"\x00"),),
    "no certificate": (msgspec.structs.replace(FIRST, certificate=b""),),
    "one left out": (BOUNDARIES[1],),
    "one twice": (FIRST, FIRST),
    "the certificate of another block": (msgspec.structs.replace(FIRST, certificate=SECOND.certificate),),
    "too few votes": (resigned(FIRST, EPOCHS[0], signers=2),),
    "signed by the members of the next epoch": (resigned(FIRST, EPOCHS[1]),),
    "another chain": (resigned(FIRST, EPOCHS[0], chain=bytes(32)),),
    "an old epoch beyond its end": (FIRST, resigned(SECOND, EPOCHS[0], epoch=0, members_hash=EPOCHS[0].hash)),
    "a block within an epoch": (resigned(FIRST, EPOCHS[0], next_members_hash=EPOCHS[0].hash),),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_no_lie_about_members_passes(lie: tuple[Boundary, ...]) -> None:
    """Checklist 47: nothing of a new epoch is accepted without the last certificate of the old."""
    with pytest.raises(RefusedError, match="bad-epochs"):
        verified_epochs(GENESIS, lie, verify)


@pytest.mark.parametrize("data", [b"", b"\x93", b"garbage", encode_boundary(FIRST) + b"x", encode_boundary(FIRST)[:-1]])
def test_what_is_no_boundary(data: bytes) -> None:
    with pytest.raises(RefusedError):
        decode_boundary(data)


@settings(max_examples=150, deadline=None)
@given(
    turn=st.integers(0, 2),
    at=st.integers(0, 10_000),
    byte=st.integers(0, 255),
    cut=st.booleans(),
)
def test_a_damaged_boundary_proves_nothing_else(turn: int, at: int, byte: int, cut: bool) -> None:
    """Checklist 53: whatever a node sends is refused by its code, or is the truth."""
    told = [encode_boundary(boundary) for boundary in BOUNDARIES]
    at %= len(told[turn])
    told[turn] = told[turn][:at] + (b"" if cut else bytes([byte])) + told[turn][at + 1 :]
    try:
        assert verified_epochs(GENESIS, [decode_boundary(data) for data in told], verify) == EPOCHS
    except RefusedError as refusal:
        assert refusal.code in ("bad-epochs", "malformed", "non-canonical")


def header_and_certificate(height: int) -> tuple[Any, Certificate]:
    block, certificate = LEDGER.block(height), LEDGER.certificate(height)
    assert block is not None and certificate is not None
    return block.header, certificate


def test_each_block_is_certified_in_its_own_epoch_and_in_no_other() -> None:
    """Checklist 47: replayed across a boundary a certificate is worth nothing, also if the same members sign."""
    for epoch in EPOCHS:
        header, certificate = header_and_certificate(epoch.first_height)
        assert header.epoch == epoch.number
        assert header_fault(GENESIS.chain, EPOCHS, header, certificate, verify) is None
        for other in EPOCHS:
            if other == epoch:
                continue
            elsewhere = msgspec.structs.replace(header, epoch=other.number, members_hash=other.hash)
            named = msgspec.structs.replace(certificate, epoch=other.number)
            moved = msgspec.structs.replace(named, block_hash=elsewhere.hash)
            for claim in ((header, named), (elsewhere, certificate), (elsewhere, named), (elsewhere, moved)):
                assert header_fault(GENESIS.chain, EPOCHS, *claim, verify) is not None
    header, certificate = header_and_certificate(EPOCHS[1].first_height)
    fault = header_fault(GENESIS.chain, EPOCHS[:1], header, certificate, verify)
    assert fault is not None and "not proven" in fault


def test_f_is_recomputed() -> None:
    """Checklist 48: five members need four votes; the fifth member's vote counts from its first block on."""
    header, certificate = header_and_certificate(EPOCHS[1].first_height)
    fewer = msgspec.structs.replace(certificate, votes=certificate.votes[1:4])
    assert header_fault(GENESIS.chain, EPOCHS, header, fewer, verify) == "3 votes, a quorum is 4"
    assert certificate.votes[-1][0] == 4


def test_an_audit_goes_through_all_epochs() -> None:
    """Checklist 47."""
    report = verify_chain(CHAIN.store, GENESIS, CHAIN.registry)
    assert report.height == CHAIN.height
    last = EPOCHS[1].first_height - 1
    _, certificate = header_and_certificate(last)
    liar = msgspec.structs.replace(FIRST, members=FRIENDS)
    damages: dict[str, dict[bytes, bytes | None]] = {
        "its certificate does not hold": {
            at_height(layout.CERTIFICATE, EPOCHS[1].first_height): encode_certificate(certificate)
        },
        "the boundary of an epoch differs": {at_height(layout.BOUNDARY, 1): encode_boundary(liar)},
        "the boundary of an epoch": {at_height(layout.BOUNDARY, 2): None},
    }
    for why, puts in damages.items():
        damaged = cast("Any", CHAIN.store).copy()
        damaged.write(puts)
        with pytest.raises(RefusedError, match=why):
            verify_chain(damaged, GENESIS, CHAIN.registry)


def test_an_old_member_cannot_certify_what_comes_after() -> None:
    """Checklist 47: the ledger's own certificates; a removed member's vote is none."""
    chain = grown()
    execution = chain.execute()
    old = certify(execution, EPOCHS[2])
    assert header_fault(chain.genesis.chain, chain.ledger.epochs(), execution.block.header, old, verify) is not None
    with pytest.raises(NodeFault, match="wrong-block"):
        chain.ledger.commit(execution, msgspec.structs.replace(old, block_hash=bytes(32)))


class Node:
    """What a client sees of a node, without the network; ``lie`` edits what it says of epochs."""

    def __init__(self, chain: EpochChain, lie: Callable[[tuple[bytes, ...]], tuple[bytes, ...]] | None = None) -> None:
        self.chain = chain
        self.lie = lie
        self.asked: list[int] = []

    async def boundaries(self, first: int) -> tuple[bytes, ...]:
        self.asked.append(first)
        told = tuple(encode_boundary(boundary) for boundary in self.chain.ledger.boundaries(first, most=1))
        return told if self.lie is None else self.lie(told)

    async def query_evidence(self, contract: str, method: str, args: Any) -> Evidence:
        ledger = self.chain.ledger
        _, reads = self.chain.executor.query_proven(contract, method, args or {})
        assert ledger.head_certificate is not None
        return Evidence(encode_header(ledger.head), encode_certificate(ledger.head_certificate), reads)


def ask(node: Node) -> Any:
    called = (cast("Client", node), node.chain.genesis, node.chain.registry, "governance", "validators", {"epoch": 0})
    return asyncio.run(query_proven(*called)).value


def test_a_client_learns_the_epochs_by_itself_and_remembers_them() -> None:
    chain = grown()
    node = Node(chain)
    assert ask(node)[0] == 0 and node.asked == [1, 2, 3, 4]

    async def often() -> None:
        read = ProvenReader(cast("Client", node), chain.genesis, chain.registry)
        for _ in range(3):
            await read("governance", "validators", {})
        assert node.asked == [1, 2, 3, 4]
        chain.grow_to(chain.decide("add", "fay", "ada", "cyd", "dan", **joining("fay")))
        answer = await read("governance", "validators", {})
        assert cast("Any", answer)[0] == 4 and node.asked == [1, 2, 3, 4, 4]

    node.asked = []
    asyncio.run(often())


def test_a_node_that_lies_about_epochs_is_found_out() -> None:
    lies: list[Callable[[tuple[bytes, ...]], tuple[bytes, ...]]] = [
        lambda told: (),
        lambda told: (b"garbage",),
        lambda told: (encode_boundary(msgspec.structs.replace(FIRST, members=FRIENDS)),),
        lambda told: (encode_boundary(SECOND),),
        lambda told: (encode_boundary(FIRST),),
    ]
    for lie in lies:
        with pytest.raises(RefusedError, match="bad-epochs"):
            ask(Node(CHAIN, lie))


def test_before_the_first_change_there_is_nothing_to_learn() -> None:
    chain = EpochChain()
    chain.add()
    node = Node(chain)
    assert ask(node)[0] == 0 and node.asked == [1]
    known = KnownEpochs(cast("Client", node), chain.genesis)
    with pytest.raises(RefusedError, match="bad-epochs"):
        asyncio.run(known.up_to(1))


def test_without_governance_a_refusal_is_proven_too() -> None:
    chain = EpochChain(genesis=make_genesis(governed=False))
    chain.add()
    with pytest.raises((RefusedError, ContractError), match="no-governance"):
        ask(Node(chain))


def test_a_certificate_is_of_the_epoch_that_it_names() -> None:
    assert decode_certificate(FIRST.certificate).epoch == 0
    assert decode_certificate(SECOND.certificate).epoch == 1
