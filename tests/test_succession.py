"""A node steps from one epoch into the next: live, late, crashing in between, removed, or with new keys."""

from random import Random
from typing import Any

import pytest

from node.consensus.messages import BlockReply, BlockRequest, Message, Proposal, Signed, Status
from node.consensus.settings import ANSWERS_PER_TICK, Memory
from node.errors import RefusedError
from node.limits import AHEAD_MESSAGES_PER_PEER, LEAVE_TICKS
from node.succession import Ahead, epoch_said
from tests.chaincode.town import pem
from tests.epoch_net import EpochNet, Machine
from tests.ledger.epoch_chains import NAMES, key_of

NEW_BOB: dict[str, Any] = {"public_key": key_of("new bob").public_key, "tls_certificate": pem("new bob").encode()}


def is_primary(machine: Machine) -> bool:
    return machine.driver is not None and machine.driver.status.is_primary


def said_in(net: EpochNet, epoch: int, sender: str) -> list[Message]:
    """What this member has signed of this epoch."""
    return [m for s, _, m in net.sent if s == sender and isinstance(m, Signed | Proposal) and epoch_said(m) == epoch]


def test_a_member_joins_and_votes_from_the_stated_height_on() -> None:
    """Checklist 47 and 49: not before, and f and the quorum are those of five from then on."""
    net = EpochNet("eve")
    first = net.change("add", "eve")
    net.run_to(first - 1)
    net.tick(20)  # who follows hears of blocks every half second
    assert not said_in(net, 0, "eve") and net["eve"].height == first - 1
    assert {machine.epoch for machine in net.up} == {1}
    net.drop = lambda sender, to, message: "dan" in (sender, to)  # four of five are a quorum
    net.run_to(first + 5)
    net.tick(20)
    assert said_in(net, 1, "eve")
    net.assert_one_chain("ada", "bob", "cyd", "eve")


@pytest.mark.parametrize("seed", range(12))
def test_the_first_block_of_an_epoch_waits_for_nothing(seed: int) -> None:
    """Messages of the new epoch overtake the last ones of the old: they are kept, and not missed until sent again."""
    net = EpochNet()
    first = net.change("rotate", "bob", keys=NEW_BOB)
    net["bob"].keys.append(key_of("new bob"))
    net["dan"].crash()  # every one of the three is needed
    net.run_to(first - 2)
    net.tick(10)
    net.dice = Random(seed)
    for _ in range(3):  # the last block, and before all have it the next one, for which there is something at once
        tx = net.transaction("dan", "approve", proposal=10**6, digest=b"")
        net["ada"].use(lambda driver, tx=tx: driver.submit(tx))  # type: ignore[misc]
    net.deliver()
    net.tick(2)
    assert min(machine.height for machine in net.up) >= first
    assert {machine.epoch for machine in net.up} == {1}


def test_nothing_of_the_new_epoch_counts_before_the_last_block_of_the_old() -> None:
    """Checklist 47: the last old block is known to one node only, and that one has gone on."""
    net = EpochNet()
    first = net.change("rotate", "bob", keys=NEW_BOB)
    net["bob"].keys.append(key_of("new bob"))
    net.run_to(first - 2)
    net.tick(10)
    # Commits for the last block reach cyd alone; nothing that cyd says afterwards reaches anybody.
    net.drop = lambda sender, to, message: sender == "cyd" or (to != "cyd" and is_commit(message))
    net.block()
    assert net["cyd"].epoch == 1 and net["cyd"].height == first - 1
    assert [net[name].height for name in ("ada", "bob", "dan")] == [first - 2] * 3
    net.drop = lambda sender, to, message: sender != "cyd" and is_commit(message)
    net.tick(60)  # the others cannot commit it by themselves; they take it from cyd
    assert {machine.epoch for machine in net.up} == {1}
    net.drop = lambda sender, to, message: False
    net.run_to(first + 3)
    net.tick(30)
    net.assert_one_chain()
    assert not any(machine.evidence_against for machine in net.up)


def is_commit(message: Message) -> bool:
    return isinstance(message, Signed) and b"\xa6commit" in message.data


def test_what_was_said_in_the_old_epoch_means_nothing_in_the_new_one() -> None:
    """Checklist 47: replay across the boundary, to all and in any order."""
    net = EpochNet("eve")
    first = net.change("add", "eve")
    net.run_to(first + 2)
    net.tick(20)
    before = {machine.name: machine.driver.status.peer_errors for machine in net.up if machine.driver}
    heads = {machine.name: machine.ledger.head_hash for machine in net.up}
    old = [(s, to, m) for s, to, m in net.sent if isinstance(m, Signed | Proposal) and epoch_said(m) == 0]
    Random(1).shuffle(old)
    for sender, to, message in old[:3000]:
        net.queue.append((sender, to, message))
    net.deliver()
    assert {machine.name: machine.ledger.head_hash for machine in net.up} == heads
    assert {machine.name: machine.driver.status.peer_errors for machine in net.up if machine.driver} == before
    net.run_to(first + 5)


@pytest.mark.parametrize("victim", ["ada", "cyd"])
def test_dying_at_any_moment_of_the_step_is_safe(victim: str) -> None:
    """Checklist 35 and 47: at each operation on disk or network from before the last block until after the first. Every
    time the node starts again, agrees with the others, and nobody has evidence against anybody."""
    net = EpochNet()
    first = net.change("rotate", "bob", keys=NEW_BOB)
    net["bob"].keys.append(key_of("new bob"))
    net.run_to(first - 3)
    net.tick(10)
    survived = 0
    for operations in range(NAMES.index(victim), 400, 3):
        trial = net.fork()
        trial[victim].fuse.left = operations
        for _ in range(5):
            trial.block("dan")
            trial.tick()
        if trial[victim].driver is not None:
            survived += 1
            if survived > 2:
                break
        else:
            trial[victim].start()
        trial.tick(60)
        trial.run_to(first + 4, "dan")
        trial.tick(30)
        trial.assert_one_chain()
        assert {machine.epoch for machine in trial.up} == {1}
        assert not any(machine.evidence_against for machine in trial.up), operations
    assert survived, "the fuse was never long enough"
    assert operations > 20


def test_the_primary_is_removed_and_goes_when_it_is_not_needed() -> None:
    """Checklist 49: it stays until the others have its last block."""
    net = EpochNet("eve")
    first = net.change("add", "eve")
    net.run_to(first + 1)
    net.tick(20)
    assert is_primary(net["ada"])
    first = net.change("remove", "ada", ("bob", "cyd", "dan", "eve"), via="bob")
    net.run_to(first - 1, "bob")
    assert [net["ada"].removed_at] == [None]
    net.tick(15)
    assert net["ada"].removed_at == first
    net["ada"].crash()
    net.run_to(first + 5, "bob")
    net.tick(20)
    net.assert_one_chain("bob", "cyd", "dan", "eve")
    assert said_in(net, 2, "ada") == []


def test_a_removed_member_that_nobody_answers_goes_all_the_same() -> None:
    net = EpochNet("eve")
    first = net.change("add", "eve")
    net.run_to(first + 1)
    net.tick(20)
    first = net.change("remove", "dan", ("ada", "bob", "cyd", "eve"))
    net.run_to(first - 1, "dan")
    net.drop = lambda sender, to, message: to == "dan"
    net.tick(LEAVE_TICKS - 20)
    assert net["dan"].removed_at is None
    net.tick(20)
    assert net["dan"].removed_at == first


def test_keys_rotate_while_a_node_is_down() -> None:
    """Checklist 50: the one that is down comes back knowing the old keys, and learns the new ones from the blocks."""
    net = EpochNet()
    net["dan"].crash()
    new = key_of("new bob")
    net["bob"].keys.append(new)
    first = net.change("rotate", "bob", keys=NEW_BOB)
    net.run_to(first + 20)
    net["dan"].start()
    net.tick(60)
    net.assert_one_chain()
    assert {machine.epoch for machine in net.up} == {1}
    net["cyd"].crash()  # dan has to vote, and to count bob's
    net.run_to(net["ada"].height + 5)
    net.tick(20)
    net.assert_one_chain("ada", "bob", "dan")


def test_a_node_that_missed_several_epochs_catches_up() -> None:
    """Checklist 50: what it says of an epoch long gone makes it no liar, and it is served all the same."""
    net = EpochNet("eve")
    net["dan"].crash()
    first = net.change("add", "eve")
    net.run_to(first + 1)
    net.tick(20)
    for name in ("ada", "bob"):
        new = {"public_key": key_of(f"new {name}").public_key, "tls_certificate": pem(f"new {name}").encode()}
        net[name].keys.append(key_of(f"new {name}"))
        first = net.change("rotate", name, ("ada", "bob", "cyd", "eve"), keys=new)
        net.run_to(first + 1)
    net["dan"].start()
    net.tick(100)
    assert {machine.epoch for machine in net.up} == {3}
    net.assert_one_chain()
    assert not any(machine.driver.bad_messages for machine in net.up if machine.driver)


def test_without_its_new_key_a_node_follows_and_signs_nothing() -> None:
    net = EpochNet()
    first = net.change("rotate", "bob", keys=NEW_BOB)
    net.run_to(first + 5)
    net.tick(20)
    assert said_in(net, 1, "bob") == [] and net["bob"].height == net["ada"].height
    driver = net["bob"].driver
    assert driver is not None
    with pytest.raises(RefusedError, match="not-a-member"):
        driver.submit(net.transaction("dan", "withdraw", proposal=0))
    net["bob"].crash()
    net["bob"].keys.append(key_of("new bob"))  # the operator puts it where it belongs
    net["bob"].start()
    net.tick(20)
    net.run_to(net["ada"].height + 20)
    net.tick(20)
    assert said_in(net, 1, "bob")


def test_a_guest_gets_blocks_and_nothing_else() -> None:
    net = EpochNet("eve")
    net.change("add", "eve")
    net.sent.clear()
    for _ in range(ANSWERS_PER_TICK + 3):
        net["ada"].use(lambda driver: driver.receive("eve", BlockRequest(1)))
    assert [type(m) for s, to, m in net.sent if (s, to) == ("ada", "eve")] == [BlockReply] * ANSWERS_PER_TICK
    net.sent.clear()
    vote = said_in(EpochNet(), 0, "ada")
    for message in (Status(7, 7, 10**6), BlockRequest(10**9), *vote[:3]):
        net["ada"].use(lambda driver, m=message: driver.receive("eve", m))  # type: ignore[misc]
    assert net.sent == []
    net.tick(10)
    assert Status(0, 0, net["ada"].height) in [m for s, to, m in net.sent if (s, to) == ("ada", "eve")]


def test_what_is_kept_for_the_next_epoch_is_bounded() -> None:
    ahead = Ahead()
    for _ in range(2 * AHEAD_MESSAGES_PER_PEER):
        ahead.keep("ada", Signed(0, b"x", b""))
    assert len(ahead) == AHEAD_MESSAGES_PER_PEER
    ahead.keep("bob", Signed(0, b"x", b""))  # who has as much room as if there were no flood
    assert len(ahead.take()) == AHEAD_MESSAGES_PER_PEER + 1 and ahead.take() == []
    for _ in range(40):
        ahead.keep("ada", Signed(0, bytes(1 << 20), b""))
    assert len(ahead) <= 4
    ahead.keep("bob", Signed(0, b"x", b""))
    assert ("bob", Signed(0, b"x", b"")) in ahead.take()


@pytest.mark.parametrize("hears", [True, False])
def test_only_who_heard_that_the_epoch_goes_on_knows_that_it_has_not_voted_in_the_next(hears: bool) -> None:
    """Checklist 37: a member of the next epoch whose disk was wiped follows the present one as a stranger would."""
    net = EpochNet("eve")
    first = net.change("add", "eve")
    if not hears:
        net["eve"].crash()
    net.tick(20)
    net.run_to(first + 5)
    if not hears:
        net["eve"].start()
    net.tick(40)
    driver = net["eve"].driver
    assert driver is not None and net["eve"].epoch == 1
    assert driver._term.memory is (Memory.CONTINUED if hears else Memory.KEPT)


@pytest.mark.parametrize(("before", "memory"), [(3, Memory.CONTINUED), (2, Memory.KEPT)])
def test_who_hears_of_the_block_before_the_last_only_may_have_voted_after_the_last(before: int, memory: Memory) -> None:
    """Checklist 37: whoever votes for the last block of an epoch has stored the one before. So while all others stand
    there, one may have had the last one's certificate already, and this member have followed it, before its wipe."""
    net = EpochNet("eve")
    first = net.change("add", "eve")
    net["eve"].crash()
    net.run_to(first - before)
    net["eve"].start()
    net.tick(20)
    assert {net[name].height for name in ("ada", "bob", "eve")} == {first - before}
    net.run_to(first + 5)
    net.tick(40)
    driver = net["eve"].driver
    assert driver is not None and net["eve"].epoch == 1
    assert driver._term.memory is memory
