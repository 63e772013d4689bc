"""Reads a vote log as an auditor would: from its documented form alone, with no code of the node's.

    file    "watt vote log 3\\n" | chain (32) | epoch (8) | salt (8) | CRC32
    frame   the salt's first 4 bytes | length (4) | sequence (8) | CRC32 over salt, length, sequence, payload | payload
    payload records, each length (4) | MessagePack: ("vote", signed bytes, signature, ...), ("view-change", ...), ...

What is damaged ends the reading: the node must not have relied on it either.
"""

import zlib
from collections.abc import Iterator

import msgpack

_HEADER_BYTES = 16 + 32 + 8 + 8 + 4
_SALT = slice(56, 64)
_FRAME_HEAD_BYTES = 4 + 4 + 8 + 4


def logged_statements(log: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The signed bytes and the signature of every own vote and ViewChange in ``log``, oldest first."""
    for record in _records(log):
        match msgpack.unpackb(record, use_list=False, strict_map_key=False):
            case ("vote" | "view-change", bytes(data), bytes(signature), *_):
                yield data, signature


def _records(log: bytes) -> Iterator[bytes]:
    salt = log[_SALT]
    start, sequence = _HEADER_BYTES, 0
    while log[start : start + 4] == salt[:4]:
        length = int.from_bytes(log[start + 4 : start + 8], "big")
        payload = log[start + _FRAME_HEAD_BYTES : start + _FRAME_HEAD_BYTES + length]
        checksum = int.from_bytes(log[start + 16 : start + 20], "big")
        signed = salt + log[start + 4 : start + 16] + payload
        if len(payload) < length or zlib.crc32(signed) != checksum or log[start + 8 : start + 16] != _eight(sequence):
            return
        place = 0
        while place < length:
            size = int.from_bytes(payload[place : place + 4], "big")
            yield payload[place + 4 : place + 4 + size]
            place += 4 + size
        start += _FRAME_HEAD_BYTES + length
        sequence += 1


def _eight(number: int) -> bytes:
    return number.to_bytes(8, "big")
