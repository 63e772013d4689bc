"""What a signature covers, and what is refused before anyone looks at it."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import CodecError
from node.model.keys import SIGNATURE_BYTES, SigningKey, verify
from node.model.transaction import MAX_TRANSACTION_BYTES, MAX_TRANSACTION_ITEMS, decode_transaction, sign_transaction

KEY = SigningKey(b"\x01" * 32)
CHAIN = b"\x02" * 32
FIELDS: dict[str, Any] = {
    "args": {"a": 1, "b": b"x"},
    "chain": CHAIN,
    "contract": "market",
    "method": "place",
    "nonce": 7,
    "not_after": 1_000,
    "sender": KEY.public_key,
}


def raw(**changes: Any) -> bytes:
    """An unsigned transaction with some fields changed."""
    return bytes(SIGNATURE_BYTES) + bytes(msgpack.packb({**FIELDS, **changes}))


def test_a_signed_transaction_is_what_travels() -> None:
    tx = sign_transaction(KEY, CHAIN, 7, "market", "place", {"b": b"x", "a": 1}, 1_000)
    assert decode_transaction(tx.raw) == tx
    assert tx.signature_is_valid(verify)
    assert tx.raw[SIGNATURE_BYTES:] == raw()[SIGNATURE_BYTES:], "any MessagePack library can make these bytes"


@given(st.integers(0, 300), st.integers(1, 255))
def test_any_changed_byte_breaks_the_signature_or_the_form(position: int, change: int) -> None:
    tx = sign_transaction(KEY, CHAIN, 7, "market", "place", {"a": 1}, 1_000)
    forged = bytearray(tx.raw)
    forged[position % len(forged)] ^= change
    try:
        decoded = decode_transaction(bytes(forged))
    except CodecError:
        return
    assert not decoded.signature_is_valid(verify)
    assert decoded.digest != tx.digest, "caches of verified transactions must tell them apart"


def test_another_signature_over_the_same_payload_has_the_same_id_and_another_digest() -> None:
    tx = sign_transaction(KEY, CHAIN, 7, "market", "place", {"a": 1}, 1_000)
    other = decode_transaction(bytes(SIGNATURE_BYTES) + tx.raw[SIGNATURE_BYTES:])
    assert other.id == tx.id
    assert other.digest != tx.digest
    assert not other.signature_is_valid(verify)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "malformed"),
        (b"\xff" * 200, "malformed"),
        (raw() + b"\x00", "malformed"),
        (raw(extra=1), "malformed"),
        (raw(nonce="7"), "malformed"),
        (raw(nonce=7.0), "malformed"),
        (raw(args={1: 2}), "malformed"),
        (raw(args={"z": 1, "a": 2}), "non-canonical"),
        (raw(nonce=-1), "bad-nonce"),
        (raw(nonce=2**63), "bad-nonce"),
        (raw(not_after=-1), "bad-expiry"),
        (raw(sender=b"short"), "bad-sender"),
        (raw(chain=b"short"), "bad-chain"),
        (raw(args={"a": b"x" * MAX_TRANSACTION_BYTES}), "oversize"),
        (raw(args={"a": [0] * (MAX_TRANSACTION_ITEMS + 1)}), "oversize"),
        (bytes(SIGNATURE_BYTES) + b"\x91" * 60_000, "malformed"),
    ],
)
def test_malformed_transactions_are_refused_with_a_code(data: bytes, code: str) -> None:
    with pytest.raises(CodecError) as caught:
        decode_transaction(data)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("args", "items"),
    [
        ({}, 1),
        ({"a": 7}, 1),
        ({"a": []}, 1),
        ({"a": [1, 2]}, 2),
        ({"a": [1], "b": [[1, 2, 3]] * 5, "c": b"xxxxxxx"}, 5),
    ],
)
def test_a_transaction_is_as_many_items_as_its_longest_array(args: dict[str, object], items: int) -> None:
    assert decode_transaction(raw(args=args)).items == items


def test_fields_in_another_order_are_not_canonical() -> None:
    shuffled = dict(reversed(FIELDS.items()))
    with pytest.raises(CodecError) as caught:
        decode_transaction(bytes(SIGNATURE_BYTES) + bytes(msgpack.packb(shuffled)))
    assert caught.value.code == "non-canonical"


def test_a_small_order_key_verifies_nothing() -> None:
    """libsodium refuses the eight small-order points; a library that accepts them would fork the chain."""
    neutral = b"\x01" + bytes(31)
    assert not verify(neutral, b"message", neutral + bytes(32))
