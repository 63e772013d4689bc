"""Canonical MessagePack: the one encoding of everything that is hashed, signed or stored.

Canonical means that a value has exactly one encoding: the shortest form of every integer, string and
array, and maps whose keys are strings in ascending byte order. ``decode`` refuses everything else, so
two different byte strings never mean the same thing.

Values are ``None, bool, int (-2**63 .. 2**64-1), str, bytes`` and tuples of values; maps only where a
format says so. There are no floats and no extension types.
"""

import hashlib
from typing import TypeAlias

import msgpack

from node.errors import CodecError

Value: TypeAlias = "bool | int | str | bytes | tuple[Value, ...] | None"

MAX_NESTING = 8

pack = msgpack.Packer(use_bin_type=True, strict_types=False).pack
"""``encode`` for values known to be plain. Raises OverflowError or ValueError for integers or nesting beyond bounds."""


def sha256(*parts: bytes) -> bytes:
    """SHA-256 over the concatenation of ``parts``; 32 bytes."""
    return hashlib.sha256(b"".join(parts)).digest()


def encode(value: Value) -> bytes:
    """The canonical bytes of ``value``. Raises CodecError("bad-value") for what has none."""
    try:
        return pack(value)  # type: ignore[no-any-return]
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError("bad-value", f"cannot be encoded: {error}") from error


def decode(data: bytes) -> Value:
    """The value whose canonical bytes are ``data``; arrays become tuples.

    Raises CodecError: "malformed" if it is not MessagePack, "non-canonical" if it is not the one encoding
    of its value, or holds a map, a float or an extension type.
    """
    value = decode_trusted(data)
    _require_plain(value, MAX_NESTING)
    if encode(value) != data:
        raise CodecError("non-canonical", "the bytes are not the canonical encoding of their value")
    return value


def decode_trusted(data: bytes) -> Value:
    """``decode`` without the canonical check: for bytes that this node encoded itself."""
    try:
        return msgpack.unpackb(data, use_list=False, raw=False, strict_map_key=False)  # type: ignore[no-any-return]
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise CodecError("malformed", f"not MessagePack: {error}") from error


def _require_plain(value: object, depth: int) -> None:
    if type(value) is tuple:
        if depth == 0:
            raise CodecError("malformed", f"nested deeper than {MAX_NESTING}")
        for item in value:
            _require_plain(item, depth - 1)
    elif value is not None and type(value) not in (bool, int, str, bytes):
        raise CodecError("non-canonical", f"holds a {type(value).__name__}")
