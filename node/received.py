"""Receipts as files: a member's signed word that it has received a transaction, kept by the client, and what it shows.

A receipt is no promise. But a transaction that a member has received reaches all members: if no block brings it though
many could have, somebody left it out, and whoever holds the receipt and the chain can show it. The signature is checked
with the members' keys alone; what became of the transaction, by a chain.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from chaincode.erasable import in_call
from node.errors import ConfigError, RefusedError
from node.ledger.chain import UNUSED_CODES, Ledger
from node.model import keys
from node.model.epoch import Epoch
from node.model.keys import Verify
from node.model.merkle_list import list_proof, list_proof_is_valid, list_root
from node.model.received import received_root_bytes
from node.model.transaction import Transaction, decode_transaction

RECEIPT_FORMAT: Final = 1
RECEIPT_KIND: Final = "received"
MAX_RECEIPT_FILE_BYTES: Final = 4 * 1024 * 1024
NEGLECT_BLOCKS: Final = 64
"""A transaction that could have stood in more blocks than this since it was received, and stands in none, was left out.

A full mempool is twenty full blocks; a member that is passed over replaces the primary within seconds. This is three
times as much as the two need together."""


class ReceivedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``transaction``: as it was signed; ``root``: the list root over the ids of all that were received with it, the
    one signed; ``index``, ``count``, ``path``: where it stands among them (``node/model/merkle_list.py``).

    ``member``: the signer's index in the epoch of the block after ``height``, where its chain stood; ``boundaries``:
    what proves the epochs from 1 on (``node/epochs.py``), encoded. Bytes are base64, ``chain`` hex.
    """

    format: int
    kind: str
    chain: str
    member: int
    height: int
    signature: bytes
    transaction: bytes
    root: bytes
    index: int
    count: int
    path: tuple[bytes, ...]
    boundaries: tuple[bytes, ...] = ()


class Received(NamedTuple):
    """What the receipt's signature proves: who had ``transaction``, and where its chain stood then."""

    name: str
    height: int
    transaction: Transaction


class Fate(NamedTuple):
    """What a chain up to block ``head`` says of a received transaction.

    ``included``: the height of the block that brought it, None if there is none, and ``code`` its receipt's.
    ``blocks``: how many came from the receipt on until that block, or in which it could have stood. ``why``: in words.
    """

    head: int
    included: int | None
    code: str | None
    blocks: int
    neglected: bool
    why: str


def make_receipt(
    chain: bytes,
    transactions: list[Transaction],
    index: int,
    member: int,
    height: int,
    signature: bytes,
    boundaries: tuple[bytes, ...] = (),
) -> ReceivedFile:
    """The receipt of one of the ``transactions`` that one signature acknowledges, in their order."""
    ids = [tx.id for tx in transactions]
    return ReceivedFile(
        format=RECEIPT_FORMAT,
        kind=RECEIPT_KIND,
        chain=chain.hex(),
        member=member,
        height=height,
        signature=signature,
        transaction=transactions[index].raw,
        root=list_root(ids),
        index=index,
        count=len(ids),
        path=list_proof(ids, index),
        boundaries=boundaries,
    )


def parse_receipt(data: bytes, source: str) -> ReceivedFile:
    """The file's content; ``source`` names it in errors. Raises RefusedError("bad-receipt")."""
    if len(data) > MAX_RECEIPT_FILE_BYTES:
        raise RefusedError("bad-receipt", f"{source}: larger than any receipt")
    try:
        document = msgspec.json.decode(data, type=ReceivedFile)
    except UnicodeDecodeError as error:
        raise RefusedError("bad-receipt", f"{source}: not UTF-8 text") from error
    except msgspec.MsgspecError as error:
        raise RefusedError("bad-receipt", f"{source}: {error}") from error
    if (document.format, document.kind) != (RECEIPT_FORMAT, RECEIPT_KIND):
        raise RefusedError("bad-receipt", f"{source}: format {document.format}, this program reads {RECEIPT_FORMAT}")
    return document


def dump_receipt(document: ReceivedFile) -> bytes:
    """The JSON of a receipt, indented for people."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def write_receipt(path: Path, document: ReceivedFile, *, replace: bool) -> None:
    """Write the file, whole or not at all, synced. Raises ConfigError: "file-exists" unless ``replace``,
    "cannot-write"."""
    unfinished = path.with_name(path.name + ".new")
    try:
        if path.exists() and not replace:
            raise ConfigError("file-exists", f"{path} is there already; it is not overwritten")
        with unfinished.open("wb") as file:
            file.write(dump_receipt(document))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise ConfigError("cannot-write", f"{path}: {error.strerror}") from error


def check_receipt(
    document: ReceivedFile, chain: bytes, epochs: tuple[Epoch, ...], verify: Verify = keys.verify
) -> Received:
    """Who received what. ``epochs``: those that are proven, epoch 0 first.

    Raises RefusedError: "wrong-chain", "bad-receipt" (what was received cannot be read, or is not under the signed
    root), "not-signed" (by no member of that height).
    """
    if document.chain != chain.hex():
        raise RefusedError("wrong-chain", f"it is of chain {document.chain[:16]}, not {chain.hex()[:16]}")
    try:
        tx = decode_transaction(document.transaction)
    except RefusedError as error:
        raise RefusedError("bad-receipt", f"what was received cannot be read: {error.message}") from error
    if not list_proof_is_valid(document.root, tx.id, document.index, document.count, document.path):
        raise RefusedError("bad-receipt", "the transaction is not among those that the signature is for")
    if not 0 <= document.height < 1 << 63 or len(document.root) != 32:
        raise RefusedError("bad-receipt", "its height or root is none")
    signed = received_root_bytes(chain, document.member, document.height, document.root)
    epoch = next(epoch for epoch in reversed(epochs) if epoch.base <= document.height)
    is_member = 0 <= document.member < len(epoch.members)
    if not is_member or not verify(epoch.keys[document.member], signed, document.signature):
        raise RefusedError("not-signed", f"not signed by member {document.member} of epoch {epoch.number}")
    return Received(epoch.members[document.member].name, document.height, tx)


def fate_of(received: Received, ledger: Ledger) -> Fate:
    """What became of a received transaction, by this chain. Raises StoreFault."""
    tx, head = received.transaction, ledger.head.height
    found = ledger.find(tx.id)
    if found is not None and found[2].code not in UNUSED_CODES:
        height, _, receipt = found
        blocks = max(0, height - received.height)
        late = blocks > NEGLECT_BLOCKS
        return Fate(head, height, receipt.code, blocks, late, f"in block {height}, {blocks} blocks after the receipt")
    last = _last_in_time(ledger, tx.payload.not_after)
    blocks = max(0, last - received.height)
    if not ledger.nonce_acceptable(tx.payload.sender, tx.payload.nonce):
        why = f"in no block up to {head}: its nonce was used by another transaction, or skipped"
        if in_call(tx.payload.contract, tx.payload.method, tx.payload.args):
            why += "; or it was executed, and has been erased with the readings in it"
        return Fate(head, None, None, blocks, False, why)
    why = f"in no block up to {head}; it could have stood in {blocks} blocks after the receipt"
    if last < head:
        why += f", and has expired at block {last + 1}"
    return Fate(head, None, None, blocks, blocks > NEGLECT_BLOCKS, why)


def _last_in_time(ledger: Ledger, not_after: int) -> int:
    """The height of the last block whose time is not after ``not_after``; block times never go back."""
    low, high = 0, ledger.head.height
    if ledger.head.time <= not_after:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        block = ledger.block(middle)
        # What a chain that begins at a snapshot does not have is older than what it has.
        if block is None or block.header.time <= not_after:
            low = middle
        else:
            high = middle - 1
    return low
