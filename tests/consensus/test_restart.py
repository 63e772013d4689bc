"""What a replica must find on its disk when it comes back, and what it then does."""

from collections.abc import Sequence

import pytest

from node.consensus.messages import Message, Proposal, Ready, Signed
from node.consensus.records import body_record, vote_record
from node.consensus.statements import Commit, NewView, Prepare, PrePrepare, Statement, ViewChange
from node.errors import DivergenceFault, StoreFault
from node.model.codec import encode
from tests.consensus.harness import Cluster, make_batch, sign_as

OTHER = b"\x07" * 32


def votes_sent(cluster: Cluster, index: int, messages: Sequence[tuple[int, int, Message]]) -> list[Statement]:
    """The votes of a node among messages."""
    found: list[Statement] = []
    for sender, _, message in messages:
        signed = message.pre_prepare if isinstance(message, Proposal) else message
        if sender == index and isinstance(signed, Signed) and signed.sender == index:
            found.append(cluster.statement(signed))
    return found


def contradictions(votes: Sequence[Statement]) -> list[object]:
    """(phase, view, height) for which there are two different votes."""
    said: dict[object, Statement] = {}
    wrong: list[object] = []
    for vote in votes:
        if isinstance(vote, PrePrepare | Prepare | Commit):
            place = (type(vote), vote.view, vote.height)
            if said.setdefault(place, vote) != vote:
                wrong.append(place)
    return wrong


class Recorder(Cluster):
    """Remembers all that was ever sent; node 1 dies when it has synced for the ``crash_at``-th time, before sending."""

    def __init__(self, crash_at: int) -> None:
        self.sent: list[tuple[int, int, Message]] = []
        super().__init__(4)
        self.syncs = 0
        self.crash_at = crash_at
        self.survives = self._survives

    def _survives(self, index: int) -> bool:
        self.syncs += index == 1
        return index != 1 or self.syncs != self.crash_at

    def obey(self, index: int) -> None:
        super().obey(index)
        self.sent.extend(item for item in self.network if item not in self.sent)


@pytest.mark.parametrize("crash_at", range(1, 13))
def test_killed_at_any_append_it_never_votes_twice(crash_at: int) -> None:
    """Checklist 35: power is cut right after each sync; after the restart the primary offers something else."""
    cluster = Recorder(crash_at)
    cluster.propose(0)
    cluster.propose(0)
    cluster.deliver()
    cluster.tick((0, 1, 2, 3), count=30, pending=True)
    for _ in range(3):
        if cluster.nodes[1].is_up and cluster.replica(1).wants_batch:
            cluster.propose(1)
            cluster.deliver()
    assert cluster.syncs >= crash_at and not cluster.nodes[1].is_up
    cluster.restart(1)
    view, primary = cluster.replica(1).view, cluster.replica(1).primary
    height = len(cluster.nodes[1].chain)
    if primary != 1:
        for other in range(1, 4):
            raw, digest = make_batch(100 + other, primary)
            cluster.names[digest] = f"x{other}"
            proposal = sign_as(cluster.keys, primary, PrePrepare(view, height + other, digest))
            cluster.receive(primary, 1, Proposal(proposal, raw))
    cluster.tick(count=40, pending=True)
    assert contradictions(votes_sent(cluster, 1, cluster.sent)) == []
    cluster.assert_one_chain()


def test_nothing_leaves_before_what_it_rests_on_is_synced() -> None:
    """Checklist 35: every vote in ``send`` is among the records persisted before or with it, and so is its batch."""
    cluster = Cluster(4)
    seen: list[tuple[int, Ready]] = []
    original = cluster._describe_ready

    def watch(index: int, ready: Ready) -> None:
        seen.append((index, ready))
        original(index, ready)

    cluster._describe_ready = watch  # type: ignore[method-assign]
    cluster.propose(0)
    cluster.deliver()
    cluster.crash(0)
    cluster.tick((1, 2, 3), count=30, pending=True)
    cluster.propose(1)
    cluster.deliver()
    log: dict[int, list[bytes]] = {index: [] for index in range(4)}
    checked = set()
    for index, ready in seen:
        log[index].extend(ready.persist)
        text = b"".join(log[index])
        for send in ready.send:
            signed = send.message.pre_prepare if isinstance(send.message, Proposal) else send.message
            if not isinstance(signed, Signed) or signed.sender != index:
                continue
            statement = cluster.statement(signed)
            checked.add(type(statement))
            if isinstance(statement, PrePrepare | Prepare):
                assert signed.signature in text and b"body" in text and statement.digest in text
            elif isinstance(statement, Commit):
                assert signed.signature in text and b"certificate" in text
            elif isinstance(statement, ViewChange | NewView):
                assert signed.signature in text
    assert checked >= {PrePrepare, Prepare, Commit, ViewChange, NewView}


def test_a_vote_is_sent_again_as_it_was() -> None:
    """Checklist 35: from the log, byte for byte."""
    cluster = Cluster(4)
    cluster.passes = lambda sender, to, message: to == 1 or sender == 0
    cluster.propose(0, "a")
    cluster.deliver()
    before = [vote.signed for vote in cluster.memory(1).votes]
    assert before
    cluster.crash(1)
    cluster.restart(1)
    cluster.network.clear()
    cluster.replica(1).tick(pending=False, overdue=False)
    sent = [send.message for send in cluster.replica(1).ready().send]
    assert all(vote in sent for vote in before)


def test_power_loss_of_every_node_keeps_what_one_has_committed() -> None:
    """Checklist 35: one node stored the block, its disk is gone; the others bring the same block back."""
    cluster = Cluster(4)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit" or to == 3
    cluster.propose(0, "a")
    cluster.propose(0, "b")
    cluster.deliver()
    assert cluster.heights() == [0, 0, 0, 1]
    (lost,) = cluster.nodes[3].chain
    for index in range(4):
        cluster.crash(index)
    cluster.network.clear()
    cluster.passes = lambda sender, to, message: True
    for index in (0, 1, 2):
        cluster.restart(index)
    cluster.tick((0, 1, 2), count=60, pending=True)
    assert cluster.nodes[1].chain[0][0] == lost[0]
    cluster.restart(3)
    cluster.tick(count=30, pending=True)
    cluster.assert_one_chain()


def test_power_loss_with_a_new_primary_still_keeps_it() -> None:
    """Checklist 35: the same, and the old primary never comes back."""
    cluster = Cluster(4)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit" or to == 0
    cluster.propose(0, "a")
    cluster.deliver()
    assert cluster.heights() == [1, 0, 0, 0]
    for index in range(4):
        cluster.crash(index)
    cluster.network.clear()
    cluster.passes = lambda sender, to, message: True
    for index in (1, 2, 3):
        cluster.restart(index)
    cluster.tick((1, 2, 3), count=60, pending=True)
    assert cluster.digests(1) == ["a"]
    cluster.assert_one_chain()


def test_the_whole_network_stopped_and_started_goes_on() -> None:
    """Checklist 39: at any moment of a view change too, with logs rewritten or not."""
    for ticks in range(0, 50, 7):
        for compact in (False, True):
            cluster = Cluster(4)
            cluster.propose(0)
            cluster.deliver()
            cluster.propose(0)
            cluster.crash(0)
            cluster.tick(count=ticks, pending=True)
            for index in range(4):
                if compact and index != 0:
                    cluster.compact(index)
                cluster.crash(index)
            cluster.network.clear()
            for index in range(4):
                cluster.restart(index)
            for _ in range(100):
                cluster.tick(pending=True)
                primary = cluster.replica(1).primary
                if cluster.replica(primary).wants_batch and min(cluster.heights()) < 4:
                    cluster.propose(primary)
                    cluster.deliver()
            assert min(cluster.heights()) >= 4, (ticks, compact)
            cluster.assert_one_chain()


def test_a_rewritten_log_says_the_same() -> None:
    """Checklist 22: cut only below what is stored; what is left gives the same replica."""
    cluster = Cluster(4)
    cluster.propose(0, "a")
    cluster.deliver()
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"
    cluster.propose(0, "b")
    cluster.propose(0, "c")
    cluster.deliver()
    for index in range(4):
        before = cluster.memory(index)
        cluster.compact(index)
        after = cluster.memory(index)
        kept = sorted(vote.signed.data for vote in before.votes if vote.statement.height > 1)
        assert kept == sorted(vote.signed.data for vote in after.votes)
        assert {height for height, _, _ in after.bodies} == {2, 3}
        cluster.crash(index)
        cluster.restart(index)
    cluster.network.clear()
    cluster.passes = lambda sender, to, message: True
    cluster.tick(count=6)
    assert cluster.digests(2) == ["a", "b", "c"]


def test_a_result_that_differs_after_a_restart_stops_the_node() -> None:
    """Checklist 26: the logged commit vote is for another block than the one that comes out now."""
    cluster = Cluster(4)
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit"
    cluster.propose(0)
    cluster.deliver()
    cluster.crash(1)
    cluster.diverging = {1}
    with pytest.raises(DivergenceFault):
        cluster.restart(1)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xff",
        encode(("vote", b"x", b"y", b"")),
        encode(("unknown", 1)),
        encode(("body", 1)),
        encode(("certificate", (1, 2))),
        vote_record(sign_as(Cluster(4).keys, 1, ViewChange(1, None, ()))),
        vote_record(sign_as(Cluster(4).keys, 1, Prepare(0, 1, OTHER), epoch=1)),
    ],
)
def test_a_log_that_makes_no_sense_is_refused(record: bytes) -> None:
    """Checklist 36: better no replica than one that has forgotten a vote."""
    cluster = Cluster(4)
    cluster.nodes[1].records = [body_record(1, OTHER, b""), record]
    with pytest.raises(StoreFault) as error:
        cluster.restart(1)
    assert error.value.code == "vote-log-corrupt"


def test_a_restarted_primary_does_not_propose_again_at_a_height_it_proposed_for() -> None:
    """Checklist 35: the proposals were synced, and never left."""
    cluster = Cluster(4)
    raw, digest = make_batch(1)
    cluster.names[digest] = "a"
    cluster.replica(0).propose(raw, digest)
    ready = cluster.replica(0).ready()
    cluster.nodes[0].records.extend(ready.persist)
    cluster.restart(0)
    assert cluster.replica(0).next_height == 2
    cluster.tick(count=8)  # the backups hear of it, and ask for the batch
    assert cluster.digests(3) == ["a"]


def test_a_batch_at_two_heights_is_there_for_both_after_a_power_loss() -> None:
    """Checklist 35: a lying primary proposes one batch twice. The vote for the second height rests on it, too, and the
    new view must propose it again: were it logged for the first height alone, no view would ever go on."""
    cluster = Cluster(4)
    raw, digest = make_batch(1)
    cluster.names[digest] = "a"

    def passes(sender: int, to: int, message: Message) -> bool:
        said = cluster.statement(message) if isinstance(message, Signed) else None
        return not (isinstance(said, Commit) and said.height == 2)

    cluster.passes = passes
    for _ in range(2):
        cluster.replica(0).propose(raw, digest)
        cluster.obey(0)
    cluster.deliver()
    assert cluster.heights() == [1] * 4
    assert all(cluster.replica(node).diagnosis().waits[0].what == "commits" for node in range(4))
    for node in range(4):
        cluster.crash(node)
    cluster.network.clear()
    cluster.passes = lambda sender, to, message: True
    for node in (1, 2, 3):  # the liar does not come back
        cluster.restart(node)
    cluster.tick(count=100, pending=True)
    assert [cluster.digests(node) for node in (1, 2, 3)] == [["a", "a"]] * 3
