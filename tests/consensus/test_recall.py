"""Who has forgotten what it voted for stays passive; who has not votes again as soon as the others have said so."""

from random import Random

import pytest

from node.consensus.messages import Message, Proposal, Recall, Recollection, Signed
from node.consensus.records import first_records
from node.consensus.replica import Anchor, Memory, Replica, Settings
from node.consensus.settings import OBSERVER, WINDOW
from node.consensus.statements import Commit, Prepare, PrePrepare, Statement, ViewChange
from node.errors import PeerError
from node.model.certificate import encode_certificate
from tests.consensus.harness import CHAIN, GENESIS_HASH, Cluster, keys, make_batch, plain_verify, sign_as
from tests.consensus.proofs import A, new_view, prepared, stable

Passes = tuple[int, int, Message]


class Audited(Cluster):
    """Keeps every vote that a node ever sent."""

    def __init__(self, n: int = 4, *, timeout_ticks: int = 20) -> None:
        self.votes: dict[int, list[Statement]] = {index: [] for index in range(n)}
        super().__init__(n, timeout_ticks=timeout_ticks)

    def obey(self, index: int) -> None:
        before = len(self.network)
        super().obey(index)
        for sender, _, message in list(self.network)[before:]:
            signed = message.pre_prepare if isinstance(message, Proposal) else message
            if isinstance(signed, Signed) and signed.sender == sender:
                self.votes[sender].append(self.statement(signed))

    def assert_nobody_voted_twice(self) -> None:
        """One vote for each (view, height, phase), and one ViewChange for each view."""
        for index, votes in self.votes.items():
            said: dict[object, Statement] = {}
            for vote in votes:
                if isinstance(vote, PrePrepare | Prepare | Commit):
                    assert said.setdefault((type(vote), vote.view, vote.height), vote) == vote, index
                elif isinstance(vote, ViewChange):
                    assert said.setdefault((ViewChange, vote.view), vote) == vote, index

    def work(self, *nodes: int, until: int, rounds: int = 400) -> None:
        """Blocks, one after the other, up to a height."""
        for _ in range(rounds):
            if min(self.heights()[index] for index in nodes) >= until:
                return
            for index in nodes:
                replica = self.replica(index)
                if replica.wants_batch and replica.next_height <= until and replica.next_height == replica.height + 1:
                    self.propose(index)
            self.deliver()
            if min(self.heights()[index] for index in nodes) < until:
                self.tick(nodes, pending=True)
        assert min(self.heights()[index] for index in nodes) >= until


def everything(sender: int, to: int, message: Message) -> bool:
    return True


def nothing(sender: int, to: int, message: Message) -> bool:
    return False


# Starting.


def test_a_new_network_starts_without_a_tick() -> None:
    """Checklist 37 and 39: everyone asks everyone, nobody holds anything: all may vote, some round trips later."""
    cluster = Cluster(4)  # has delivered what they said at their start
    assert [node.replica.passive_because for node in cluster.nodes] == [None] * 4
    cluster.propose(0)
    cluster.deliver()
    assert cluster.heights() == [1] * 4


def test_three_of_four_start_without_the_fourth() -> None:
    """Checklist 2 and 37: a member that never answers is one of the f that may be missing."""
    cluster = Cluster(4)
    for index in range(4):
        cluster.crash(index)
    for index in (0, 1, 2):
        cluster.restart(index)
    assert {cluster.replica(index).passive_because for index in (0, 1, 2)} == {"recalling"}
    cluster.deliver()
    assert {cluster.replica(index).passive_because for index in (0, 1, 2)} == {None}
    cluster.propose(0)
    cluster.deliver()
    assert cluster.heights()[:3] == [1] * 3


def test_a_restarted_replica_votes_for_nothing_before_enough_have_answered() -> None:
    """Checklist 37: it listens, and votes for all of it at once afterwards. Lost answers are asked for again."""
    cluster = Cluster(4)
    cluster.crash(1)
    cluster.passes = lambda sender, to, message: not isinstance(message, Recollection) and to != 3
    cluster.restart(1)
    cluster.propose(0, "a")
    cluster.deliver()
    assert cluster.replica(1).passive_because == "recalling"
    assert cluster.logged_votes(1) == [] and cluster.heights() == [0] * 4
    cluster.tick((0, 1, 2), count=20)
    assert cluster.logged_votes(1) == []
    cluster.passes = everything
    cluster.tick(count=12)
    assert cluster.replica(1).passive_because is None
    assert {type(vote) for vote in cluster.logged_votes(1)} >= {Prepare, Commit}
    assert cluster.heights() == [1] * 4


def test_it_needs_a_quorum_itself_included() -> None:
    """Checklist 37: one answer of three is not enough; an answer to an earlier start, or of another epoch, is none."""
    cluster = Cluster(4)
    cluster.crash(1)
    cluster.network.clear()
    cluster.restart(1)
    (question,) = {message for _, _, message in cluster.network if isinstance(message, Recall)}
    cluster.network.clear()
    for peer, epoch, start in ((0, 0, question.start - 1), (2, 1, question.start), (3, 0, question.start)):
        cluster.receive(peer, 1, Recollection(epoch, start, b"", ()))
    cluster.receive(3, 1, Recollection(0, question.start, b"", ()))
    assert cluster.replica(1).passive_because == "recalling"
    cluster.receive(2, 1, Recollection(0, question.start, b"", ()))
    assert cluster.replica(1).passive_because is None


def test_liars_make_nobody_passive() -> None:
    """Checklist 37: heights without a proof do not count, and statements that the asker did not sign neither."""
    cluster = Cluster(4)
    cluster.crash(1)
    cluster.restart(1)
    question = next(message for _, _, message in cluster.network if isinstance(message, Recall))
    cluster.network.clear()
    forged = Signed(1, sign_as(cluster.keys, 1, Commit(0, 9, A)).data, bytes(64))
    unproven = encode_certificate(stable(900).__class__(0, 0, 900, A, ((0, bytes(64)), (2, bytes(64)), (3, bytes(64)))))
    cluster.receive(0, 1, Recollection(0, question.start, unproven, (forged,)))
    cluster.receive(0, 1, Recollection(0, question.start, b"nonsense", (forged,)))
    assert [error.code for _, error in cluster.errors] == ["bad-recollection"] * 2
    cluster.receive(2, 1, Recollection(0, question.start, b"", (forged,)))
    assert cluster.replica(1).passive_because == "recalling"
    cluster.receive(3, 1, Recollection(0, question.start, b"", (forged, sign_as(cluster.keys, 2, Commit(0, 9, A)))))
    assert cluster.replica(1).passive_because is None and cluster.replica(1).barrier == 0
    assert cluster.nodes[1].forgotten == []


def test_who_is_merely_behind_votes_at_once() -> None:
    """Checklist 37: away for 40 blocks with its disk intact; another one dies; it is needed, and it votes."""
    cluster = Audited()
    cluster.crash(3)
    cluster.work(0, 1, 2, until=40)
    cluster.restart(3)
    cluster.tick(count=1)
    assert cluster.replica(3).passive_because is None
    cluster.crash(2)
    cluster.work(0, 1, 3, until=42)
    cluster.assert_nobody_voted_twice()


# Forgotten votes.


@pytest.mark.parametrize("index", [0, 2])
def test_a_wiped_replica_votes_above_the_barrier_only(index: int) -> None:
    """Checklist 37: a backup, or the primary itself, loses everything; what it signed before is never contradicted."""
    cluster = Audited()
    cluster.work(0, 1, 2, 3, until=5)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"
    primary = cluster.replica(0).primary
    for _ in range(WINDOW):
        cluster.propose(primary)
    cluster.deliver()  # votes for the whole window, of which nothing is stored
    before = len(cluster.votes[index])
    cluster.passes = everything
    cluster.wipe(index)
    others = [other for other in range(4) if other != index]
    cluster.tick(count=3, pending=True)
    replica = cluster.replica(index)
    assert replica.passive_because == "memory-lost"
    assert 5 + WINDOW + 1 <= replica.barrier <= 5 + 2 * WINDOW + 1
    cluster.work(*others, until=replica.barrier - 1)
    cluster.tick(count=10)
    assert replica.height == replica.barrier - 1 and replica.passive_because == "memory-lost"
    votes = cluster.votes[index][before:]
    assert not any(isinstance(vote, PrePrepare | Prepare | Commit | ViewChange) for vote in votes)
    cluster.work(*others, until=replica.barrier)
    cluster.tick(count=10)
    assert cluster.replica(index).passive_because is None
    cluster.crash(others[-1])
    cluster.work(index, *others[:-1], until=replica.barrier + 3)  # and it is needed again
    cluster.assert_nobody_voted_twice()
    cluster.assert_one_chain()


def test_a_lost_memory_stays_lost_over_restarts_until_the_barrier() -> None:
    """Checklist 37: killed before it has answers and after, its log rewritten: it does not take itself for sound."""
    cluster = Audited()
    cluster.work(0, 1, 2, 3, until=3)
    cluster.passes = nothing
    cluster.wipe(2)
    cluster.deliver()
    cluster.crash(2)
    cluster.passes = everything
    cluster.restart(2)  # the log is there now, and says that it is not to be trusted
    cluster.tick(count=10)
    barrier = cluster.replica(2).barrier
    assert barrier == 3 + WINDOW + 1 and cluster.replica(2).passive_because == "memory-lost"
    cluster.compact(2)
    for _ in range(2):
        cluster.crash(2)
        cluster.restart(2)
        cluster.deliver()
        assert (cluster.replica(2).barrier, cluster.replica(2).passive_because) == (barrier, "memory-lost")
    assert cluster.replica(2).memory is Memory.LOST
    cluster.work(0, 1, 3, until=barrier)
    cluster.tick(count=10)
    cluster.compact(2)
    cluster.crash(2)
    cluster.restart(2)
    cluster.deliver()
    assert cluster.replica(2).passive_because is None


def test_an_old_copy_of_the_disk_contradicts_nothing() -> None:
    """Checklist 37: the copy is sound in itself; the others hold votes that it does not have."""
    cluster = Audited()
    cluster.work(0, 1, 2, 3, until=2)
    copy = cluster.backup(0)
    cluster.work(0, 1, 2, 3, until=6)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"
    cluster.propose(0, "a")
    cluster.deliver()
    cluster.passes = everything
    cluster.restore(0, copy)
    cluster.deliver()
    assert cluster.replica(0).passive_because == "vote-forgotten"
    assert cluster.nodes[0].forgotten
    assert not cluster.replica(0).wants_batch
    barrier = cluster.replica(0).barrier
    cluster.work(1, 2, 3, until=barrier)
    cluster.tick(count=10)
    assert cluster.replica(0).passive_because is None
    cluster.crash(3)
    cluster.work(0, 1, 2, until=barrier + 2)
    cluster.assert_nobody_voted_twice()
    cluster.assert_one_chain()


def test_a_view_change_that_was_forgotten_is_taken_up_again() -> None:
    """Checklist 20 and 37: no vote in a view that it had left before its disk was restored."""
    cluster = Audited()
    copy = cluster.backup(2)
    cluster.propose(0, "a")
    cluster.deliver()
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "new-view"
    cluster.crash(0)
    cluster.tick((1, 2, 3), count=25, pending=True)
    said = [vote for vote in cluster.votes[2] if isinstance(vote, ViewChange)]
    assert said
    cluster.passes = everything
    cluster.restore(2, copy)
    cluster.restart(0)
    cluster.deliver()
    assert cluster.replica(2).passive_because == "vote-forgotten"
    assert cluster.replica(2).view >= said[-1].view
    assert cluster.memory(2).view_change is not None
    cluster.work(0, 1, 3, until=cluster.replica(2).barrier)
    cluster.tick(count=10)
    assert cluster.replica(2).passive_because is None
    cluster.assert_nobody_voted_twice()


def test_the_view_is_learned_before_a_vote_is_cast_in_it() -> None:
    """Checklist 37 and 41: back with an old copy, in view 0, whose primary it was; the others are in view 1 by now."""
    cluster = Audited()
    copy = cluster.backup(0)
    cluster.crash(0)
    cluster.tick((1, 2, 3), count=40, pending=True)
    cluster.work(1, 2, 3, until=2)
    cluster.network.clear()
    cluster.passes = lambda sender, to, message: sender != 2
    cluster.restore(0, copy)
    cluster.deliver(lambda sender, to, message: sender == 0 or (sender == 1 and to == 0))
    assert cluster.replica(0).passive_because == "recalling"
    assert cluster.replica(0).view == 0 and cluster.nodes[0].records == []  # shown, and held back
    cluster.deliver()
    assert cluster.replica(0).passive_because is None
    assert cluster.replica(0).view == 1 and not cluster.replica(0).wants_batch
    cluster.assert_nobody_voted_twice()


def test_a_power_loss_of_all_with_one_disk_lost() -> None:
    """Checklist 37 and 39: the other three recall one another and go on; nobody has to do anything."""
    cluster = Audited()
    cluster.work(0, 1, 2, 3, until=4)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"
    cluster.propose(0, "a")
    cluster.deliver()
    for index in range(4):
        cluster.crash(index)
    cluster.network.clear()
    cluster.passes = everything
    for index in (0, 1, 3):
        cluster.restart(index)
    cluster.wipe(2)
    cluster.work(0, 1, 3, until=5)
    assert cluster.digests(0)[4] == "a"
    cluster.tick(count=20)
    assert cluster.heights() == [5] * 4
    cluster.assert_nobody_voted_twice()


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
