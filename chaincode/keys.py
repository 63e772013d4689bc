"""Keys whose byte order is the order wanted.

A key is ``table + part + part ...``. The table's name is lower-case ASCII, ends in ``/`` and holds no other
``/``: it is how the state tells its families of keys apart. A scan stays within one table.
"""

from chaincode.contract import ContractError

UINT_BYTES = 8


def uint(number: int, width: int = UINT_BYTES) -> bytes:
    """``number`` as ``width`` big-endian bytes, so that byte order is numeric order.

    Raises ContractError("out-of-range") if it does not fit, or is negative.
    """
    if not 0 <= number < 1 << (8 * width):
        raise ContractError("out-of-range", f"{number} is no unsigned integer of {width} bytes")
    return number.to_bytes(width, "big")


def text(string: str) -> bytes:
    """``string`` as UTF-8 and a zero byte, so that no string is the beginning of another's bytes.

    Raises ContractError("bad-text") if it holds a zero character.
    """
    if "\0" in string:
        raise ContractError("bad-text", "a zero character in a text")
    return string.encode() + b"\0"


def key(table: bytes, *parts: int | str | bytes) -> bytes:
    """A key in ``table``: an int becomes ``uint`` of 8 bytes, a str becomes ``text``, bytes stay as they are.

    Bytes that are not the last part are of one fixed length within a table, or the order means nothing.
    """
    joined = table
    for part in parts:
        if type(part) is str:
            joined += text(part)
        elif type(part) is int:
            joined += uint(part)
        elif type(part) is bytes:
            joined += part
        else:
            raise TypeError(f"a key is made of int, str and bytes, not of {type(part).__name__}")
    return joined


def table_of(full_key: bytes) -> bytes:
    """The table that a key lies in: everything up to its first ``/``. Raises ValueError if there is none."""
    end = full_key.find(b"/") + 1
    if not end:
        raise ValueError(f"the key {full_key!r} names no table")
    return full_key[:end]
