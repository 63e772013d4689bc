"""Receipts as files: what their signature proves, and what a chain says of what was received."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.errors import ConfigError, RefusedError
from node.evidence import proven_epochs
from node.model.epoch import encode_boundary
from node.model.keys import verify
from node.model.received import received_bytes
from node.model.transaction import Transaction, sign_transaction
from node.received import (
    NEGLECT_BLOCKS,
    Fate,
    ReceivedFile,
    check_receipt,
    dump_receipt,
    fate_of,
    make_receipt,
    parse_receipt,
    write_receipt,
)
from tests.ledger.chains import FOREVER, MEMBERS, Chain
from tests.ledger.epoch_chains import NAMES, EpochChain, key_of, make_genesis


def receipt(chain: Chain, tx: Transaction, member: int = 2, *, beside: int = 0) -> ReceivedFile:
    """What ``member`` answers at the chain's head; ``beside``: how many others came with it, before it."""
    listed = [chain.tx(5, 100 + number, "add", name="k", amount=1) for number in range(beside)] + [tx]
    height = chain.ledger.head.height
    signed = received_bytes(chain.genesis.chain, member, height, [each.id for each in listed])
    return make_receipt(chain.genesis.chain, listed, beside, member, height, MEMBERS[member].sign(signed))


def fate(chain: Chain, document: ReceivedFile) -> Fate:
    return fate_of(check_receipt(document, chain.genesis.chain, chain.ledger.epochs()), chain.ledger)


@pytest.fixture
def chain() -> Chain:
    chain = Chain()
    chain.add(chain.tx(0, 1, "add", name="k", amount=1))
    return chain


@pytest.mark.parametrize("beside", [0, 1, 6])
def test_who_received_it_is_proven_to_whoever_has_the_genesis(chain: Chain, beside: int) -> None:
    tx = chain.tx(1, 1, "add", name="k", amount=1)
    document = parse_receipt(dump_receipt(receipt(chain, tx, beside=beside)), "file")
    received = check_receipt(document, chain.genesis.chain, (chain.genesis.epoch,))
    assert (received.name, received.height, received.transaction.id) == ("member-2", 1, tx.id)


def test_nothing_else_has_been_received(chain: Chain) -> None:
    document = receipt(chain, chain.tx(1, 1, "add", name="k", amount=1), beside=2)
    other = chain.tx(1, 2, "add", name="k", amount=1)
    spoiled: dict[str, list[dict[str, Any]]] = {
        "bad-receipt": [{"transaction": other.raw}, {"transaction": b"no"}, {"index": 1}, {"count": 2}, {"path": ()},
                        {"height": -1}],
        "not-signed": [{"member": 1}, {"member": 4}, {"member": -1}, {"height": 2}, {"signature": bytes(64)},
                       {"signature": b""}],
        "wrong-chain": [{"chain": "00" * 32}],
    }  # fmt: skip
    for code, changes in spoiled.items():
        for change in changes:
            with pytest.raises(RefusedError) as refused:
                check_receipt(msgspec.structs.replace(document, **change), chain.genesis.chain, (chain.genesis.epoch,))
            assert refused.value.code == code, change


def test_a_receipt_of_a_later_epoch_brings_what_proves_its_members() -> None:
    """Checklist 47: the index is that of the epoch of the next block, even before its first block is there."""
    chain = EpochChain(genesis=make_genesis((*NAMES, "eve")))
    chain.grow_to(chain.decide("remove", "bob", "ada", "bob", "cyd", "dan") - 1)
    tx = sign_transaction(key_of("admin of ada"), chain.genesis.chain, 9, "governance", "withdraw", {}, FOREVER)
    signature = key_of("cyd").sign(received_bytes(chain.genesis.chain, 1, chain.height, [tx.id]))
    boundaries = tuple(encode_boundary(boundary) for boundary in chain.ledger.boundaries())
    document = make_receipt(chain.genesis.chain, [tx], 0, 1, chain.height, signature, boundaries)
    epochs = proven_epochs(chain.genesis, document.boundaries, verify)
    assert check_receipt(document, chain.genesis.chain, epochs).name == "cyd"
    with pytest.raises(RefusedError, match="not-signed"):
        check_receipt(document, chain.genesis.chain, (chain.genesis.epoch,))


def test_it_was_included_soon(chain: Chain) -> None:
    tx = chain.tx(1, 1, "add", name="k", amount=1)
    document = receipt(chain, tx)
    chain.add()
    chain.add(tx)
    chain.add()
    found = fate(chain, document)
    assert (found.head, found.included, found.code, found.blocks, found.neglected) == (4, 3, "ok", 2, False)


def test_it_was_included_before_the_receipt(chain: Chain) -> None:
    tx = chain.tx(1, 1, "add", name="k", amount=1)
    chain.add(tx)
    chain.add()
    assert (fate(chain, receipt(chain, tx)).blocks, fate(chain, receipt(chain, tx)).neglected) == (0, False)


def test_it_was_left_out(chain: Chain) -> None:
    """Checklist 28, 32: shown by the receipt and the chain."""
    tx = chain.tx(1, 1, "add", name="k", amount=1)
    document = receipt(chain, tx)
    for _ in range(NEGLECT_BLOCKS):
        chain.add()
    assert not fate(chain, document).neglected
    chain.add()
    found = fate(chain, document)
    assert (found.included, found.blocks, found.neglected) == (None, NEGLECT_BLOCKS + 1, True)
    chain.add(tx)  # late is neglect, too
    assert (fate(chain, document).included, fate(chain, document).neglected) == (NEGLECT_BLOCKS + 3, True)


def test_what_expired_was_neglected_only_if_it_had_time(chain: Chain) -> None:
    head = chain.ledger.head.time
    short, long = (
        receipt(chain, chain.tx(sender, 1, "add", name="k", amount=1, not_after=head + blocks))
        for sender, blocks in ((1, 10), (2, NEGLECT_BLOCKS + 10))
    )
    for _ in range(NEGLECT_BLOCKS + 20):
        chain.add()
    found = fate(chain, short)
    assert (found.blocks, found.neglected) == (10, False) and "expired at block 12" in found.why
    assert (fate(chain, long).blocks, fate(chain, long).neglected) == (NEGLECT_BLOCKS + 10, True)


def test_an_inclusion_without_effect_is_none(chain: Chain) -> None:
    head = chain.ledger.head.time
    tx = chain.tx(1, 1, "add", name="k", amount=1, not_after=head + 3)
    document = receipt(chain, tx)
    for _ in range(5):
        chain.add()
    chain.add(tx)
    found = fate(chain, document)
    assert (found.included, found.blocks, found.neglected) == (None, 3, False)


def test_who_used_the_nonce_otherwise_was_not_neglected(chain: Chain) -> None:
    document = receipt(chain, chain.tx(1, 1, "add", name="k", amount=1))
    chain.add(chain.tx(1, 1, "add", name="k", amount=2, not_after=FOREVER - 1))
    for _ in range(NEGLECT_BLOCKS + 1):
        chain.add()
    found = fate(chain, document)
    assert not found.neglected and "nonce" in found.why


def test_a_receipt_is_never_overwritten_by_another_command(chain: Chain, tmp_path: Path) -> None:
    document = receipt(chain, chain.tx(1, 1, "add", name="k", amount=1))
    path = tmp_path / "receipt.json"
    write_receipt(path, document, replace=False)
    with pytest.raises(ConfigError, match="file-exists"):
        write_receipt(path, document, replace=False)
    write_receipt(path, document, replace=True)
    assert parse_receipt(path.read_bytes(), "file") == document
    with pytest.raises(ConfigError, match="cannot-write"):
        write_receipt(tmp_path / "nowhere" / "receipt.json", document, replace=False)
    assert [each.name for each in tmp_path.iterdir()] == ["receipt.json"]
