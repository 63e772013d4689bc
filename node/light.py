"""A light client's verifier: who has the genesis document can check what any node says, and need trust none of them.

It stands alone: Python's library, ``msgpack`` and ``pynacl``. Take this file into a device; ``tests/vectors`` holds
what an implementation in another language can be tested with. The chain of belief:

1. The *genesis document* names the chain (its hash) and the members of epoch 0.
2. A *boundary* proves the next epoch: the last block before it, certified by the members so far, names its members.
3. A *certificate* proves a block's header: a quorum of the epoch's members have signed its hash.
4. A *Merkle proof* proves one entry of the state after that block, or that there is none, by the header's root.
5. *Freshness*: an old block is certified too. A client never goes back behind a block that it has seen, and may say
   how old a block it takes. Nobody can make a node tell the newest.

``LightChain`` holds 1, 2, 3 and 5, ``verify_proof`` is 4. Times are seconds of block time. What is not exactly as it
must be is a ``LightError``.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgpack
import nacl.bindings as sodium
import nacl.exceptions

MAX_BYTES: Final = 4 * 1024 * 1024  # of anything that a node sends as one
MAX_MEMBERS: Final = 256
MAX_EPOCHS: Final = 10_000  # a node could send boundaries without end, but for this
MAX_NESTING: Final = 8  # of arrays within a value of the state
BLIND_BYTES: Final = 16

Value = Any  # None, bool, int, str, bytes, or a tuple of values


class LightError(ValueError):
    """``code``: bad-genesis, other-chain, bad-boundary, unknown-epoch, bad-header, bad-certificate, bad-proof or
    bad-value; stale: true, but older than is accepted; forked: two certified histories, so more than a third of the
    members have signed both, as the certificates prove."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Member(NamedTuple):
    """A validator. ``public_key``: Ed25519, in hex; ``tls_certificate``: the PEM that other nodes pin it to."""

    name: str
    public_key: str
    tls_certificate: str


class Epoch(NamedTuple):
    """Who the members are from block ``first_height`` on. A member's index is its place in ``members``."""

    number: int
    first_height: int
    members: tuple[Member, ...]


class Header(NamedTuple):
    """A block's header, as it is hashed. Hashes have 32 bytes; ``state_root`` is of the state after the block."""

    chain: bytes
    epoch: int
    height: int
    parent_hash: bytes
    batch_digest: bytes
    time: int
    tx_root: bytes
    receipts_root: bytes
    state_root: bytes
    members_hash: bytes
    next_members_hash: bytes


class LightChain:
    """What a client knows of a chain: ``chain`` (its id), ``epochs`` as far as they are proven, ``newest``: the header
    of the newest block that it has accepted, or None. ``boundaries``, ``header`` and ``certificate`` are the bytes that
    prove these: what to keep, and to hand to ``add_epoch`` and ``accept`` again after a restart."""

    def __init__(self, genesis: bytes) -> None:
        """``genesis``: the JSON document, from a source that is trusted. Raises LightError("bad-genesis")."""
        self.chain, members = read_genesis(genesis)
        self.epochs: list[Epoch] = [Epoch(0, 1, members)]
        self.boundaries: list[bytes] = []
        self.newest: Header | None = None
        self.header = b""
        self.certificate = b""

    def add_epoch(self, boundary: bytes) -> Epoch:
        """Learn the next epoch. Raises LightError, and has then learnt nothing."""
        number = len(self.epochs)
        if number > MAX_EPOCHS:
            raise LightError("bad-boundary", f"more than {MAX_EPOCHS} epochs")
        match _unpacked(boundary, "bad-boundary"):
            case (bytes(header_bytes), bytes(certificate), tuple(rows)):
                members = _members(rows, "bad-boundary")
            case _:
                raise LightError("bad-boundary", "it is not [header, certificate, members]")
        header = self.proven_header(header_bytes, certificate)
        if header.epoch != number - 1:
            raise LightError("bad-boundary", f"epoch {number} is not proven by a block of epoch {header.epoch}")
        if header.next_members_hash == header.members_hash:
            raise LightError("bad-boundary", f"block {header.height} is not the last of its epoch")
        if header.next_members_hash != members_hash(members):
            raise LightError("bad-boundary", f"block {header.height} names other members")
        if self.newest is not None and self.newest.epoch == header.epoch and self.newest.height > header.height:
            raise LightError("forked", f"epoch {header.epoch} ended before block {self.newest.height}, seen before")
        self.epochs.append(Epoch(number, header.height + 1, members))
        self.boundaries.append(boundary)
        return self.epochs[-1]

    def accept(self, header: bytes, certificate: bytes, not_before: int | None = None) -> Header:
        """The header of a certified block that is not older than any accepted before, nor than the time ``not_before``.
        Raises LightError, and has then accepted nothing; "unknown-epoch" if boundaries are missing."""
        found = self.proven_header(header, certificate)
        if self.newest is not None:
            if found.height < self.newest.height:
                raise LightError("stale", f"block {found.height} is older than block {self.newest.height}, seen before")
            if found.height == self.newest.height and found != self.newest:
                raise LightError("forked", f"there are two certified blocks {found.height}")
        if not_before is not None and found.time < not_before:
            raise LightError("stale", f"block {found.height} is {not_before - found.time} s older than is accepted")
        self.newest, self.header, self.certificate = found, header, certificate
        return found

    def proven_header(self, data: bytes, certificate: bytes) -> Header:
        """The header in ``data`` if ``certificate`` proves it, whatever its age. Raises LightError."""
        header = read_header(data)
        if header.chain != self.chain:
            raise LightError("other-chain", f"the block is of chain {header.chain.hex()}")
        if header.epoch >= len(self.epochs):
            raise LightError("unknown-epoch", f"who the members of epoch {header.epoch} are is not proven")
        epoch, following = self.epochs[header.epoch], self.epochs[header.epoch + 1 : header.epoch + 2]
        if header.height < epoch.first_height or (following and header.height >= following[0].first_height):
            raise LightError("bad-header", f"height {header.height} is not of epoch {header.epoch}")
        if header.members_hash != members_hash(epoch.members):
            raise LightError("bad-header", f"the block names other members than those of epoch {header.epoch}")
        _check_certificate(certificate, header, _hash(b"watt/block/1\0", data), epoch)
        return header


def verify_proof(root: bytes, key: bytes, value: bytes | None, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that under ``root`` the key's entry is ``value``; None: that it has none. An entry is 16
    bytes that keep it from being guessed by its hash, and the encoded value.
    The proof is the nodes on the way from the root along the hexadecimal digits of SHA-256(key), each
    0x01 || inner (2 bytes) || leaf (2 bytes) || children in ascending order of their digit. ``inner`` and ``leaf`` are
    bit sets, digit 0 the highest bit: an inner child is the hash of the next node, a leaf SHA-256(its key) ||
    SHA-256(its value). The way ends at a leaf, or where there is no child.
    """
    key_hash = sha256(key).digest()
    expected = root
    for depth, (digit, node) in enumerate(zip(key_hash.hex(), proof, strict=False), 1):
        if len(node) < 5 or sha256(node).digest() != expected:
            return False
        number, inner, leaf = int(digit, 16), node[1] << 8 | node[2], node[3] << 8 | node[4]
        if node[0] != 1 or inner & leaf or len(node) != 5 + 32 * inner.bit_count() + 64 * leaf.bit_count():
            return False
        before = 16 - number  # shifted by so many, only the digits before are left
        at = 5 + 32 * (inner >> before).bit_count() + 64 * (leaf >> before).bit_count()
        bit = 0x8000 >> number
        if inner & bit:
            expected = node[at : at + 32]
            continue
        if depth != len(proof):
            return False
        entry = node[at : at + 64] if leaf & bit else b""
        return entry[:32] != key_hash if value is None else entry == key_hash + sha256(value).digest()
    return False


def proven_value(header: Header, key: bytes, value: bytes | None, proof: Sequence[bytes]) -> Value:
    """The value at a state key after a block, None if it has none. Raises LightError("bad-proof" or "bad-value")."""
    if not verify_proof(header.state_root, key, value, proof):
        raise LightError("bad-proof", "the proof does not show what the node says")
    return None if value is None else _unpacked(value[BLIND_BYTES:], "bad-value")


def read_genesis(document: bytes) -> tuple[bytes, tuple[Member, ...]]:
    """The chain's id and the members of epoch 0. Raises LightError("bad-genesis").

    The id is the hash of the document as MessagePack, its own fields in a fixed order, other maps sorted by key."""
    try:
        content = json.loads(document.decode())
        ordered = _ordered(content, "format name token members clock_origin time_origin time_scale contracts")
        ordered["token"] = _ordered(content["token"], "symbol decimals par")
        ordered["members"] = [_ordered(row, "name public_key tls_certificate") for row in content["members"]]
        ordered["contracts"] = _sorted(content["contracts"])
        chain = _hash(b"watt/genesis/1\0", msgpack.packb(ordered))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise LightError("bad-genesis", f"no genesis document: {error}") from error
    if content["format"] != 1:
        raise LightError("bad-genesis", "its format is not 1")
    return chain, _members([tuple(row.values()) for row in ordered["members"]], "bad-genesis")


def read_header(data: bytes) -> Header:
    """The header in ``data``. Raises LightError("bad-header")."""
    row = _unpacked(data, "bad-header")
    if type(row) is not tuple or len(row) != len(Header._fields):
        raise LightError("bad-header", f"it is not [{', '.join(Header._fields)}]")
    header = Header(*row)
    for number in (header.epoch, header.height, header.time):
        if type(number) is not int or number < 0:
            raise LightError("bad-header", "epoch, height and time are integers from 0 on")
    for digest in (header.chain, *header[3:5], *header[6:]):
        if type(digest) is not bytes or len(digest) != 32:
            raise LightError("bad-header", "chain and hashes are 32 bytes")
    return header


def members_hash(members: Sequence[Member]) -> bytes:
    """What a header names the members of an epoch by."""
    return _hash(b"watt/members/1\0", msgpack.packb(tuple([tuple(member) for member in members])))


def quorum(members: int) -> int:
    """How many of them must have signed: any two quorums share a member that does not lie, if f = (n - 1) // 3 do."""
    return (members + (members - 1) // 3 + 2) // 2


def _check_certificate(data: bytes, header: Header, hashed: bytes, epoch: Epoch) -> None:
    match _unpacked(data, "bad-certificate"):
        case (int(number), int(view), int(height), bytes(block), tuple(votes)) if type(view) is int and view >= 0:
            named = (number, height, block)
        case _:
            raise LightError("bad-certificate", "it is not [epoch, view, height, block hash, votes]")
    if named != (header.epoch, header.height, hashed) or bool in (type(number), type(height)):
        raise LightError("bad-certificate", f"it is of another block than {header.height}")
    needed = quorum(len(epoch.members))
    if not needed <= len(votes) <= len(epoch.members):
        raise LightError("bad-certificate", f"{len(votes)} votes, a quorum is {needed}")
    signed = b"watt/vote/1\0" + msgpack.packb(("commit", header.chain, header.epoch, view, header.height, hashed))
    last = -1
    for vote in votes:
        match vote:
            case (int(index), bytes(signature)) if type(index) is int and last < index < len(epoch.members):
                last = index
            case _:
                raise LightError("bad-certificate", "votes are not one per member in ascending order")
        if not _is_signed(bytes.fromhex(epoch.members[index].public_key), signed, signature):
            raise LightError("bad-certificate", f"the vote of member {index} is not signed by it")


def _is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    if len(signature) != 64:
        return False
    try:
        sodium.crypto_sign_open(signature + message, public_key)
    except (nacl.exceptions.CryptoError, ValueError):
        return False
    return True


def _unpacked(data: bytes, code: str) -> Value:
    """The value whose one canonical encoding ``data`` is, with arrays as tuples; no maps, floats or extensions."""
    if len(data) > MAX_BYTES:
        raise LightError(code, f"it has {len(data)} bytes, at most {MAX_BYTES} are taken")
    try:
        value = msgpack.unpackb(data, use_list=False, raw=False, strict_map_key=False)
        if _is_plain(value, MAX_NESTING) and msgpack.packb(value) == data:
            return value
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise LightError(code, f"it is not MessagePack: {error}") from error
    raise LightError(code, "it is not in canonical form")


def _is_plain(value: Value, depth: int) -> bool:
    if type(value) is tuple:
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    return value is None or type(value) in (bool, int, str, bytes)


def _hash(tag: bytes, data: bytes) -> bytes:
    return sha256(tag + data).digest()


def _members(rows: Sequence[Value], code: str) -> tuple[Member, ...]:
    try:
        members = tuple([Member(*row) for row in rows if list(map(type, row)) == [str] * 3])
        keys = {bytes.fromhex(member.public_key) for member in members}
        names = {member.name for member in members}
        if {len(key) for key in keys} == {32} and len(rows) == len(keys) == len(names) in range(4, MAX_MEMBERS + 1):
            return members
    except (ValueError, TypeError) as error:
        raise LightError(code, f"a member is not [name, public key, TLS certificate]: {error}") from error
    raise LightError(code, f"members are from 4 to {MAX_MEMBERS}, with names and keys of their own")


def _ordered(content: dict[str, Value], names: str) -> dict[str, Value]:
    if content.keys() != set(names.split()):
        raise ValueError(f"there must be {names}, and nothing else")
    return {name: content[name] for name in names.split()}


def _sorted(value: Value) -> Value:
    if type(value) is dict:
        return {name: _sorted(value[name]) for name in sorted(value, key=str.encode)}
    return [_sorted(item) for item in value] if type(value) is list else value
