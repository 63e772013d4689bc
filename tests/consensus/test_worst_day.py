"""What a member can do with its key and a good idea, and what a network can do to honest ones, one scene each.

The Byzantine member here has no replica: its node is down, and the test signs for it. ``test_adversary.py`` signs at
random; these are the attacks that a person would try.
"""

from collections.abc import Callable

import pytest

from node.consensus.messages import BlockReply, Message, Proposal, Signed, Status
from node.consensus.statements import Commit, Prepare, PrePrepare, Statement, Suspect, ViewChange
from node.errors import PeerError
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from tests.consensus.harness import Cluster, make_batch, sign_as

LIAR = 3


def among(*members: int) -> Callable[[int, int, Message], bool]:
    """Messages pass between these only."""
    return lambda sender, to, message: sender in members and to in members


def everything(sender: int, to: int, message: Message) -> bool:
    return True


def say(cluster: Cluster, statement: Statement, *receivers: int, by: int = LIAR) -> None:
    """The liar's statement reaches these members."""
    for receiver in receivers:
        cluster.receive(by, receiver, sign_as(cluster.keys, by, statement))


def put(cluster: Cluster, view: int, height: int, *receivers: int, by: int) -> bytes:
    """A proposal of the Byzantine primary reaches these members; its digest."""
    raw, digest = make_batch(1000 * view + height * 10 + len(cluster.names), by)
    cluster.names[digest] = f"evil{len(cluster.names)}"
    for receiver in receivers:
        cluster.receive(by, receiver, Proposal(sign_as(cluster.keys, by, PrePrepare(view, height, digest)), raw))
    return digest


def go_on(cluster: Cluster, *honest: int) -> None:
    """Whatever happened: with all links open the honest make a new block in bounded time."""
    cluster.passes = everything
    goal = max(cluster.heights()[index] for index in honest) + 1
    for _ in range(300):
        cluster.tick(honest, pending=True)
        for index in honest:
            if (
                cluster.replica(index).wants_batch
                and cluster.replica(index).next_height == cluster.heights()[index] + 1
            ):
                cluster.propose(index)
        if min(cluster.heights()[index] for index in honest) >= goal:
            break
    assert min(cluster.heights()[index] for index in honest) >= goal
    cluster.assert_one_chain()


def test_what_one_member_alone_committed_survives_a_liar_that_shows_nothing() -> None:
    """Checklist 9: the liar's empty ViewChange counts towards the quorum; another member of it holds the proof."""
    cluster = Cluster(4)
    cluster.crash(LIAR)
    cluster.passes = among(0, 1, 2)
    digest = cluster.propose(0, "kept")

    def passes(sender: int, to: int, message: Message) -> bool:
        return to == 0 or not (isinstance(message, Signed) and isinstance(cluster.statement(message), Commit))

    cluster.passes = passes
    cluster.deliver()
    assert cluster.heights() == [1, 0, 0, 0]
    cluster.crash(0)
    cluster.passes = among(1, 2)
    for _ in range(40):
        say(cluster, Suspect(0), 1, 2)
        say(cluster, ViewChange(1, None, ()), 1, 2)
        cluster.tick((1, 2), pending=True)
    assert cluster.replica(1).view == 1 and cluster.replica(1).is_active
    assert [vote for vote in cluster.logged_votes(2) if isinstance(vote, Prepare)][-1] == Prepare(1, 1, digest)
    cluster.restart(0)
    go_on(cluster, 0, 1, 2)
    assert cluster.digests(1)[0] == "kept"


def test_votes_in_advance_do_not_help_a_liar() -> None:
    """Checklist 3, 20: prepares and commits for views and heights to come are kept apart, and bind nobody."""
    cluster = Cluster(4)
    cluster.crash(LIAR)
    bad = bytes([7]) * 32
    for view in range(4):
        for height in range(1, 20):
            say(cluster, Prepare(view, height, bad), 0, 1, 2)
            say(cluster, Commit(view, height, bad), 0, 1, 2)
    go_on(cluster, 0, 1, 2)
    assert all(header.batch_digest != bad for header, _, _ in cluster.nodes[0].chain)


def test_a_primary_that_equivocates_and_votes_for_both_commits_at_most_one() -> None:
    """Checklist 5: two halves, two batches, the liar's votes for each; then the views after it."""
    cluster = Cluster(4)
    cluster.crash(0)
    cluster.passes = among(1, 2, 3)
    one = put(cluster, 0, 1, 1, 2, by=0)
    put(cluster, 0, 1, 3, by=0)
    cluster.deliver()
    say(cluster, Prepare(0, 1, one), 3, by=0)
    assert [error.code for _, error in cluster.errors] == ["primary-prepares"]
    go_on(cluster, 1, 2, 3)
    assert {evidence.member for node in cluster.nodes for evidence in node.evidence} <= {0}


def test_a_liar_cannot_drag_the_view_up_nor_keep_it_busy() -> None:
    """Checklist 15, 17: whatever view one member asks for, again and again, blocks go on in view 0."""
    cluster = Cluster(4)
    cluster.crash(LIAR)
    for round_number in range(60):
        for view in (1, 2, round_number + 3, 2**62 - 1 - 60 + round_number):
            say(cluster, ViewChange(view, None, ()), 0, 1, 2)
            say(cluster, Suspect(view - 1), 0, 1, 2)
        cluster.propose(0)
        cluster.tick((0, 1, 2))
    assert cluster.heights()[:3] == [60] * 3
    assert {cluster.replica(index).view for index in (0, 1, 2)} == {0}


def test_the_last_view_that_can_be_named_is_no_trap() -> None:
    """Checklist 15: the liar asks for the highest number there is; one honest member that suspects does not take it."""
    cluster = Cluster(4)
    cluster.crash(LIAR)
    cluster.crash(0)
    for _ in range(60):
        say(cluster, ViewChange(2**62, None, ()), 1, 2)
        cluster.tick((1, 2), pending=True)
    assert {cluster.replica(index).view for index in (1, 2)} <= {1, 2}  # as the time-outs have it
    cluster.restart(0)
    go_on(cluster, 0, 1, 2)


def test_the_newest_blocks_withheld_are_had_from_another() -> None:
    """Checklist 42: the first source stops short of the head, however it is asked; another one's blocks are newer."""
    cluster = Cluster(4)
    cluster.crash(3)
    for _ in range(20):
        cluster.propose(0)
        cluster.deliver()
    cluster.restart(3)

    def passes(sender: int, to: int, message: Message) -> bool:
        if sender == 1 and to == 3 and isinstance(message, BlockReply | Status):
            chain = cluster.nodes[1].chain[:5]
            lie: Message = Status(0, 0, 5)
            if isinstance(message, BlockReply):
                lie = BlockReply(tuple((encode_header(h), body, encode_certificate(c)) for h, body, c in chain))
            cluster.passes = everything
            cluster.receive(1, 3, lie)
            cluster.passes = passes
            return False
        return not (sender == 2 and isinstance(message, BlockReply))

    cluster.passes = passes
    cluster.crash(2)  # of the two that are left one withholds
    cluster.tick(count=80)
    assert cluster.heights()[3] == 20
    cluster.assert_one_chain()


def test_blocks_are_fetched_while_the_view_changes() -> None:
    """Checklist 44, 45: the new view needs a member that has nothing yet; it fetches all blocks and votes in it."""
    cluster = Cluster(4)
    cluster.crash(3)
    for _ in range(100):
        cluster.propose(0)
        cluster.deliver()
    cluster.crash(0)
    cluster.tick((1, 2), count=45, pending=True)
    assert cluster.heights() == [100, 100, 100, 0]  # two have left view 0, and wait for a third
    cluster.restart(3)
    go_on(cluster, 1, 2, 3)
    assert cluster.replica(3).view >= 1 and len(cluster.nodes[3].executed) >= 101


def test_a_member_that_says_it_is_far_ahead_stops_nobody() -> None:
    """Checklist 23, 41: a claim of heights that nobody has, and votes for them, leave the others where they are."""
    cluster = Cluster(4)
    cluster.crash(LIAR)
    for _ in range(40):
        for receiver in (0, 1, 2):
            cluster.receive(LIAR, receiver, Status(0, 2**62, 2**62))
            say(cluster, Commit(0, 2**62, bytes(32)), receiver)
        cluster.propose(0)
        cluster.tick((0, 1, 2))
    assert cluster.heights()[:3] == [40] * 3
    assert {cluster.replica(index).view for index in (0, 1, 2)} == {0}


@pytest.mark.parametrize("by", [1, 2, 3])
def test_a_relayed_proposal_is_the_primarys_or_nothing(by: int) -> None:
    """Checklist 5, 6: who relays a pre-prepare cannot change it, nor make one up."""
    cluster = Cluster(4)
    raw, digest = make_batch(1)
    cluster.names[digest] = "forged"
    forged = Signed(0, sign_as(cluster.keys, 0, PrePrepare(0, 1, digest)).data, bytes(64))
    receiver = by % 3 + 1
    with pytest.raises(PeerError) as error:
        cluster.replica(receiver).step(by, Proposal(forged, raw))
    assert error.value.code == "bad-signature"
    with pytest.raises(PeerError) as error:
        cluster.replica(receiver).step(by, Proposal(sign_as(cluster.keys, by, PrePrepare(0, 1, digest)), raw))
    assert error.value.code == "not-primary"
    assert cluster.logged_votes(receiver) == []
    cluster.propose(0, "genuine")
    cluster.deliver()
    assert cluster.digests(receiver) == ["genuine"]


def test_a_network_that_is_split_evenly_decides_nothing_and_then_everything() -> None:
    """Checklist 17, 39: no side has a quorum for an hour; joined again, the four go on within seconds."""
    cluster = Cluster(4)
    cluster.propose(0, "before")
    cluster.deliver()
    cluster.passes = lambda sender, to, message: (sender < 2) == (to < 2)
    cluster.tick(count=20 * 60 * 60 // 10, pending=True)
    assert cluster.heights() == [1] * 4
    cluster.passes = everything
    for _ in range(20 * 10):
        cluster.tick(pending=True)
        primary = next((index for index in range(4) if cluster.replica(index).wants_batch), None)
        if primary is not None and cluster.replica(primary).next_height == 2:
            cluster.propose(primary, "after")
        if cluster.heights() == [2] * 4:
            break
    assert cluster.digests(0) == ["before", "after"]
