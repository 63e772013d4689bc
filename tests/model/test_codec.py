"""One value, one encoding: whatever decodes, encodes back to the very bytes."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import CodecError
from node.model.codec import Value, decode, encode

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=40) | st.binary(max_size=40)
values: st.SearchStrategy[Value] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=12
)


@given(values)
def test_a_value_survives_the_way_there_and_back(value: Value) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=64))
def test_whatever_is_accepted_is_canonical(data: bytes) -> None:
    try:
        value = decode(data)
    except CodecError:
        return
    assert encode(value) == data


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "malformed"),
        (b"\x93\x01", "malformed"),  # an array that ends early
        (b"\x01\x01", "malformed"),  # something behind the value
        (b"\xcc\x01", "non-canonical"),  # 1 in two bytes
        (b"\xd9\x01a", "non-canonical"),  # "a" with a long header
        (msgpack.packb(1.5), "non-canonical"),
        (msgpack.packb({"a": 1}), "non-canonical"),
        (msgpack.packb(msgpack.ExtType(4, b"x")), "non-canonical"),
        (b"\x91" * 9 + b"\x01", "malformed"),  # nested too deep
        (b"\x91" * 100_000 + b"\x01", "malformed"),
    ],
)
def test_everything_else_is_refused_with_its_code(data: bytes, code: str) -> None:
    with pytest.raises(CodecError) as caught:
        decode(data)
    assert caught.value.code == code


def test_what_has_no_encoding_is_refused() -> None:
    with pytest.raises(CodecError) as caught:
        encode(2**64)
    assert caught.value.code == "bad-value"
