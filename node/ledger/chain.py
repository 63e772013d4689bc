"""The ledger: the chain of blocks, their certificates and results, and the state after the head.

One database, one atomic synchronous write a block: header, body, certificate, results, the place of every
transaction, changed state and changed tree nodes are there together or not at all. ``docs/ledger.md`` has the layout.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import cast

from chaincode.contract import Event
from chaincode.erasable import in_call, in_event
from chaincode.registry import Registry
from chaincode.validators import epoch_count, epoch_row
from node.errors import CodecError, ConfigError, NodeFault, StoreFault
from node.ledger import layout, nonces
from node.ledger.execution import Execution
from node.ledger.first_block import first_block
from node.ledger.state import WorldState
from node.ledger.store import Store
from node.ledger.tree import Tree
from node.model.block import Block, Header, decode_header, encode_header
from node.model.certificate import Certificate, decode_certificate, encode_certificate
from node.model.codec import decode, encode
from node.model.epoch import Boundary, Epoch, Validator, decode_boundary, encode_boundary
from node.model.genesis import Genesis
from node.model.receipt import Receipt, decode_events, decode_receipt, decode_results, encode_results, kept_receipts

UNUSED_CODES = frozenset({"wrong-chain", "expired", "nonce-used", "nonce-out-of-window"})
"""The codes of receipts whose transaction did not use its nonce: it was not executed at all."""


class Ledger:
    """The chain in a store, as far as it is stored. Opened by ``Ledger.open``; only ``commit`` changes it.

    Every method that reads raises StoreFault if the database fails or holds what it cannot.
    """

    def __init__(self, store: Store, state: WorldState, tree: Tree, head: Header, epoch: Epoch) -> None:
        """Use ``Ledger.open``."""
        self._store = store
        self.state = state
        self.tree = tree
        self.head = head
        """The header of the newest stored block."""
        base = store.get(layout.BASE)
        if base is not None and len(base) != layout.HEIGHT_BYTES:
            raise StoreFault("db-corrupt", "the database does not say where its chain begins")
        self.base = 0 if base is None else int.from_bytes(base, "big")
        """The height of the block whose state the store began with: 0, or the snapshot's. Up to it the store holds no
        bodies, results and places of transactions, and of the headers and certificates the base's own only."""
        self.head_hash = head.hash
        self.head_certificate = self.certificate(head.height)
        """The head's certificate; None for block 0."""
        self._epochs: tuple[Epoch, ...] = (epoch,)
        self._members_hashes = {epoch.number: epoch.hash}
        self._learn_epochs()

    @classmethod
    def open(cls, store: Store, genesis: Genesis, registry: Registry) -> "Ledger":
        """The chain in ``store``; in an empty store block 0 is made.

        Raises ConfigError: "db-newer-format", "db-other-chain", "db-corrupt", "bad-genesis"; StoreFault.
        """
        marked = store.get(layout.FORMAT)
        if marked is None:
            cls._create(store, genesis, registry)
        else:
            check_mark(marked, genesis.chain)
        head = store.get(layout.HEAD)
        if head is None or len(head) != layout.HEIGHT_BYTES:
            raise ConfigError("db-corrupt", "the database does not say which block is its head")
        header = _header(store, int.from_bytes(head, "big"))
        if header is None:
            raise ConfigError("db-corrupt", "the head block is not in the database")
        tree = Tree(store)
        if tree.root != header.state_root:
            raise ConfigError("db-corrupt", "the state in the database is not the head block's")
        ledger = cls(store, WorldState(store, registry.indexed), tree, header, genesis.epoch)
        proof = ledger.head_certificate
        proven = (0, None) if proof is None else (proof.height, proof.block_hash)
        if proven != (header.height, ledger.head_hash if header.height else None):
            raise ConfigError(
                "db-corrupt", f"the certificate of block {header.height}, the head, is not in the database"
            )
        return ledger

    @staticmethod
    def _create(store: Store, genesis: Genesis, registry: Registry) -> None:
        if next(store.scan(b"", b"\xff"), None) is not None:
            raise ConfigError("db-corrupt", "there are entries in the database, but no mark of whose they are")
        execution = first_block(genesis, registry, WorldState(store, registry.indexed), tree := Tree(store))
        puts = _state_puts(execution, tree) | _block_puts(execution, None)
        puts[layout.FORMAT] = encode((layout.DATABASE_FORMAT, genesis.chain))
        store.write(puts)

    def block(self, height: int) -> Block | None:
        """The block at ``height``, or None if it is not stored: above the head, or not above a base other than 0.
        Some of its transactions may be erased (``is_whole``)."""
        header = _header(self._store, height)
        body = self._store.get(layout.at_height(layout.BODY, height)) if height >= 0 else None
        return None if header is None or body is None else Block(header, body)

    def is_whole(self, height: int) -> bool:
        """Whether nothing of the block at ``height`` has been erased, so that it can be executed again."""
        return self._store.get(layout.at_height(layout.ERASED, height)) is None

    def certificate(self, height: int) -> Certificate | None:
        """The certificate that was stored with the block at ``height``; None for block 0 and unknown heights."""
        data = self._store.get(layout.at_height(layout.CERTIFICATE, height)) if height >= 0 else None
        with _reading(f"the certificate of block {height}"):
            return None if data is None else decode_certificate(data)

    def receipts(self, height: int) -> tuple[Receipt, ...]:
        """The receipts of the block at ``height``, in the batch's order, without those that are erased; none for an
        unknown height."""
        data = self._results(height)
        with _reading(f"the results of block {height}"):
            return () if data is None else kept_receipts(decode_results(data))

    def events(self, height: int) -> tuple[Event, ...]:
        """The events of the block at ``height``, in the order of execution, without those that are erased; none for an
        unknown height."""
        data = self._results(height)
        with _reading(f"the events of block {height}"):
            return () if data is None else decode_events(decode_results(data).events)

    def find(self, tx_id: bytes) -> tuple[int, int, Receipt] | None:
        """Where a transaction was executed: height, index in the batch, receipt. None if it is in no block.

        A transaction can stand in several blocks, but uses its nonce in one at most: that one is found. If there is
        none, the first inclusion is.
        """
        data = self._store.get(layout.TRANSACTION + tx_id)
        if data is None:
            return None
        if len(data) != layout.PLACE_BYTES:
            raise StoreFault("db-corrupt", f"the place of transaction {tx_id.hex()[:16]} cannot be read")
        height, index = int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big")
        results = self._results(height)
        if results is None:
            raise StoreFault("db-corrupt", f"the results of block {height} are missing")
        with _reading(f"the results of block {height}"):
            return height, index, decode_receipt(decode_results(results).receipts[index])

    def nonce_acceptable(self, sender: bytes, nonce: int) -> bool:
        """Whether a transaction of ``sender`` with ``nonce`` could be executed after the head."""
        return nonces.fault(nonces.read(self.state.get(nonces.NONCES + sender)), nonce) is None

    def highest_nonce(self, sender: bytes) -> int:
        """The highest nonce that ``sender`` has used; 0 if it has used none."""
        return nonces.read(self.state.get(nonces.NONCES + sender))[0]

    def epochs(self) -> tuple[Epoch, ...]:
        """All epochs that there were, with the one that is scheduled, if one is: by number, epoch 0 first."""
        return self._epochs

    def epoch_at(self, height: int) -> Epoch:
        """The epoch that the block at ``height`` belongs to, as far as the head's state knows."""
        return next((epoch for epoch in reversed(self._epochs) if epoch.first_height <= height), self._epochs[0])

    def members_hash(self, epoch: Epoch) -> bytes:
        """``epoch.hash``, computed once."""
        return self._members_hashes[epoch.number]

    def boundaries(self, first: int = 1, most: int | None = None) -> tuple[Boundary, ...]:
        """What proves the epochs that have begun, from number ``first`` on, at most ``most``: none of epoch 0."""
        pairs = self._store.scan(layout.at_height(layout.BOUNDARY, first), layout.after_prefix(layout.BOUNDARY))
        with _reading("what proves an epoch"):
            return tuple([decode_boundary(data) for _, data in islice(pairs, most)])

    def prove(self, key: bytes) -> tuple[bytes | None, tuple[bytes, ...]]:
        """The encoded value at a state key after the head behind its blind, or None, and the proof
        (``light.verify_proof``)."""
        return self.state.blinded(key), self.tree.prove(key)

    def commit(self, execution: Execution, certificate: Certificate) -> None:
        """Store a block that a quorum has agreed on; it is durable on return.

        Raises NodeFault("wrong-block") if it does not follow the head or is not what the certificate proves, and
        StoreFault; nothing is changed then.
        """
        header = execution.block.header
        if header.height != self.head.height + 1 or header.parent_hash != self.head_hash:
            raise NodeFault("wrong-block", f"block {header.height} does not follow block {self.head.height}")
        proven = (certificate.epoch, certificate.height, certificate.block_hash)
        if proven != (header.epoch, header.height, execution.block_hash):
            raise NodeFault("wrong-block", f"the certificate is not that of block {header.height}")
        puts = _state_puts(execution, self.tree)
        self._index_transactions(execution, puts)
        self._note_boundary(header, certificate, puts)
        puts.update(self.record(execution, certificate))
        self._store.write(puts)
        self.state.apply(execution.values)
        self.tree.apply(header.height, execution.tree)
        self.head, self.head_hash, self.head_certificate = header, execution.block_hash, certificate
        self._learn_epochs()

    def record(self, execution: Execution, certificate: Certificate) -> Mapping[bytes, bytes | None]:
        """What is stored of the block itself; what follows from it is stored besides."""
        return _block_puts(execution, certificate) | reading_puts(execution.block.header.height, execution)

    def _learn_epochs(self) -> None:
        """The contract of governance decides who the members are: take over what the state knows beyond epoch 0."""
        get = self.state.get
        for number in range(len(self._epochs), epoch_count(get)):
            row = epoch_row(get, number)
            members = [Validator(seat.name, seat.public_key.hex(), seat.tls_certificate) for seat in row.seats]
            epoch = Epoch(number, row.first_height, tuple(members))
            self._epochs += (epoch,)
            self._members_hashes[number] = epoch.hash

    def _index_transactions(self, execution: Execution, puts: dict[bytes, bytes | None]) -> None:
        height = execution.block.header.height.to_bytes(8, "big")
        for index, receipt in enumerate(execution.receipts):
            key = layout.TRANSACTION + receipt.tx_id
            if receipt.code in UNUSED_CODES and self._store.get(key) is not None:
                continue
            puts[key] = height + index.to_bytes(4, "big")

    def _note_boundary(self, header: Header, certificate: Certificate, puts: dict[bytes, bytes | None]) -> None:
        """With the last block of an epoch goes what proves the next one."""
        coming = self.epoch_at(header.height + 1)
        if coming.first_height == header.height + 1 and coming.number > 0:
            boundary = Boundary(encode_header(header), encode_certificate(certificate), coming.members)
            puts[layout.at_height(layout.BOUNDARY, coming.number)] = encode_boundary(boundary)

    def _results(self, height: int) -> bytes | None:
        return self._store.get(layout.at_height(layout.RESULTS, height)) if height >= 0 else None


def _state_puts(execution: Execution, tree: Tree) -> dict[bytes, bytes | None]:
    height = execution.block.header.height
    puts: dict[bytes, bytes | None] = {layout.HEAD: height.to_bytes(8, "big")}
    for key, value in execution.changes.items():
        puts[layout.STATE + key] = value
    puts.update(tree.puts(height, execution.changes))
    return puts


def _block_puts(execution: Execution, certificate: Certificate | None) -> dict[bytes, bytes | None]:
    header = execution.block.header
    height = header.height
    puts: dict[bytes, bytes | None] = {
        layout.at_height(layout.HEADER, height): encode_header(header),
        layout.at_height(layout.BODY, height): execution.block.body,
        layout.at_height(layout.RESULTS, height): encode_results(execution.results),
    }
    if certificate is not None:
        puts[layout.at_height(layout.CERTIFICATE, height)] = encode_certificate(certificate)
    return puts


def reading_puts(height: int, execution: Execution) -> dict[bytes, bytes | None]:
    """The marks by which a block is found again when readings in it are to be erased: one for each of their slots."""
    held = [in_call(tx.payload.contract, tx.payload.method, tx.payload.args) for tx in execution.transactions]
    held += [in_event(event) for event in execution.events]
    slots = {each.slot for group in held for each in group}
    return {layout.READINGS + slot.to_bytes(8, "big") + height.to_bytes(8, "big"): b"" for slot in slots}


def base_puts(
    genesis: Genesis, header: Header, certificate: Certificate, boundaries: Sequence[Boundary]
) -> dict[bytes, bytes | None]:
    """What makes a store that holds the state and the tree after a certified block a ledger with that base.

    ``boundaries``: of all epochs from 1 on that have begun by the next height.
    """
    height = header.height.to_bytes(8, "big")
    puts: dict[bytes, bytes | None] = {
        layout.FORMAT: encode((layout.DATABASE_FORMAT, genesis.chain)),
        layout.HEAD: height,
        layout.BASE: height,
        layout.at_height(layout.HEADER, header.height): encode_header(header),
        layout.at_height(layout.CERTIFICATE, header.height): encode_certificate(certificate),
    }
    for number, boundary in enumerate(boundaries, 1):
        puts[layout.at_height(layout.BOUNDARY, number)] = encode_boundary(boundary)
    return puts


def check_mark(mark: bytes, chain: bytes) -> None:
    """Whether a database with this FORMAT record is one of ours and of ``chain``. Raises ConfigError as ``open``."""
    try:
        version, marked_chain = cast(tuple[int, bytes], decode(mark))
    except (CodecError, TypeError, ValueError) as error:
        raise ConfigError("db-corrupt", "the database's mark cannot be read") from error
    if version != layout.DATABASE_FORMAT:
        message = f"the database has format {version}, this program reads format {layout.DATABASE_FORMAT}"
        raise ConfigError("db-newer-format", message)
    if marked_chain != chain:
        message = f"the database is of chain {marked_chain.hex()[:16]}, the genesis makes chain {chain.hex()[:16]}"
        raise ConfigError("db-other-chain", message)


def _header(store: Store, height: int) -> Header | None:
    data = store.get(layout.at_height(layout.HEADER, height)) if height >= 0 else None
    if data is None:
        return None
    with _reading(f"the header of block {height}"):
        return decode_header(data)


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """This node wrote what is read: if it is not what it was, the disk or another program has changed it."""
    try:
        yield
    except (CodecError, TypeError, ValueError, LookupError) as error:
        raise StoreFault("db-corrupt", f"{what} cannot be read: {error}") from error
