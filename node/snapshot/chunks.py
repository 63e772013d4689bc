"""The parts of a snapshot: their bytes, and what the state tree says of them.

A chunk is every entry whose path begins with the same digits, in ascending order of keys, each as

    length of the key (2 bytes) | length of the value (4 bytes) | key | blind, encoded value

integers big-endian. What has to be in it follows from the nodes above: a node's hash, a single entry, or nothing.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from struct import Struct

from node.errors import CodecError
from node.ledger.merkle import DIGITS, ENTRY_BYTES, HASH_BYTES, HEAD_BYTES, built, child_of
from node.ledger.state import MAX_KEY_BYTES
from node.limits import MAX_CHUNK_BYTES, SNAPSHOT_CHUNK_BYTES

MAX_DEPTH = 3
"""Of chunks: 4096 at most, a GiB of chunks of the usual size. The nodes above are always in a node's memory."""
MAX_NODE_BYTES = HEAD_BYTES + 16 * ENTRY_BYTES

_LENGTHS = Struct(">HI")


def packed(key: bytes, value: bytes) -> bytes:
    """An entry's bytes in a chunk."""
    return _LENGTHS.pack(len(key), len(value)) + key + value


def packed_bytes(key: bytes, value: bytes) -> int:
    """How many bytes an entry takes in a chunk."""
    return _LENGTHS.size + len(key) + len(value)


def depth_for(size: int) -> int:
    """The depth of the chunks of a state of ``size`` bytes: the same for every node."""
    depth = 1
    while depth < MAX_DEPTH and size > SNAPSHOT_CHUNK_BYTES << 4 * depth:
        depth += 1
    return depth


def checked_entries(prefix: str, top: bytes, data: bytes) -> tuple[dict[bytes, bytes], dict[str, bytes]]:
    """The entries of the chunk ``data`` at ``prefix``, and the nodes of their subtree by path.

    ``top``: what ``tops`` says of that prefix. Raises CodecError: "oversize", "malformed", "wrong-hash".
    """
    if len(data) > MAX_CHUNK_BYTES:
        raise CodecError("oversize", f"a chunk of {len(data)} bytes, at most {MAX_CHUNK_BYTES} are allowed")
    entries = dict(_entries(data))
    if any(not sha256(key).hexdigest().startswith(prefix) for key in entries):
        raise CodecError("malformed", f"an entry in chunk {prefix} belongs to another")
    found, nodes = built(prefix, entries)
    if found != top:
        raise CodecError("wrong-hash", f"chunk {prefix} is not what the certified state has there")
    return entries, nodes


def _entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, end, before = 0, len(data), b""
    while at < end:
        if end - at < _LENGTHS.size:
            raise CodecError("malformed", "a chunk ends within an entry")
        key_bytes, value_bytes = _LENGTHS.unpack_from(data, at)
        at += _LENGTHS.size
        if not 0 < key_bytes <= MAX_KEY_BYTES or not 0 < value_bytes <= end - at - key_bytes:
            raise CodecError("malformed", "an entry of a chunk has lengths that cannot be")
        key = data[at : at + key_bytes]
        if key <= before:
            raise CodecError("malformed", "the keys of a chunk do not ascend")
        yield key, data[at + key_bytes : at + key_bytes + value_bytes]
        at += key_bytes + value_bytes
        before = key


def listed(upper: Mapping[str, bytes]) -> tuple[bytes, ...]:
    """The upper nodes in the order of ``checked_upper``: level by level, each in the order of paths."""
    return tuple([upper[path] for path in sorted(upper, key=lambda path: (len(path), path))])


def checked_upper(root: bytes, depth: int, nodes: Sequence[bytes]) -> dict[str, bytes]:
    """The nodes above ``depth`` of the tree with this root, by path. Raises CodecError("malformed" or "wrong-hash")."""
    upper: dict[str, bytes] = {}
    due = deque([("", root)])
    for node in nodes:
        if not due or len(node) > MAX_NODE_BYTES:
            raise CodecError("malformed", "nodes of the state tree that are none, or too many")
        path, expected = due.popleft()
        if sha256(node).digest() != expected:
            raise CodecError("wrong-hash", f"the node at {path!r} is not the certified state's")
        upper[path] = node
        if len(path) + 1 < depth:
            children = ((digit, child_of(node, digit)) for digit in DIGITS)
            due.extend([(path + digit, child) for digit, child in children if len(child) == HASH_BYTES])
    if due:
        raise CodecError("malformed", "nodes of the state tree are missing")
    return upper


def tops(upper: Mapping[str, bytes], depth: int) -> dict[str, bytes]:
    """By prefix, what the tree has where a chunk begins: a node's hash, or the only entry. Not of empty chunks."""
    found: dict[str, bytes] = {}
    for path, node in upper.items():
        for digit in DIGITS:
            child = child_of(node, digit)
            if len(child) == ENTRY_BYTES:
                found[child[:HASH_BYTES].hex()[:depth]] = child
            elif child and len(path) + 1 == depth:
                found[path + digit] = child
    return dict(sorted(found.items()))
