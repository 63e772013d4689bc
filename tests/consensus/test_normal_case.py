"""Batches from proposal to stored block, with no view change."""

import itertools
from random import Random

import pytest

from node.consensus.message_log import read_batch
from node.consensus.messages import BatchReply, BatchRequest, Message, Proposal, Ready, Signed
from node.consensus.settings import EARLY_MESSAGES_PER_PEER, WINDOW
from node.consensus.statements import Commit, Prepare, PrePrepare
from node.errors import DivergenceFault, PeerError
from node.model.block import NULL_DIGEST, DecodedBatch
from tests.consensus.harness import CHAIN, GENESIS_HASH, Cluster, make_batch, make_header, sign_as

OTHER = b"\x07" * 32


def test_a_batch_becomes_the_same_block_everywhere() -> None:
    cluster = Cluster(4)
    cluster.propose(0, "a")
    cluster.propose(0, "b")
    cluster.deliver()
    assert cluster.heights() == [2, 2, 2, 2]
    assert cluster.digests(3) == ["a", "b"]
    cluster.assert_one_chain()
    assert not cluster.errors


@pytest.mark.parametrize("n", [4, 5, 6, 7, 10, 16])
def test_it_works_with_f_members_down(n: int) -> None:
    cluster = Cluster(n)
    for index in range(n - (n - 1) // 3, n):
        cluster.crash(index)
    for _ in range(3):
        cluster.propose(0)
    cluster.deliver()
    assert cluster.heights()[0] == 3


def test_the_proposal_counts_as_the_primarys_prepare() -> None:
    """Checklist 2: with one backup down from the first block on, two prepares and the proposal are a quorum."""
    cluster = Cluster(4)
    cluster.crash(3)
    cluster.propose(0)
    cluster.deliver()
    assert cluster.heights() == [1, 1, 1, 0]


def test_members_are_counted_not_messages() -> None:
    """Checklist 3: a vote said a hundred times is one vote."""
    cluster = Cluster(4)
    digest = cluster.propose(0)
    cluster.deliver(lambda sender, to, message: to == 1)  # the proposal, to 1 alone
    cluster.network.clear()
    prepare = sign_as(cluster.keys, 0, Prepare(0, 1, digest))
    for _ in range(100):
        cluster.receive(0, 1, prepare)  # and the primary has no other prepare than its proposal
    commit = sign_as(cluster.keys, 2, Commit(0, 1, OTHER))
    for _ in range(100):
        cluster.receive(2, 1, commit)
    assert cluster.nodes[1].executed == []
    assert {error.code for _, error in cluster.errors} == {"primary-prepares"}


def refused(cluster: Cluster, sender: int, message: Message) -> str:
    """The code with which node 1 refuses a message; nothing leaves it because of one."""
    with pytest.raises(PeerError) as error:
        cluster.replica(1).step(sender, message)
    ready = cluster.replica(1).ready()
    assert not ready.persist and not ready.send
    return error.value.code


def test_a_vote_of_another_epoch_is_nothing() -> None:
    """Checklist 47 and 56: a vote of the epoch before or after is dropped, and nobody is blamed for being elsewhere."""
    cluster = Cluster(4)
    raw, digest = make_batch(1)
    for epoch in (1, 2):
        cluster.receive(0, 1, Proposal(sign_as(cluster.keys, 0, PrePrepare(0, 1, digest), epoch), raw))
        cluster.receive(2, 1, sign_as(cluster.keys, 2, Commit(0, 1, OTHER), epoch))
    assert not cluster.replica(1).ready() and cluster.errors == [] and cluster.replica(1).held == 0


def test_what_is_not_properly_signed_is_refused() -> None:
    """Checklist 4 and 7: whose vote, for which chain, in which phase: all of it is signed."""
    cluster = Cluster(4)
    raw, digest = make_batch(1)
    proposal = sign_as(cluster.keys, 0, PrePrepare(0, 1, digest))
    forged = Signed(0, proposal.data, cluster.keys[2].sign(proposal.data))
    assert refused(cluster, 0, Proposal(forged, raw)) == "bad-signature"
    assert refused(cluster, 2, sign_as(cluster.keys, 3, Prepare(0, 1, digest))) == "wrong-sender"
    assert refused(cluster, 2, sign_as(cluster.keys, 2, PrePrepare(0, 1, digest))) == "not-primary"
    assert refused(cluster, 2, Signed(9, proposal.data, proposal.signature)) == "wrong-sender"
    assert refused(cluster, 1, proposal) == "wrong-sender"
    assert refused(cluster, 4, proposal) == "wrong-sender"
    assert refused(cluster, 0, Proposal(sign_as(cluster.keys, 0, Commit(0, 1, OTHER)), raw)) == "malformed"
    assert refused(cluster, 0, sign_as(cluster.keys, 0, PrePrepare(0, 1, NULL_DIGEST))) == "null-proposal"


def test_a_body_that_is_not_the_one_proposed_is_refused() -> None:
    """Checklist 7: the digest binds every byte of the batch."""
    cluster = Cluster(4)
    raw, digest = make_batch(1)
    proposal = sign_as(cluster.keys, 0, PrePrepare(0, 1, digest))
    for body, code in ((make_batch(2)[0], "wrong-body"), (b"", "bad-batch"), (raw + b"\0", "bad-batch")):
        assert refused(cluster, 0, Proposal(proposal, body)) == code


@pytest.mark.parametrize(
    "batch",
    [make_batch(1, proposer=2), make_batch(1, chain=OTHER), make_batch(1, epoch=3)],
    ids=["proposer", "chain", "epoch"],
)
def test_a_batch_of_another_proposer_chain_or_epoch_gets_no_vote(batch: tuple[bytes, bytes]) -> None:
    """Checklist 7."""
    cluster = Cluster(4)
    raw, digest = batch
    cluster.receive(0, 1, Proposal(sign_as(cluster.keys, 0, PrePrepare(0, 1, digest)), raw))
    assert not cluster.network and not cluster.nodes[1].records


def test_who_finds_a_batch_stale_follows_a_quorum_that_did_not() -> None:
    """Checklist 7: the clock decides over the own vote, not over what others have agreed on."""
    cluster = Cluster(4)
    cluster.accepts = lambda node, digest: node != 3
    cluster.propose(0, "a")
    cluster.deliver()
    assert cluster.heights() == [1, 1, 1, 1]
    assert not any("3 -> * prepare" in line for line in cluster.trace)


def test_two_proposals_for_one_height_never_both_commit_and_leave_evidence() -> None:
    """Checklist 5: the primary says one thing to two backups and another to the third."""
    cluster = Cluster(4)
    cluster.crash(0)
    (raw_a, a), (raw_b, b) = make_batch(1), make_batch(2)
    cluster.names.update({a: "a", b: "b"})
    to_a = sign_as(cluster.keys, 0, PrePrepare(0, 1, a))
    to_b = sign_as(cluster.keys, 0, PrePrepare(0, 1, b))
    for index, proposal in ((1, Proposal(to_a, raw_a)), (2, Proposal(to_a, raw_a)), (3, Proposal(to_b, raw_b))):
        cluster.receive(0, index, proposal)
    cluster.deliver()
    assert (
        cluster.heights() == [0, 0, 0, 0]
        or len({cluster.digests(i)[0] for i in (1, 2, 3) if cluster.heights()[i]}) == 1
    )
    cluster.tick(count=12)  # votes are sent again, and with them what the primary signed
    for index in (1, 2, 3):
        (evidence,) = cluster.nodes[index].evidence
        assert evidence.member == 0
        assert {signed.data for signed in evidence.statements} == {to_a.data, to_b.data}
    cluster.assert_one_chain()


def test_a_member_that_votes_twice_leaves_evidence() -> None:
    """Checklist 5."""
    cluster = Cluster(4)
    for first, second in ((Prepare(0, 1, OTHER), Prepare(0, 1, CHAIN)), (Commit(0, 1, OTHER), Commit(0, 1, CHAIN))):
        cluster.receive(2, 1, sign_as(cluster.keys, 2, first))
        cluster.receive(2, 1, sign_as(cluster.keys, 2, second))
    assert [evidence.member for evidence in cluster.nodes[1].evidence] == [2]  # one is enough


def test_a_replica_left_out_by_the_primary_gets_the_proposal_from_others() -> None:
    """Checklist 6: it hears of the proposal when votes are sent again, and asks for the batch by its digest."""
    cluster = Cluster(4)
    cluster.crash(2)  # so that the one left out is needed
    cluster.passes = lambda sender, to, message: not (sender == 0 and to == 3)
    cluster.propose(0, "a")
    cluster.deliver()
    assert cluster.heights() == [0, 0, 0, 0]
    cluster.tick(count=15)
    assert cluster.heights()[3] == 1
    assert any("3 -> 1 batch-request a" in line for line in cluster.trace)


def test_bodies_are_given_by_digest_and_only_what_was_asked_for_is_taken() -> None:
    cluster = Cluster(4)
    digest = cluster.propose(0, "a")
    cluster.deliver(lambda sender, to, message: to == 1)
    cluster.network.clear()
    cluster.receive(2, 1, BatchRequest((OTHER, digest, NULL_DIGEST)))
    (answer,) = [message for _, to, message in cluster.network if to == 2]
    assert answer == BatchReply((make_batch(1)[0],))
    cluster.receive(2, 3, BatchReply((b"garbage", make_batch(5)[0])))  # nobody asked: not even decoded
    assert not cluster.errors


def test_one_answer_is_read_for_each_question_and_none_beyond_a_batch_not_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Checklist 52: to decode a batch takes longer than to make one, and a primary can make others ask for them."""
    decoded: list[bytes] = []

    def read(raw: bytes) -> DecodedBatch:
        decoded.append(raw)
        return read_batch(raw)

    monkeypatch.setattr("node.consensus.bodies.read_batch", read)
    cluster = Cluster(4)
    cluster.passes = lambda sender, to, message: 3 not in (sender, to)
    digest = cluster.propose(0, "a")
    cluster.deliver()
    cluster.receive(0, 3, sign_as(cluster.keys, 0, PrePrepare(0, 1, digest)))
    others = [make_batch(time) for time in range(5, 21)]
    cluster.names.update((other, "junk") for _, other in others)
    junk = BatchReply(tuple(raw for raw, _ in others))
    for _ in range(50):
        cluster.receive(1, 3, junk)
    assert decoded == []
    cluster.tick([3], count=5)
    (asked,) = [line.split()[2] for line in cluster.trace if "batch-request" in line]  # "3 -> asked batch-request a"
    for _ in range(50):
        cluster.receive(int(asked), 3, junk)
    assert len(decoded) == 1
    assert [(to, error.code) for to, error in cluster.errors] == [(3, "wrong-body")]
    cluster.tick([3], count=5)
    for peer in range(3):
        cluster.receive(peer, 3, BatchReply((make_batch(1)[0],)))
    assert cluster.replica(3).diagnosis().waits[0].what == "prepares"


def test_no_proposal_above_the_high_mark() -> None:
    """Checklist 23: the primary waits there."""
    cluster = Cluster(4)
    for _ in range(WINDOW):
        cluster.propose(0)
    assert not cluster.replica(0).wants_batch
    with pytest.raises(ValueError, match="no batch is wanted"):
        cluster.propose(0)
    cluster.deliver()
    assert cluster.heights() == [WINDOW] * 4
    assert cluster.replica(0).wants_batch
    assert not cluster.replica(1).wants_batch


def test_early_is_kept_and_far_future_is_dropped() -> None:
    """Checklist 23 and 24: above the high mark is kept for later; beyond twice the window is dropped."""
    cluster = Cluster(4)
    raw, digest = make_batch(1)
    cluster.names[digest] = "early"
    for height in (WINDOW + 1, 2 * WINDOW + 1):
        cluster.receive(0, 1, Proposal(sign_as(cluster.keys, 0, PrePrepare(0, height, digest)), raw))
    assert not cluster.network
    cluster.propose(0, "a")
    cluster.deliver()
    votes = cluster.logged_votes(1)
    assert Prepare(0, WINDOW + 1, digest) in votes
    assert not any(isinstance(vote, Prepare) and vote.height > WINDOW + 1 for vote in votes)


def test_what_comes_early_is_bounded_per_peer() -> None:
    """Checklist 52: a peer's flood costs its own place only."""
    cluster = Cluster(4)
    for view in range(1, 3 * EARLY_MESSAGES_PER_PEER):
        cluster.receive(2, 1, sign_as(cluster.keys, 2, Prepare(view, 1, OTHER)))
    cluster.receive(3, 1, sign_as(cluster.keys, 3, Prepare(1, 1, OTHER)))
    queues = cluster.replica(1)._early._queues
    assert [len(queue) for queue in queues] == [0, 0, EARLY_MESSAGES_PER_PEER, 1]


def test_prepared_out_of_order_is_executed_and_committed_in_order() -> None:
    """Checklist 25."""
    cluster = Cluster(4)
    for name in "abc":
        cluster.propose(0, name)

    def is_of_height_1(sender: int, to: int, message: Message) -> bool:
        return " height 1" in cluster.describe(message)

    for _ in range(4):
        cluster.deliver(lambda *item: not is_of_height_1(*item))
    assert cluster.heights() == [0, 0, 0, 0]
    assert all(3 in cluster.replica(i)._log.prepared for i in range(4))
    assert all(not node.executed for node in cluster.nodes)
    cluster.deliver()
    assert cluster.digests(1) == ["a", "b", "c"]
    assert [height for height, _ in cluster.nodes[1].executed] == [1, 2, 3]


def test_every_order_of_arrival_gives_the_same_block() -> None:
    """Checklist 14: all orders in which the messages of one height can reach a backup."""
    digest = Cluster(4).propose(0, "a")
    block_hash = make_header(1, GENESIS_HASH, digest, Cluster(4).members).hash
    for order in itertools.permutations(range(5)):
        cluster = Cluster(4)
        messages: list[tuple[int, Message]] = [
            (0, Proposal(sign_as(cluster.keys, 0, PrePrepare(0, 1, digest)), make_batch(1)[0])),
            (2, sign_as(cluster.keys, 2, Prepare(0, 1, digest))),
            (3, sign_as(cluster.keys, 3, Prepare(0, 1, digest))),
            (2, sign_as(cluster.keys, 2, Commit(0, 1, block_hash))),
            (3, sign_as(cluster.keys, 3, Commit(0, 1, block_hash))),
        ]
        cluster.names[digest] = "a"
        for position in order:
            sender, message = messages[position]
            cluster.receive(sender, 1, message)
        assert cluster.digests(1) == ["a"], order


@pytest.mark.parametrize("seed", range(20))
def test_a_shuffled_network_gives_one_chain(seed: int) -> None:
    """Checklist 14: twenty random orders of many heights in flight."""
    random = Random(seed)
    cluster = Cluster(4)
    proposed = 0
    while min(cluster.heights()) < 12:
        while proposed < 12 and cluster.replica(0).wants_batch and random.random() < 0.5:
            cluster.propose(0)
            proposed += 1
        for _ in range(min(len(cluster.network), random.randrange(1, 12))):
            position = random.randrange(len(cluster.network))
            sender, to, message = cluster.network[position]
            del cluster.network[position]
            cluster.receive(sender, to, message)
        if not cluster.network:
            cluster.tick()
    cluster.assert_one_chain()
    assert not cluster.errors


def test_the_same_inputs_give_the_same_outputs() -> None:
    """Determinism: two runs agree in every byte that leaves and every byte that is logged."""
    runs = []
    for _ in range(2):
        cluster = Cluster(7)
        for _ in range(5):
            cluster.propose(0)
        cluster.deliver()
        cluster.tick(count=30, pending=True)
        runs.append((cluster.trace, [node.records for node in cluster.nodes]))
    assert runs[0] == runs[1]


def test_a_replica_that_computes_something_else_stops_alone() -> None:
    """Checklist 26: it finds out when a quorum certifies another block, and does not store its own."""
    cluster = Cluster(4)
    cluster.diverging = {2}
    cluster.propose(0)
    with pytest.raises(DivergenceFault) as error:
        cluster.deliver()
    assert error.value.code == "diverged"
    cluster.crash(2)
    cluster.deliver()
    assert cluster.heights() == [1, 1, 0, 1]


def test_an_outdated_answer_of_the_executor_is_ignored() -> None:
    cluster = Cluster(4)
    digest = cluster.propose(0)
    cluster.deliver()
    assert cluster.heights()[1] == 1
    cluster.replica(1).executed(1, digest, GENESIS_HASH, OTHER)
    cluster.replica(1).executed(2, digest, GENESIS_HASH, OTHER)
    assert not cluster.replica(1).ready()


def test_a_batch_of_an_earlier_view_is_new_to_nobody() -> None:
    """Checklist 7: proposed afresh by a later primary, it is refused by who had judged it as by who never saw it."""
    cluster = Cluster(4)
    raw, digest = make_batch(5, proposer=0)
    cluster.names[digest] = "stolen"
    cluster.passes = lambda sender, to, message: not isinstance(message, Proposal) or to == 2
    cluster.receive(0, 2, Proposal(sign_as(cluster.keys, 0, PrePrepare(0, 1, digest)), raw))
    assert cluster.logged_votes(2) == [Prepare(0, 1, digest)]
    cluster.crash(0)
    cluster.network.clear()
    cluster.tick((1, 2, 3), count=30, pending=True)
    assert {cluster.replica(index).view for index in (1, 2, 3)} == {1}
    again = sign_as(cluster.keys, 1, PrePrepare(1, 1, digest))
    for index in (2, 3):
        cluster.receive(1, index, Proposal(again, raw))
        assert Prepare(1, 1, digest) not in cluster.logged_votes(index)


def test_a_batch_carried_over_needs_no_clock() -> None:
    """Checklist 7 and 18: a batch that was new once is judged by its bytes alone when a NewView brings it back."""
    asked: list[tuple[int, bool]] = []
    cluster = Cluster(4)
    original = cluster._describe_ready

    def watch(index: int, ready: Ready) -> None:
        asked.extend((index, validate.fresh) for validate in ready.validate)
        original(index, ready)

    cluster._describe_ready = watch  # type: ignore[method-assign]
    cluster.passes = lambda sender, to, message: cluster.kind(message) != "commit" and to != 3
    cluster.propose(0, "a")
    cluster.deliver()
    assert asked == [(1, True), (2, True)]
    cluster.crash(0)
    cluster.passes = lambda sender, to, message: cluster.kind(message) not in ("pre-prepare", "commit")
    cluster.tick((1, 2, 3), count=40, pending=True)
    assert cluster.heights()[1:] == [0, 0, 0] and cluster.replica(3).view > 0
    assert asked == [(1, True), (2, True), (3, False)]
