"""Exported files: answers of queries with all that proves them, for whoever has the genesis document and no node.

A file is what a client of proven queries would have received (``node/witness.py``), one answer after the other, in the
order in which they were asked. Reading it is asking the same again: the next answer to that very question is looked up
in the file, its block's certificate and its entries' proofs are checked, and the query is run on the entries. Nothing
else in the file is believed, so whoever wrote it need not be trusted.

The file is the line ``wattledger export 1`` and frames, each

    kind (1 byte) | length of the payload (4 bytes, big-endian) | payload

    kind  payload
    H     encoded (chain id, whether it is of all products, a slot): once, at first
    B     the boundary that proves the next epoch (``node/model/epoch.py``)
    C     encoded (header, certificate): what follows is true of this block
    Q     encoded (contract, method, ((argument, value), ...)): a question; its entries follow
    N     a node of the state tree that the next entry's proof needs, if it is not among those at hand
    E     length of the key (2 bytes) | key | blind, encoded value: an entry that the query read
    A     a key that it read and that has no entry
    Z     SHA-256 of all bytes before this frame: once, at the end

At hand are the ``NODES_AT_HAND`` nodes that proofs used last; most proofs need one or two new nodes. Whatever its size,
a file is read frame by frame; bounds stand below.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, BinaryIO, Final, NamedTuple, TypeAlias

from chaincode.contract import ContractError
from chaincode.registry import Registry
from node.epochs import header_fault, next_epoch
from node.errors import CodecError, RefusedError
from node.ledger.merkle import HASH_BYTES, child_of, is_node
from node.model.block import Header, decode_header
from node.model.certificate import decode_certificate
from node.model.codec import Value, decode, encode
from node.model.epoch import Epoch, decode_boundary
from node.model.genesis import Genesis
from node.model.keys import verify
from node.witness import MAX_PROVEN_READS, Read, answer_of, entry_name

MAGIC: Final = b"wattledger export 1\n"
NODES_AT_HAND: Final = 16_384
MAX_EPOCHS: Final = 10_000
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""All entries and new nodes of one answer."""

_HEAD, _BOUNDARY, _BLOCK, _QUESTION, _NODE, _ENTRY, _ABSENT, _END = b"HBCQNEAZ"
_MOST: Final = {
    _HEAD: 256,
    _BOUNDARY: 4 * 1024 * 1024,
    _BLOCK: 256 * 1024,
    _QUESTION: 64 * 1024,
    _NODE: 2 * 1024,
    _ENTRY: 16 * 1024 * 1024,
    _ABSENT: 1024,
    _END: HASH_BYTES,
}
_PART: Final = 64 * 1024

Question: TypeAlias = tuple[str, str, Mapping[str, Any]]
"""Contract, method, arguments."""


class About(NamedTuple):
    """What a file says of itself: the chain, whether it is of all products, and the product that it is of (0: of
    all). Only the chain is checked; the rest says what to look for."""

    chain: bytes
    is_all: bool
    slot: int


class Exporter:
    """Writes a file. ``answer`` for every question, in order; ``close`` at the end."""

    def __init__(self, file: BinaryIO, about: About) -> None:
        self._file = file
        self._digest = sha256()
        self._nodes = _Nodes()
        self._block: tuple[bytes, bytes] | None = None
        self._epochs = 0
        self.size = 0
        self._put(MAGIC)
        self._frame(_HEAD, encode(tuple(about)))

    def answer(
        self, asked: Question, header: bytes, certificate: bytes, reads: Sequence[Read], boundaries: Sequence[bytes]
    ) -> None:
        """Write what a query read in the state after a block, with proofs. ``boundaries``: all that are known."""
        for boundary in boundaries[self._epochs :]:
            self._frame(_BOUNDARY, boundary)
        self._epochs = max(self._epochs, len(boundaries))
        if (header, certificate) != self._block:
            self._block = header, certificate
            self._frame(_BLOCK, encode(self._block))
        self._frame(_QUESTION, _encoded(asked))
        for key, value, proof in reads:
            for node in proof:
                if self._nodes.add(node):
                    self._frame(_NODE, node)
            self._nodes.trim()
            if value is None:
                self._frame(_ABSENT, key)
            else:
                self._frame(_ENTRY, len(key).to_bytes(2, "big") + key + value)

    def close(self) -> None:
        """Write the end."""
        self._frame(_END, self._digest.digest())

    def _frame(self, kind: int, payload: bytes) -> None:
        assert len(payload) <= _MOST[kind], "a frame larger than those that are read"
        self._put(bytes([kind]) + len(payload).to_bytes(4, "big") + payload)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)


class Import:
    """Reads a file, as a reader of queries: every answer is checked from the genesis on.

    Raises RefusedError, here and in all that reads: "bad-export" for what is no such file, not whole, or changed;
    "wrong-chain"; "bad-epochs"; "bad-proof" for a certificate or an entry that does not hold.
    """

    def __init__(self, file: BinaryIO, genesis: Genesis, registry: Registry) -> None:
        self._frames = _Frames(file)
        self._genesis = genesis
        self._registry = registry
        self._epochs: tuple[Epoch, ...] = (genesis.epoch,)
        self._nodes = _Nodes()
        self._header: Header | None = None
        self.oldest: Header | None = None
        """The lowest of the blocks that what was read is true of."""
        self.about = self._about()

    async def __call__(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        """The answer to a question: the next in the file. Raises RefusedError as the query does, and "not-in-export" if
        there is none.
        """
        wanted = _encoded((contract, method, args))
        while (asked := self._next_question()) is not None:
            reads = list(self._reads())
            if asked != wanted:
                continue
            header = self._header
            if header is None:
                raise _bad("an answer that is true of no block")
            if self.oldest is None or header.height < self.oldest.height:
                self.oldest = header
            try:
                return answer_of(self._registry, header, reads, contract, method, args)
            except ContractError as error:
                raise RefusedError(error.code, error.message) from error
        raise RefusedError("not-in-export", f"the file has no answer of {contract}.{method} {dict(args)}")

    @property
    def at(self) -> Header | None:
        """The block that the last answer is true of; None before the first."""
        return self._header

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """The epochs that what was read so far has proven."""
        return self._epochs

    def finish(self) -> None:
        """Read to the end, which says whether the file is whole."""
        while self._next_question() is not None:
            for _ in self._reads():
                """Only to get behind them."""

    def _about(self) -> About:
        kind, payload = self._frames.take()
        match decode_payload(payload) if kind == _HEAD else None:
            case (bytes(chain), bool(is_all), int(slot)):
                about = About(chain, is_all, slot)
            case _:
                raise _bad("its head cannot be read")
        if about.chain != self._genesis.chain:
            raise RefusedError("wrong-chain", "the file is of another chain than the genesis document")
        return about

    def _next_question(self) -> bytes | None:
        """Go on to the next question, past blocks and boundaries; None at the end, which must be the file's."""
        while True:
            kind, payload = self._frames.take()
            if kind == _QUESTION:
                return payload
            if kind == _BOUNDARY:
                self._learn(payload)
            elif kind == _BLOCK:
                self._header = self._checked(payload)
            elif kind == _END:
                return None
            else:
                raise _bad("a frame where none of its kind is expected")

    def _reads(self) -> Iterator[Read]:
        """The entries of the answer, each with its proof made whole."""
        count = size = new = 0
        while (kind := self._frames.peek()) in (_NODE, _ENTRY, _ABSENT):
            _, payload = self._frames.take()
            size += len(payload)
            if size > MAX_ANSWER_BYTES:
                raise _bad("an answer is larger than any node's")
            if kind == _NODE:
                new += 1
                if new > 2 * HASH_BYTES or not is_node(payload):
                    raise _bad("what stands for a node of the state tree is none")
                self._nodes.add(payload)
                continue
            count, new = count + 1, 0
            if count > MAX_PROVEN_READS:
                raise _bad("an answer reads more entries than any query may")
            key, value = (payload, None) if kind == _ABSENT else _entry(payload)
            yield key, value, self._proof(key)

    def _proof(self, key: bytes) -> tuple[bytes, ...]:
        proof = []
        expected = b"" if self._header is None else self._header.state_root
        for digit in sha256(key).hexdigest():
            node = self._nodes.use(expected)
            if node is None:
                raise RefusedError("bad-proof", f"the file does not prove the entry {entry_name(key)}")
            proof.append(node)
            expected = child_of(node, digit)
            if len(expected) != HASH_BYTES:
                break
        self._nodes.trim()
        return tuple(proof)

    def _learn(self, payload: bytes) -> None:
        if len(self._epochs) >= MAX_EPOCHS:
            raise RefusedError("bad-epochs", f"the file names more than {MAX_EPOCHS} epochs")
        try:
            boundary = decode_boundary(payload)
        except CodecError as error:
            raise RefusedError("bad-epochs", f"the file proves no epoch: {error.message}") from error
        self._epochs += (next_epoch(self._genesis.chain, self._epochs, boundary, verify),)

    def _checked(self, payload: bytes) -> Header:
        match decode_payload(payload):
            case (bytes(head), bytes(proof)):
                try:
                    header, certificate = decode_header(head), decode_certificate(proof)
                except CodecError as error:
                    raise RefusedError("bad-proof", f"no header or certificate: {error.message}") from error
            case _:
                raise _bad("a block is not (header, certificate)")
        fault = header_fault(self._genesis.chain, self._epochs, header, certificate, verify)
        if fault is not None:
            raise RefusedError("bad-proof", fault)
        return header


class _Nodes:
    """Nodes of the state tree by hash, those used last behind; writer and reader keep the same ones."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[bytes, bytes] = OrderedDict()

    def add(self, node: bytes) -> bool:
        """Use a node, which may be new; whether it was."""
        key = sha256(node).digest()
        if key in self._nodes:
            self._nodes.move_to_end(key)
            return False
        self._nodes[key] = node
        return True

    def use(self, key: bytes) -> bytes | None:
        """The node with this hash, if it is at hand."""
        node = self._nodes.get(key)
        if node is not None:
            self._nodes.move_to_end(key)
        return node

    def trim(self) -> None:
        """After a proof: forget those that were not used for longest."""
        while len(self._nodes) > NODES_AT_HAND:
            self._nodes.popitem(last=False)


class _Frames:
    """The frames of a file, one at a time; at the end its digest is checked, and that nothing follows."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = sha256()
        self._before = b""
        self._kind: int | None = None
        self._has_ended = False
        if self._read(len(MAGIC)) != MAGIC:
            raise _bad("not a file that `watt market export` wrote, or of another version")

    def peek(self) -> int:
        """The kind of the next frame."""
        if self._has_ended:
            return _END
        if self._kind is None:
            self._before = self._digest.digest()
            self._kind = self._read(1)[0]
        return self._kind

    def take(self) -> tuple[int, bytes]:
        """The next frame; the last one again when there are no more."""
        if self._has_ended:
            return _END, b""
        kind = self.peek()
        if kind not in _MOST:
            raise _bad("a frame of an unknown kind")
        length = int.from_bytes(self._read(4), "big")
        if length > _MOST[kind]:
            raise _bad("a frame is larger than any that is written")
        payload = self._read(length)
        self._kind = None
        if kind == _END:
            if payload != self._before or self._file.read(1):
                raise _bad("it has been changed, or something was added at its end")
            self._has_ended = True
        return kind, payload

    def _read(self, size: int) -> bytes:
        parts = []
        while size and (part := self._file.read(min(size, _PART))):
            self._digest.update(part)
            parts.append(part)
            size -= len(part)
        if size:
            raise _bad("it ends too early")
        return b"".join(parts)


def decode_payload(payload: bytes) -> Value:
    """An encoded value in a frame. Raises RefusedError("bad-export")."""
    try:
        return decode(payload)
    except CodecError as error:
        raise _bad(f"a frame cannot be read: {error.message}") from error


def _entry(payload: bytes) -> tuple[bytes, bytes]:
    end = 2 + int.from_bytes(payload[:2], "big")
    if len(payload) <= end:
        raise _bad("an entry has no key or no value")
    return payload[2:end], payload[end:]


def _encoded(asked: Question) -> bytes:
    contract, method, args = asked
    return encode((contract, method, tuple(sorted(args.items()))))


def _bad(why: str) -> RefusedError:
    return RefusedError("bad-export", f"the file cannot be believed: {why}")
