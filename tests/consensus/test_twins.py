"""Own statements that nobody here remembers, epochs that follow one another, and one disk that loses what it likes."""

from random import Random

import pytest

from node.consensus.messages import Message, Recall, Recollection
from node.consensus.records import barrier_record, first_records
from node.consensus.replica import Anchor, Memory, Replica, Settings
from node.consensus.settings import OBSERVER, WINDOW
from node.consensus.statements import Commit, PrePrepare, ViewChange
from node.errors import PeerError
from tests.consensus.audited import Audited, everything
from tests.consensus.harness import CHAIN, GENESIS_HASH, Cluster, keys, make_batch, plain_verify, sign_as
from tests.consensus.proofs import A, new_view, prepared, stable

# Twins.


def test_the_proposal_of_a_twin_makes_a_primary_passive() -> None:
    """Checklist 38: another process with this key proposes; a backup repeats what it heard; no fork, and it is said."""
    cluster = Audited()
    cluster.work(0, 1, 2, 3, until=1)
    _, digest = make_batch(77)
    cluster.names[digest] = "twin"
    twin = sign_as(cluster.keys, 0, PrePrepare(0, 2, digest))
    cluster.receive(1, 0, twin)
    assert cluster.nodes[0].forgotten == [twin]
    assert cluster.replica(0).passive_because == "recalling" and not cluster.replica(0).wants_batch
    cluster.deliver()
    assert cluster.replica(0).passive_because == "vote-forgotten"
    assert cluster.replica(0).barrier == 1 + WINDOW + 1
    cluster.work(1, 2, 3, until=1 + WINDOW + 1)
    cluster.tick(count=10)
    assert cluster.replica(0).passive_because is None
    cluster.assert_one_chain()


def test_a_late_answer_to_the_first_question_does_not_answer_the_second() -> None:
    """Checklist 38: it says how far things were at the start, and the twin may have voted since."""
    cluster = Audited()
    late: list[tuple[int, Recollection]] = []

    def passes(sender: int, to: int, message: Message) -> bool:
        if to == 0 and sender != 3 and isinstance(message, Recollection):
            late.append((sender, message))
        return True

    cluster.crash(0)
    cluster.passes = passes
    cluster.restart(0)
    cluster.deliver()
    assert {sender for sender, _ in late} == {1, 2}
    cluster.work(0, 1, 2, 3, until=1)
    cluster.receive(1, 0, sign_as(cluster.keys, 0, PrePrepare(0, 2, A)))
    cluster.network.clear()
    for sender, message in late:
        cluster.receive(sender, 0, message)
    assert cluster.replica(0).passive_because == "recalling"


def test_a_twin_is_seen_in_certificates_and_new_views() -> None:
    """Checklist 38: a prepared certificate, a commit certificate, a NewView with votes that this process never cast."""
    for message in (
        sign_as(keys(4), 2, ViewChange(1, None, (prepared(0, 1, A),))),
        sign_as(keys(4), 2, ViewChange(1, stable(1), ())),
        new_view({0: ViewChange(1, None, ()), 1: ViewChange(1, None, ()), 2: ViewChange(1, None, ())}, 1)[0],
    ):
        cluster = Cluster(4)
        cluster.receive(2, 1, message)
        assert cluster.nodes[1].forgotten, message.sender
        assert cluster.replica(1).passive_because == "recalling"
        assert cluster.logged_votes(1) == []


def test_own_votes_that_come_back_are_no_twin() -> None:
    """Checklist 38: certificates and NewViews full of own votes, over crashes and views: nobody becomes passive."""
    cluster = Audited(timeout_ticks=4)
    random = Random(1)
    for round_number in range(60):
        index = random.randrange(4)
        cluster.passes = lambda sender, to, message: random.random() < 0.9
        if round_number % 3 == 0:
            cluster.crash(index)
        cluster.tick(count=6, pending=True)
        primary = cluster.replica(random.randrange(4)).primary
        if cluster.nodes[primary].is_up and cluster.replica(primary).wants_batch:
            cluster.propose(primary)
        if round_number % 5 == 0 and cluster.nodes[index].is_up:
            cluster.compact(index)
        if not cluster.nodes[index].is_up:
            cluster.restart(index)
        cluster.tick(count=3, pending=True)
    assert [node.forgotten for node in cluster.nodes] == [[]] * 4
    assert [node.replica.barrier for node in cluster.nodes] == [0] * 4
    cluster.assert_nobody_voted_twice()
    cluster.assert_one_chain()


# Epochs.


def test_what_the_next_epochs_replica_is_told() -> None:
    """Checklist 37 and 47: a sound replica goes on without asking; one that asks, or has forgotten, begins so again."""
    cluster = Audited()
    cluster.work(0, 1, 2, 3, until=2)
    assert cluster.replica(1).memory is Memory.CONTINUED
    cluster.crash(1)
    cluster.restart(1)
    assert cluster.replica(1).memory is Memory.KEPT
    cluster.wipe(1)
    assert cluster.replica(1).memory is Memory.LOST
    cluster.deliver()
    assert cluster.replica(1).memory is Memory.LOST
    settings = Settings(CHAIN, 1, cluster.members, 1, 2)
    following = Replica(settings, keys(4)[1], plain_verify, Anchor(2, GENESIS_HASH, None), [], Memory.CONTINUED)
    assert following.passive_because is None and not following.ready()


@pytest.mark.parametrize("memory", list(Memory))
def test_an_observer_hands_on_what_it_knows_of_its_votes(memory: Memory) -> None:
    """Checklist 37 and 49: it may be a member again in the next epoch, and have voted there before its loss."""
    settings = Settings(CHAIN, 0, Cluster(4).members, OBSERVER)
    replica = Replica(settings, keys(4)[0], plain_verify, Anchor(0, GENESIS_HASH, None), [], memory)
    records = replica.ready().persist
    assert replica.memory is memory
    assert records == first_records(memory)
    again = Replica(settings, keys(4)[0], plain_verify, Anchor(0, GENESIS_HASH, None), records)
    assert again.memory is (Memory.LOST if memory is Memory.LOST else Memory.KEPT)


def test_a_recollection_nobody_asked_for_is_nothing() -> None:
    """Checklist 52: it costs no signature check and changes nothing."""
    cluster = Cluster(4)
    before = cluster.replica(1).held
    cluster.receive(0, 1, Recollection(0, 0, b"nonsense", (sign_as(cluster.keys, 1, Commit(0, 3, A)),) * 100))
    assert cluster.errors == [] and cluster.replica(1).held == before
    assert cluster.replica(1).passive_because is None
    with pytest.raises(PeerError):
        cluster.replica(1).step(1, Recall(0, 0, 0, 0))


@pytest.mark.parametrize("seed", range(10))
def test_whatever_one_disk_loses_nobody_votes_twice(seed: int) -> None:
    """Checklist 37: on a lossy network one member, again and again, is wiped or gets an old copy back, or dies."""
    random = Random(seed)
    cluster = Audited(timeout_ticks=6)
    cluster.is_traced = False
    victim = random.randrange(4)
    copies = [cluster.backup(victim)]
    for round_number in range(120):
        cluster.passes = lambda sender, to, message: random.random() < 0.93
        if random.random() < 0.1 and cluster.nodes[victim].is_up:
            copies.append(cluster.backup(victim))
        chance = random.random()
        if round_number % 40 == 20:
            cluster.network = type(cluster.network)(item for item in cluster.network if item[0] != victim)
            cluster.wipe(victim) if chance < 0.5 else cluster.restore(victim, random.choice(copies))
        elif chance < 0.05:
            other = random.randrange(4)
            cluster.crash(other)
            cluster.restart(other)
        primary = cluster.replica(random.randrange(4)).primary
        if cluster.replica(primary).wants_batch:
            cluster.propose(primary)
        cluster.tick(count=1 + random.randrange(3), pending=True)
    cluster.passes = everything
    others = [index for index in range(4) if index != victim]
    cluster.work(*others, until=max(cluster.heights()) + WINDOW + 3)
    cluster.tick(count=20)
    assert cluster.replica(victim).passive_because is None
    cluster.assert_nobody_voted_twice()
    cluster.assert_one_chain()


def test_an_observer_asks_nobody_about_its_votes() -> None:
    """Checklist 49: its log may speak of a barrier, from when it was a member."""
    settings = Settings(CHAIN, 0, Cluster(4).members, OBSERVER)
    replica = Replica(settings, keys(4)[0], plain_verify, Anchor(0, GENESIS_HASH, None), [barrier_record(30)])
    for _ in range(40):
        replica.tick(pending=True, overdue=True)
    assert not replica.ready()
