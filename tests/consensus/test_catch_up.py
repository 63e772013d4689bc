"""A replica that was away gets blocks with their certificates."""

import msgspec
import pytest

from node.consensus.messages import MAX_REPLY_BLOCKS, BlockReply, BlockRequest, Message, Status
from node.consensus.settings import ANSWERS_PER_TICK
from node.errors import DivergenceFault, PeerError
from node.model.block import Header, encode_header
from node.model.certificate import Certificate, encode_certificate
from tests.consensus.harness import Cluster, make_batch

Entry = tuple[Header, bytes, Certificate]


def with_absentee(blocks: int) -> Cluster:
    """Node 3 was away for ``blocks`` blocks, and is back."""
    cluster = Cluster(4)
    cluster.crash(3)
    for _ in range(blocks):
        cluster.propose(0)
        cluster.deliver()
    cluster.restart(3)
    return cluster


def reply(*entries: Entry) -> BlockReply:
    return BlockReply(tuple((encode_header(h), body, encode_certificate(c)) for h, body, c in entries))


def test_it_catches_up_and_votes_again() -> None:
    cluster = with_absentee(150)
    cluster.tick(count=20)
    assert cluster.heights() == [150] * 4
    cluster.crash(2)
    cluster.propose(0)
    cluster.deliver()
    assert cluster.heights() == [151, 151, 150, 151]
    cluster.assert_one_chain()


def test_a_fetched_block_is_executed_and_stored_once() -> None:
    """Checklist 46."""
    cluster = with_absentee(100)
    cluster.tick(count=20)
    heights = [height for height, _ in cluster.nodes[3].executed]
    assert heights == list(range(1, 101))


def test_catching_up_ends_under_load() -> None:
    """Checklist 44: others go on all the time; three quarters of the votes it hears are for heights it cannot use."""
    cluster = with_absentee(300)
    for _ in range(60):
        cluster.propose(0)
        cluster.tick()
    cluster.tick(count=10)
    assert len(set(cluster.heights())) == 1
    cluster.assert_one_chain()


def test_a_view_change_while_blocks_are_fetched() -> None:
    """Checklist 45."""
    cluster = with_absentee(MAX_REPLY_BLOCKS * 2)
    cluster.passes = lambda sender, to, message: not isinstance(message, BlockReply)
    cluster.tick(count=6)
    cluster.passes = lambda sender, to, message: True
    cluster.crash(0)
    cluster.tick(count=40, pending=True)
    primary = cluster.replica(1).primary
    assert primary != 0
    cluster.propose(primary, "after")
    cluster.deliver()
    assert cluster.digests(3)[-1] == "after"  # three of four: its vote was needed
    cluster.assert_one_chain()


def tampered(cluster: Cluster) -> dict[str, BlockReply]:
    """Replies with a first block in which one thing is wrong."""
    first, second = cluster.nodes[0].chain[:2]
    header, body, certificate = first
    other = msgspec.structs.replace(header, state_root=bytes(32))
    votes = certificate.votes
    return {
        "body": reply((header, make_batch(99)[0], certificate)),
        "null body": reply((header, b"", certificate)),
        "header": reply((other, body, certificate)),
        "header and certificate": reply((other, body, msgspec.structs.replace(certificate, block_hash=other.hash))),
        "certificate of another block": reply((header, body, second[2])),
        "too few votes": reply((header, body, msgspec.structs.replace(certificate, votes=votes[:2]))),
        "a vote twice": reply((header, body, msgspec.structs.replace(certificate, votes=(*votes[:2], votes[1])))),
        "another view": reply((header, body, msgspec.structs.replace(certificate, view=1))),
        "another epoch": reply((header, body, msgspec.structs.replace(certificate, epoch=1))),
        "garbage": BlockReply(((b"x", b"y", b"z"),)),
    }


@pytest.mark.parametrize("what", list(tampered(with_absentee(2))))
def test_a_wrong_block_is_refused_and_another_peer_is_asked(what: str) -> None:
    """Checklist 40."""
    cluster = with_absentee(2)
    asked: list[int] = []

    def passes(sender: int, to: int, message: Message) -> bool:
        if isinstance(message, BlockRequest):
            asked.append(to)
            return len(asked) > 1
        return True

    cluster.passes = passes
    cluster.tick(count=5)
    with pytest.raises(PeerError) as error:
        cluster.replica(3).step(asked[0], tampered(cluster)[what])
    assert error.value.code == "bad-block"
    cluster.tick(count=30)
    assert cluster.heights() == [2, 2, 2, 2]
    assert asked[1] != asked[0]


def test_blocks_that_nobody_asked_for_are_refused() -> None:
    cluster = with_absentee(2)
    with pytest.raises(PeerError) as error:
        cluster.replica(3).step(1, reply(*cluster.nodes[1].chain))
    assert error.value.code == "not-asked"


def test_a_peer_that_claims_blocks_and_gives_none_does_not_hold_it_up() -> None:
    """Checklist 40 and 41: a claim is a reason to ask, and after a while to ask somebody else."""
    cluster = with_absentee(3)
    cluster.crash(1)
    cluster.receive(1, 3, Status(0, 0, 10**15))
    cluster.receive(0, 3, Status(0, 0, 3))
    cluster.tick((0, 2, 3), count=40)
    assert cluster.heights()[3] == 3
    assert cluster.replica(3).view == 0


def test_gaps_and_repetitions_in_a_reply_do_no_harm() -> None:
    """Checklist 43: only blocks that follow on are kept."""
    cluster = with_absentee(4)
    cluster.passes = lambda sender, to, message: not isinstance(message, BlockReply)
    cluster.tick(count=5)
    (asked,) = {line.split()[2] for line in cluster.trace if "3 -> " in line and "block-request" in line}
    chain = cluster.nodes[0].chain
    cluster.receive(int(asked), 3, reply(chain[1], chain[0], chain[0], chain[3], chain[1]))
    assert cluster.heights()[3] == 2
    assert not cluster.errors


def test_requests_are_answered_a_few_times_a_tick() -> None:
    """Checklist 52: no amplification."""
    cluster = with_absentee(2)
    cluster.replica(0).tick(pending=False, overdue=False)
    cluster.replica(0).ready()
    for _ in range(50):
        cluster.replica(0).step(3, BlockRequest(1))
    assert len(cluster.replica(0).ready().supply) == ANSWERS_PER_TICK
    cluster.replica(0).tick(pending=False, overdue=False)
    cluster.replica(0).ready()
    cluster.replica(0).step(3, BlockRequest(3))  # not here yet
    assert not cluster.replica(0).ready().supply


def test_certified_blocks_that_do_not_stand_on_ones_own_stop_the_node() -> None:
    """Checklist 26: a quorum's chain is another one than what is stored here."""
    cluster = with_absentee(2)
    cluster.nodes[3].chain = [(replace_root(cluster.nodes[0].chain[0][0]), b"", cluster.nodes[0].chain[0][2])]
    cluster.crash(3)
    cluster.restart(3)
    with pytest.raises(DivergenceFault):
        cluster.tick(count=10)


def replace_root(header: Header) -> Header:
    return msgspec.structs.replace(header, state_root=bytes(32))


def test_a_node_that_computes_something_else_finds_out_when_it_catches_up() -> None:
    """Checklist 26."""
    cluster = with_absentee(2)
    cluster.diverging = {3}
    with pytest.raises(DivergenceFault):
        cluster.tick(count=10)


def test_a_status_of_another_epoch_says_only_where_blocks_are() -> None:
    """Checklist 56: its view means nothing here, and nobody is blamed for being behind or ahead."""
    cluster = Cluster(4)
    cluster.replica(0).step(1, Status(1, 5, 40))
    assert cluster.replica(0).best_peer_height == 40
    assert not cluster.replica(0).ready().persist


@pytest.mark.parametrize("liar", [0, 1, 2])
def test_who_withholds_the_newest_blocks_is_not_relied_on(liar: int) -> None:
    """Checklist 42: it claims all of them and sends the first two; whoever else claims them is asked next."""
    cluster = with_absentee(9)
    served: list[int] = []

    def withhold(sender: int, to: int, message: Message) -> bool:
        if isinstance(message, BlockReply):
            served.append(sender)
            if sender == liar and len(message.blocks) > 2:
                cluster.receive(sender, to, BlockReply(message.blocks[:2]))
                return False
            if sender == liar:
                cluster.receive(sender, to, BlockReply(()))
                return False
        return True

    cluster.passes = withhold
    cluster.restart(3)
    cluster.tick(count=30)
    assert cluster.heights() == [9] * 4
    assert len(set(served)) > 1 or liar not in served
    assert not cluster.errors
