"""One epoch of the protocol: where it starts, where it ends, and who merely follows."""

import pytest

from node.consensus.messages import BlockReply, Message, Proposal, Signed
from node.consensus.replica import Anchor, Replica, Settings
from node.consensus.settings import OBSERVER, WINDOW
from node.consensus.statements import Commit, Prepare, PrePrepare, ViewChange
from node.consensus.view_change import check_view_change
from node.errors import PeerError
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from tests.consensus.harness import CHAIN, GENESIS_HASH, Cluster, keys, make_batch, plain_verify, sign_as
from tests.consensus.proofs import A, desk, prepared, stable

BASE = 40


def ending_at(end: int, *, base: int = BASE, observers: int = 0) -> Cluster:
    """Four members, all told the end of their epoch."""
    cluster = Cluster(4, base=base, observers=observers)
    for node in cluster.nodes:
        node.replica.end_at(end)
    return cluster


def test_an_epoch_starts_after_its_base() -> None:
    """Checklist 47: heights go on, views begin anew."""
    cluster = Cluster(4, base=BASE)
    for name in "abc":
        cluster.propose(0, name)
    cluster.deliver()
    assert cluster.heights() == [BASE + 3] * 4
    assert cluster.replica(1).view == 0
    cluster.assert_one_chain()


def test_a_view_change_before_the_first_block_of_an_epoch() -> None:
    """Checklist 47: nothing is stored above the base; what was prepared there comes back."""
    cluster = Cluster(4, base=BASE)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"
    cluster.propose(0, "a")
    cluster.propose(0, "b")
    cluster.deliver()
    cluster.crash(0)
    cluster.passes = lambda sender, to, message: True
    cluster.tick((1, 2, 3), count=30, pending=True)
    assert cluster.digests(1) == ["a", "b"]
    assert cluster.replica(1).view == 1
    cluster.restart(0)
    cluster.tick(count=20, pending=True)
    assert cluster.heights() == [BASE + 2] * 4
    cluster.assert_one_chain()


def test_nothing_is_proposed_voted_for_or_stored_above_the_end() -> None:
    """Checklist 47: nothing of the next epoch before the last certificate of this one, nothing more of this after."""
    cluster = ending_at(BASE + 3)
    for name in "abc":
        cluster.propose(0, name)
    assert not cluster.replica(0).wants_batch
    raw, digest = make_batch(9)
    cluster.names[digest] = "above"
    cluster.receive(0, 1, Proposal(sign_as(cluster.keys, 0, PrePrepare(0, BASE + 4, digest)), raw))
    for member in (0, 2, 3):
        cluster.receive(member, 1, sign_as(cluster.keys, member, Commit(0, BASE + 4, digest)))
        if member:
            cluster.receive(member, 1, sign_as(cluster.keys, member, Prepare(0, BASE + 4, digest)))
    cluster.deliver()
    assert cluster.heights() == [BASE + 3] * 4
    assert all(node.replica.is_finished for node in cluster.nodes)
    assert all(vote.height <= BASE + 3 for vote in cluster.logged_votes(1) if isinstance(vote, Prepare | Commit))
    cluster.tick(count=50, pending=False)
    assert cluster.heights() == [BASE + 3] * 4 and cluster.replica(1).view == 0


def test_a_view_change_that_spans_the_end() -> None:
    """Checklist 47: one member has the last block and is gone; the others bring the same block back."""
    cluster = ending_at(BASE + 2)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit" or to == 0
    cluster.propose(0, "a")
    cluster.propose(0, "last")
    cluster.deliver()
    assert cluster.heights() == [BASE + 1, BASE, BASE, BASE] or cluster.replica(0).is_finished
    cluster.passes = lambda sender, to, message: True
    cluster.crash(0)
    cluster.tick((1, 2, 3), count=60, pending=True)
    assert cluster.digests(1) == ["a", "last"]
    assert all(cluster.replica(index).is_finished for index in (1, 2, 3))
    cluster.assert_one_chain()


def test_whoever_lacks_the_last_block_fetches_it_from_the_next_epoch() -> None:
    """Checklist 47: the last certificate is known to others alone, who are in the next epoch by now."""
    cluster = ending_at(BASE + 2)
    cluster.passes = lambda sender, to, message: to != 3
    cluster.propose(0, "a")
    cluster.propose(0, "b")
    cluster.deliver()
    cluster.passes = lambda sender, to, message: True
    cluster.network.clear()
    cluster.tick(count=20)
    assert cluster.heights() == [BASE + 2] * 4


def test_blocks_of_the_next_epoch_wait_for_its_replica() -> None:
    """Checklist 47: a peer that is ahead sends on, past an end that is not known here yet. It is not to blame."""
    cluster = Cluster(4, base=BASE)
    cluster.passes = lambda sender, to, message: to != 3
    cluster.propose(0, "a")
    cluster.deliver()
    header, body, certificate = cluster.nodes[0].chain[0]
    last = (encode_header(header), body, encode_certificate(certificate))
    fields = {name: getattr(header, name) for name in header.__struct_fields__}
    later = type(header)(**(fields | {"epoch": 1, "height": BASE + 2, "parent_hash": header.hash}))
    following = (encode_header(later), body, encode_certificate(certificate))

    def with_more(sender: int, to: int, message: Message) -> bool:
        if isinstance(message, BlockReply):
            cluster.receive(sender, to, BlockReply((last, following)))
            return False
        return True

    cluster.passes = with_more
    cluster.network.clear()
    cluster.tick(count=20)
    assert cluster.heights() == [BASE + 1] * 4
    assert cluster.errors == []


def test_an_observer_follows_and_says_nothing() -> None:
    """Checklist 49: no member, no vote; it fetches what the members store, and answers who asks it for blocks."""
    cluster = ending_at(BASE + 6, observers=1)
    said: list[Message] = []

    def listen(sender: int, to: int, message: Message) -> bool:
        if sender == 4:
            said.append(message)
        return True

    cluster.passes = listen
    for _ in range(6):
        cluster.propose(0)
        cluster.deliver()
        cluster.tick(range(5), count=8, pending=True)
    cluster.tick(range(5), count=40, pending=True)
    assert cluster.heights() == [BASE + 6] * 5
    assert cluster.replica(4).is_finished and cluster.replica(4).passive_because == "observer"
    assert not any(isinstance(message, Signed | Proposal) for message in said)
    assert not any(b"vote" in record[:8] for record in cluster.nodes[4].records)


def test_what_a_view_change_may_show_depends_on_the_base() -> None:
    """Checklist 13: without a stable block, prepared heights lie in the first window of the epoch."""
    check_view_change(ViewChange(1, None, (prepared(0, 16, A),)), desk())
    with pytest.raises(PeerError) as error:
        check_view_change(ViewChange(1, None, (prepared(0, 17, A),)), desk())
    assert error.value.code == "bad-view-change"
    late = desk(base=BASE)
    check_view_change(ViewChange(1, None, (prepared(0, BASE + WINDOW, A),)), late)
    for wrong in (ViewChange(1, None, (prepared(0, BASE, A),)), ViewChange(1, stable(BASE), ())):
        with pytest.raises(PeerError) as error:
            check_view_change(wrong, late)
        assert error.value.code == "bad-view-change"


def test_a_replica_that_cannot_start_there_says_so() -> None:
    """A certificate exactly above the base, no end below what is stored, one end only."""
    members = tuple(key.public_key for key in keys(4))
    settings = Settings(CHAIN, 1, members, 0, BASE)
    for anchor in (Anchor(BASE, GENESIS_HASH, stable(BASE)), Anchor(BASE + 1, A, None), Anchor(BASE - 1, A, None)):
        with pytest.raises(ValueError, match="wrong certificate"):
            Replica(settings, keys(4)[0], plain_verify, anchor, [])
    replica = Replica(settings, keys(4)[0], plain_verify, Anchor(BASE, GENESIS_HASH, None), [])
    replica.end_at(BASE + 50)
    replica.end_at(BASE + 50)
    for wrong in (BASE - 1, BASE + 60):
        with pytest.raises(ValueError, match="cannot end"):
            replica.end_at(wrong)
    for me, base in ((OBSERVER - 1, 0), (4, 0), (0, -1)):
        with pytest.raises(ValueError, match=r"member|epoch"):
            Settings(CHAIN, 1, members, me, base)
