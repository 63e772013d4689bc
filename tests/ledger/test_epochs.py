"""The ledger knows who the members are at every height, and keeps what proves it."""

import pytest

from chaincode.governance import NOTICE
from node.errors import NodeFault, StoreFault
from node.ledger import layout
from node.model.block import decode_header
from node.model.certificate import decode_certificate
from tests.ledger.chains import Chain
from tests.ledger.epoch_chains import NAMES, EpochChain, certify, joining, make_genesis


def test_without_governance_there_is_one_epoch() -> None:
    chain = Chain()
    chain.add_null()
    epoch = chain.genesis.epoch
    assert chain.ledger.epochs() == (epoch,)
    assert chain.ledger.epoch_at(0) == chain.ledger.epoch_at(1) == chain.ledger.epoch_at(10**9) == epoch
    assert chain.ledger.boundaries() == ()
    header = chain.ledger.head
    assert header.members_hash == header.next_members_hash == epoch.hash


def test_a_change_is_known_ahead_and_takes_effect_at_its_height() -> None:
    """Checklist 47: at a stated height, which every header tells of."""
    chain = EpochChain()
    first = chain.decide("add", "eve", "ada", "bob", "cyd", **joining("eve"))
    ledger = chain.ledger
    assert first == chain.height + NOTICE and ledger.head.epoch == 0
    old, new = ledger.epochs()
    assert (new.number, new.first_height) == (1, first)
    assert [member.name for member in new.members] == [*NAMES, "eve"]
    assert ledger.epoch_at(first - 1) == old and ledger.epoch_at(first) == new
    chain.grow_to(first - 2)
    assert ledger.head.next_members_hash == ledger.head.members_hash and ledger.boundaries() == ()
    chain.add()
    assert (ledger.head.epoch, ledger.head.members_hash, ledger.head.next_members_hash) == (0, old.hash, new.hash)
    (boundary,) = ledger.boundaries()
    assert decode_header(boundary.header) == ledger.head and boundary.members == new.members
    assert decode_certificate(boundary.certificate).height == first - 1
    chain.add()
    assert (ledger.head.epoch, ledger.head.members_hash, ledger.head.next_members_hash) == (1, new.hash, new.hash)


def test_a_restart_finds_every_epoch_again() -> None:
    chain = EpochChain()
    chain.grow_to(chain.decide("add", "eve", "ada", "bob", "cyd", **joining("eve")))
    chain.decide("remove", "bob", "ada", "cyd", "dan", "eve")
    before = chain.ledger.epochs(), chain.ledger.boundaries()
    chain.reopen()
    assert (chain.ledger.epochs(), chain.ledger.boundaries()) == before
    assert [epoch.number for epoch in chain.ledger.epochs()] == [0, 1, 2]


def test_a_certificate_of_another_epoch_is_not_stored() -> None:
    """Checklist 47: nor is anything of the new epoch before the last certificate of the old."""
    chain = EpochChain()
    first = chain.decide("add", "eve", "ada", "bob", "cyd", **joining("eve"))
    old, new = chain.ledger.epochs()
    chain.grow_to(first - 1)
    execution = chain.execute()
    with pytest.raises(NodeFault, match="wrong-block"):
        chain.ledger.commit(execution, certify(execution, old))
    chain.ledger.commit(execution, certify(execution, new))


def test_a_boundary_that_cannot_be_read_is_the_databases_fault() -> None:
    chain = EpochChain()
    chain.grow_to(chain.decide("add", "eve", "ada", "bob", "cyd", **joining("eve")))
    chain.store.write({layout.at_height(layout.BOUNDARY, 1): b"damaged"})
    with pytest.raises(StoreFault, match="db-corrupt"):
        chain.ledger.boundaries()


@pytest.mark.parametrize("governed", [True, False])
def test_the_first_epoch_is_the_genesis_own(governed: bool) -> None:
    chain = EpochChain(genesis=make_genesis(governed=governed))
    assert chain.ledger.epochs() == (chain.genesis.epoch,)
