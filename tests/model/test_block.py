"""Digests bind everything; certificates prove blocks to strangers."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import CodecError
from node.model.block import Batch, Header, decode_batch, decode_header, encode_batch, encode_header
from node.model.certificate import Certificate, certificate_fault, commit_bytes, decode_certificate, encode_certificate
from node.model.keys import SigningKey, verify
from node.model.merkle_list import EMPTY_ROOT, list_proof, list_proof_is_valid, list_root
from node.model.transaction import sign_transaction

CHAIN = b"\x02" * 32
KEYS = tuple(SigningKey(bytes([n]) * 32) for n in range(4))
MEMBERS = tuple(key.public_key for key in KEYS)
TXS = tuple(sign_transaction(KEYS[0], CHAIN, n, "market", "place", {"a": n}, 99).raw for n in range(3))
BATCH = Batch(CHAIN, 0, 1, 50, TXS)
HEADER = Header(CHAIN, 0, 9, b"p" * 32, b"d" * 32, 50, b"t" * 32, b"r" * 32, b"s" * 32, b"m" * 32, b"n" * 32)


@pytest.mark.parametrize(
    "changed",
    [
        msgspec.structs.replace(BATCH, chain=b"\x03" * 32),
        msgspec.structs.replace(BATCH, epoch=1),
        msgspec.structs.replace(BATCH, proposer=2),
        msgspec.structs.replace(BATCH, time=51),
        msgspec.structs.replace(BATCH, transactions=TXS[:2]),
        msgspec.structs.replace(BATCH, transactions=(TXS[1], TXS[0], TXS[2])),
        msgspec.structs.replace(BATCH, transactions=(bytes(64) + TXS[0][64:], *TXS[1:])),
    ],
)
def test_a_batch_digest_binds_every_field_and_every_signature(changed: Batch) -> None:
    """Checklist 4: splice any field and it is another batch."""
    assert decode_batch(encode_batch(BATCH)).digest != decode_batch(encode_batch(changed)).digest


@pytest.mark.parametrize("field", list(Header.__struct_fields__))
def test_a_block_hash_binds_every_field(field: str) -> None:
    value = getattr(HEADER, field)
    changed = msgspec.structs.replace(HEADER, **{field: value + 1 if isinstance(value, int) else bytes(32)})
    assert changed.hash != HEADER.hash
    assert decode_header(encode_header(changed)) == changed


def test_a_batch_with_a_repeated_transaction_or_bad_form_is_refused() -> None:
    twice = msgspec.structs.replace(BATCH, transactions=(TXS[0], bytes(64) + TXS[0][64:]))
    for body, code in ((encode_batch(twice), "duplicate"), (b"", "malformed"), (encode_batch(BATCH)[:-1], "malformed")):
        with pytest.raises(CodecError) as caught:
            decode_batch(body)
        assert caught.value.code == code


def test_a_batch_has_a_bounded_number_of_items() -> None:
    def many(lengths: list[int]) -> bytes:
        txs = [
            sign_transaction(KEYS[0], CHAIN, nonce, "settlement", "collect", {"rows": [0] * length}, 99).raw
            for nonce, length in enumerate(lengths)
        ]
        return encode_batch(msgspec.structs.replace(BATCH, transactions=tuple(txs)))

    assert len(decode_batch(many([2_048, 2_000, 48])).transactions) == 3
    with pytest.raises(CodecError) as caught:
        decode_batch(many([2_048, 2_000, 47, 1, 1]))
    assert caught.value.code == "oversize"


def certificate(signers: tuple[int, ...], *, view: int = 3, height: int = 9) -> Certificate:
    """A certificate signed by the members named."""
    message = commit_bytes(CHAIN, 0, view, height, HEADER.hash)
    return Certificate(0, view, height, HEADER.hash, tuple((n, KEYS[n].sign(message)) for n in signers))


def fault(c: Certificate) -> str | None:
    return certificate_fault(c, CHAIN, MEMBERS, 3, verify)


def test_a_quorum_certifies_and_less_does_not() -> None:
    """Checklist 8: a certificate verifies offline, by the members' keys alone."""
    good = certificate((0, 2, 3))
    assert fault(good) is None
    assert fault(decode_certificate(encode_certificate(good))) is None
    assert fault(certificate((0, 2))) == "2 votes, a quorum is 3"


def test_members_are_counted_not_votes() -> None:
    """Checklist 3: one vote three times is one vote."""
    one = certificate((1,)).votes[0]
    for votes in ((one, one, one), tuple(reversed(certificate((0, 1, 2)).votes))):
        assert fault(msgspec.structs.replace(certificate((1,)), votes=votes)) is not None
    stranger = (*certificate((0, 1)).votes, (4, bytes(64)))
    assert fault(msgspec.structs.replace(certificate((1,)), votes=stranger)) == "a vote is of no member"


@pytest.mark.parametrize("change", [{"view": 4}, {"height": 10}, {"epoch": 1}, {"block_hash": bytes(32)}])
def test_a_vote_cannot_be_moved(change: dict[str, int | bytes]) -> None:
    """Checklist 4."""
    moved = msgspec.structs.replace(certificate((0, 1, 2)), **change)
    assert fault(moved) == "the vote of member 0 is not signed by it"


@given(st.lists(st.binary(max_size=8), max_size=20), st.data())
def test_list_proofs_prove_their_item_and_no_other(items: list[bytes], data: st.DataObject) -> None:
    root = list_root(items)
    if not items:
        assert root == EMPTY_ROOT
        return
    index = data.draw(st.integers(0, len(items) - 1))
    path = list_proof(items, index)
    assert list_proof_is_valid(root, items[index], index, len(items), path)
    assert not list_proof_is_valid(root, items[index] + b"x", index, len(items), path)
    assert not list_proof_is_valid(root, items[index], index, len(items), (*path, bytes(32)))
    assert not list_proof_is_valid(root, items[index], len(items), len(items), path)
