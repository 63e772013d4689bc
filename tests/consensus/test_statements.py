"""What is signed: one encoding each, bound to chain and epoch, and refused when anything in it is changed."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.consensus.messages import Signed
from node.consensus.statements import (
    Commit,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Statement,
    Suspect,
    ViewChange,
    decode_statement,
    encode_statement,
)
from node.errors import PeerError
from node.model.certificate import Certificate, commit_bytes
from node.model.codec import encode
from node.model.keys import TAG_TX_SIGN, TAG_VOTE, SigningKey, verify
from tests.consensus.harness import CHAIN

D1, D2, SIG = b"\x01" * 32, b"\x02" * 32, b"\x03" * 64
PREPARED = PreparedCertificate(2, 6, D1, SIG, ((0, SIG), (3, SIG)))
STABLE = Certificate(0, 1, 5, D2, ((0, SIG), (1, SIG), (2, SIG)))
STATEMENTS: list[Statement] = [
    PrePrepare(1, 2, D1),
    Prepare(1, 2, D1),
    Commit(1, 2, D1),
    Suspect(7),
    ViewChange(3, STABLE, (PREPARED, replace(PREPARED, height=8))),
    ViewChange(1, None, ()),
    NewView(3, (Signed(0, b"x", SIG), Signed(2, b"y", SIG)), ((6, D1, SIG), (7, D2, SIG))),
    NewView(1, (), ()),
]


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda s: type(s).__name__)
def test_decoding_gives_back_what_was_encoded(statement: Statement) -> None:
    data = encode_statement(statement, CHAIN, 0)
    assert decode_statement(data, CHAIN, 0) == statement


def test_a_commit_signs_what_a_certificate_proves() -> None:
    assert encode_statement(Commit(3, 9, D1), CHAIN, 2) == commit_bytes(CHAIN, 2, 3, 9, D1)


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda s: type(s).__name__)
def test_no_statement_moves_to_another_chain_or_epoch(statement: Statement) -> None:
    """Checklist 4."""
    data = encode_statement(statement, CHAIN, 1)
    for chain, epoch, code in ((D1, 1, "wrong-chain"), (CHAIN, 0, "wrong-epoch"), (CHAIN, 2, "wrong-epoch")):
        with pytest.raises(PeerError) as error:
            decode_statement(data, chain, epoch)
        assert error.value.code == code


def test_every_part_is_signed() -> None:
    """Checklist 4: splicing any field makes other bytes, for which the signature does not hold."""
    key = SigningKey(b"\x09" * 32)
    for base in (PrePrepare(1, 2, D1), Prepare(1, 2, D1)):
        signature = key.sign(encode_statement(base, CHAIN, 0))
        variants = [replace(base, view=2), replace(base, height=3), replace(base, digest=D2)]
        encodings = [encode_statement(variant, CHAIN, 0) for variant in variants]
        encodings += [encode_statement(base, D1, 0), encode_statement(base, CHAIN, 1)]
        encodings += [encode_statement(Commit(1, 2, D1), CHAIN, 0)]  # and no vote moves to another phase
        assert verify(key.public_key, encode_statement(base, CHAIN, 0), signature)
        assert not any(verify(key.public_key, data, signature) for data in encodings)
    assert TAG_VOTE != TAG_TX_SIGN  # nor to a wallet's transactions


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda s: type(s).__name__)
def test_every_changed_byte_is_another_statement_or_none(statement: Statement) -> None:
    """Checklist 53: whatever arrives is decoded or refused; nothing else escapes."""
    data = encode_statement(statement, CHAIN, 0)
    for position in range(len(data)):
        for flip in (0x01, 0x80):
            changed = data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :]
            try:
                assert decode_statement(changed, CHAIN, 0) != statement
            except PeerError:
                continue


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_garbage_is_refused(data: bytes) -> None:
    """Checklist 53."""
    for candidate in (data, TAG_VOTE + data):
        with pytest.raises(PeerError):
            decode_statement(candidate, CHAIN, 0)


@pytest.mark.parametrize(
    "value",
    [
        ("prepare", CHAIN, 0, -1, 1, D1),
        ("prepare", CHAIN, 0, 1, 0, D1),
        ("prepare", CHAIN, 0, True, 1, D1),
        ("prepare", CHAIN, False, 1, 1, D1),
        ("prepare", CHAIN, 0, 1, 1, D1[:31]),
        ("prepare", CHAIN, 0, 1, 1, "d" * 32),
        ("prepare", CHAIN, 0, 1, 1, D1, 0),
        ("prepared", CHAIN, 0, 1, 1, D1),
        ("suspect", CHAIN, 0, 1, 1),
        ("view-change", CHAIN, 0, 0, None, ()),
        ("view-change", CHAIN, 0, 3, None, ((2, 1, D1, SIG, ()), (2, 17, D1, SIG, ()))),  # wider than the window
        ("view-change", CHAIN, 0, 3, None, ((3, 1, D1, SIG, ()),)),  # prepared in a view not yet left
        ("view-change", CHAIN, 0, 3, None, ((2, 2, D1, SIG, ()), (2, 1, D1, SIG, ()))),
        ("view-change", CHAIN, 0, 3, None, ((2, 1, D1, SIG, ((1, SIG), (1, SIG))),)),
        ("view-change", CHAIN, 0, 3, b"certificate", ()),
        ("new-view", CHAIN, 0, 1, ((1, b"", SIG), (0, b"", SIG)), ()),
        ("new-view", CHAIN, 0, 1, (), ((1, D1, SIG), (3, D1, SIG))),
        ("new-view", CHAIN, 0, 1, (), ((1, D1, SIG[:63]),)),
        (),
        0,
    ],
    ids=str,
)
def test_ill_formed_statements_are_refused(value: object) -> None:
    """Checklist 3 and 53: votes are of distinct members, numbers are in range, shapes are exact."""
    with pytest.raises(PeerError):
        decode_statement(TAG_VOTE + encode(value), CHAIN, 0)  # type: ignore[arg-type]


def test_oversize_is_refused_before_decoding() -> None:
    """Checklist 53."""
    with pytest.raises(PeerError) as error:
        decode_statement(TAG_VOTE + bytes(3 * 1024 * 1024), CHAIN, 0)
    assert error.value.code == "oversize"
