"""A join across changes of members: every certificate by the members of its own epoch, these proven from genesis on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from node.errors import RefusedError
from node.gateway.guard import Context
from node.gateway.snapshots import SnapshotService
from node.model.epoch import Boundary, decode_boundary, encode_boundary
from node.snapshot.audit import verify_data
from node.snapshot.shelf import Shelf
from protos import gateway_pb2 as pb
from tests.ledger.epoch_chains import EpochChain, joining
from tests.snapshot.harness import Seen, everybody, joined, opened, service, snapshot, state_of


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> tuple[EpochChain, Shelf]:
    """Epoch 1 adds eve, epoch 2 takes ada out; the snapshot is of the last block of epoch 1, and blocks follow."""
    chain = EpochChain()
    chain.grow_to(3)
    chain.grow_to(chain.decide("add", "eve", "ada", "bob", "cyd", **joining("eve")) + 5)
    last = chain.decide("remove", "ada", "bob", "cyd", "dan", "eve") - 1
    chain.grow_to(last)
    assert chain.ledger.head.epoch == 1
    shelf = snapshot(chain, tmp_path_factory.mktemp("shelf"))
    chain.grow_to(last + 20)
    assert chain.ledger.head.epoch == 2
    return chain, shelf


@pytest.mark.parametrize("blocks_only", [False, True])
def test_the_epochs_come_along(changing: tuple[EpochChain, Shelf], tmp_path: Path, blocks_only: bool) -> None:
    """Checklist 47: certificates are checked with their height's members."""
    chain, shelf = changing
    report = joined(chain, tmp_path / "data", [service(chain, shelf)], blocks_only=blocks_only)
    assert report.height == chain.height and not report.dropped
    store, ledger = opened(chain, tmp_path / "data")
    try:
        assert ledger.epochs() == chain.ledger.epochs()
        assert ledger.boundaries() == chain.ledger.boundaries()
        assert state_of(store) == state_of(chain.store)
        audit = verify_data(store, chain.genesis, chain.registry, Shelf(tmp_path / "data" / "snapshots"))
        assert audit.replayed_from == report.snapshot_height + 1
    finally:
        store.close()


class Rewriting(SnapshotService):
    """Tells another history of the members."""

    rewritten: Callable[[list[Boundary]], list[Boundary]]

    async def List(self, request: pb.SnapshotsRequest, context: Context) -> pb.SnapshotsReply:
        reply = await super().List(request, context)
        told = self.rewritten([decode_boundary(each) for each in reply.boundaries])
        del reply.boundaries[:]
        reply.boundaries.extend([encode_boundary(each) for each in told])
        return reply


def silent(boundaries: list[Boundary]) -> list[Boundary]:
    return boundaries[:1]


def skipping(boundaries: list[Boundary]) -> list[Boundary]:
    return boundaries[1:]


def usurping(boundaries: list[Boundary]) -> list[Boundary]:
    first = boundaries[0]
    return [Boundary(first.header, first.certificate, first.members[1:]), *boundaries[1:]]


@pytest.mark.parametrize(
    ("rewritten", "code"), [(silent, "bad-certificate"), (skipping, "bad-epochs"), (usurping, "bad-epochs")]
)
def test_who_tells_another_history_of_the_members_is_named(
    changing: tuple[EpochChain, Shelf],
    tmp_path: Path,
    rewritten: Callable[[list[Boundary]], list[Boundary]],
    code: str,
) -> None:
    chain, shelf = changing
    liar = Rewriting(chain.genesis.chain, chain.ledger, shelf, everybody)
    liar.rewritten = rewritten
    with pytest.raises(RefusedError, match=code):
        joined(chain, tmp_path / "data", [liar])
    seen = Seen()
    assert joined(chain, tmp_path / "data", [liar, service(chain, shelf)], seen).height == chain.height
    assert [(verdict.code, verdict.lied) for verdict in seen.verdicts.values()] == [(code, True)]
