"""The driver's own rules, one by one, on real replicas, ledgers and logs in simulated surroundings.

Four nodes without clients or faults; a test moves time on and looks. ``tests/testnet/test_sim.py`` has the rest.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from node.consensus.messages import BlockReply, BlockRequest, Evidence, Forward, Message, Proposal, Signed
from node.consensus.settings import ANSWERS_PER_TICK
from node.consensus.statements import Commit, PrePrepare, decode_statement, encode_statement
from node.driver import Driver
from node.errors import NodeFault, RefusedError, StoreFault
from node.limits import (
    BATCH_ITEMS,
    FORWARD_TRANSACTIONS,
    HEARTBEAT_TICKS,
    PEER_BAN_TICKS,
    TICK_MS,
)
from node.model.block import Batch, decode_batch, encode_batch
from node.model.transaction import Transaction, decode_transaction, sign_transaction
from node.quarantine import MOST_FAULTS, MUTE_TICKS
from testnet.checker import CheckFailed
from testnet.sim_node import SimNode
from testnet.sim_options import Options
from testnet.sim_world import MS, SECOND, START_CLOCK_MS
from testnet.simulator import Simulation

NOT_AFTER = 2**40


class Net:
    """Four connected nodes; what they send is kept in ``sent`` as (sender, receiver, message)."""

    def __init__(self) -> None:
        self.simulation = Simulation(1, Options(faults=frozenset(), nodes=4))
        self.nodes = self.simulation.nodes
        self.clients = self.simulation.client_keys
        self.chain = self.nodes[0].around.genesis.chain
        self.sent: list[tuple[int, int, Message]] = []
        self.drop: Callable[[int, int, Message], bool] = lambda sender, to, message: False
        self._nonces = dict.fromkeys(range(len(self.clients)), 0)
        carry = self.nodes[0].around.send

        def send(node: SimNode, to: int, message: Message) -> None:
            self.sent.append((node.index, to, message))
            if not self.drop(node.index, to, message):
                carry(node, to, message)

        self.nodes[0].around.send = send
        self.simulation.start()

    def run(self, seconds: float) -> None:
        self.simulation.until(self.simulation.agenda.now + int(seconds * SECOND))

    def settle(self) -> None:
        """Up to just after the block that the calendar wants next, with nothing else in flight."""
        heights = self.heights
        while self.heights == heights or len(set(self.heights)) > 1:
            self.run(0.05)

    @property
    def heights(self) -> list[int]:
        return [self.driver(i).status.height for i in range(4)]

    def driver(self, index: int) -> Driver:
        driver = self.nodes[index].driver
        assert driver is not None
        return driver

    def pay(self, client: int = 0, amount: int = 1, not_after: int = NOT_AFTER) -> Transaction:
        """The client's next payment."""
        self._nonces[client] += 1
        to = self.clients[client - 1].public_key
        args: dict[str, Any] = {"to": to, "amount": amount}
        return sign_transaction(self.clients[client], self.chain, self._nonces[client], "bank", "pay", args, not_after)

    def where(self, tx: Transaction) -> list[int | None]:
        """The height of the transaction on every node."""
        found = []
        for node in self.nodes:
            assert node.ledger is not None
            place = node.ledger.find(tx.id)
            found.append(None if place is None else place[0])
        return found

    def proposed(self) -> list[int]:
        """How many transactions each batch held that was proposed, in the order of the proposals."""
        bodies = dict.fromkeys(message.batch for _, _, message in self.sent if isinstance(message, Proposal))
        return [len(decode_batch(body).transactions) for body in bodies]

    @property
    def clock_ms(self) -> int:
        """What correct clocks show."""
        return START_CLOCK_MS + self.simulation.agenda.now // MS


@pytest.fixture
def net() -> Net:
    net = Net()
    net.settle()
    net.sent.clear()
    return net


def is_forward(message: Message) -> bool:
    return isinstance(message, Forward)


def test_at_low_load_the_primary_proposes_at_once(net: Net) -> None:
    tx = net.pay()
    net.nodes[0].submit(tx)
    assert net.proposed() == [1]  # no time has passed
    net.run(0.2)
    assert len(set(net.where(tx))) == 1
    assert None not in net.where(tx)


def test_a_backup_forwards_at_once_and_the_client_is_served(net: Net) -> None:
    tx = net.pay()
    assert net.nodes[2].submit(tx) == "ok"
    assert [(s, to) for s, to, message in net.sent if is_forward(message)] == [(2, 0)]
    net.run(0.2)
    assert None not in net.where(tx)
    assert net.nodes[2].submit(tx) == "nonce-used"


def test_under_load_batches_grow_and_few_are_in_flight(net: Net) -> None:
    transactions = [net.pay(client) for _ in range(200) for client in range(len(net.clients))]
    refusals = net.driver(0).submit_all(transactions)
    assert refusals == [None] * len(transactions)
    assert net.driver(0).status.in_flight <= 1  # all of them fit the first batch
    net.run(1)
    counts = [count for count in net.proposed() if count]
    assert sum(counts) == len(transactions)
    assert max(counts) <= BATCH_ITEMS
    assert all(None not in net.where(tx) for tx in transactions)


def test_a_burst_of_single_submissions_makes_few_batches(net: Net) -> None:
    for _ in range(30):
        net.nodes[0].submit(net.pay())
    net.run(0.3)
    counts = [count for count in net.proposed() if count]
    assert sum(counts) == 30
    assert counts[0] == 1
    assert len(counts) <= 3


def test_without_transactions_the_calendar_and_the_heartbeat_make_empty_blocks(net: Net) -> None:
    before = net.heights[0]
    net.run(10)
    made = net.heights[0] - before
    # The bank's calendar strikes every 3 s; the clocks' scale in this seed is at least 1.
    assert 3 <= made <= 10 * net.nodes[0].around.genesis.time_scale // 3 + 1
    assert not any(net.proposed())
    assert HEARTBEAT_TICKS * TICK_MS == 5000


def test_a_primary_that_leaves_out_one_client_is_replaced_within_a_stated_bound(net: Net) -> None:
    """Checklist 28 and 32: forwarded after 1 s to everyone, timed by everyone for 1 s, then one view change."""
    victim = net.pay(0)
    primary = net.nodes[0]
    net.drop = lambda sender, to, message: is_forward(message) and to == 0  # it hears of nobody's transactions
    net.nodes[1].submit(victim)
    for _ in range(20):  # while others are served
        primary.submit(net.pay(1))
        net.run(0.15)
    net.run(1.5)
    assert net.driver(1).status.view == 1
    assert None not in net.where(victim)


def test_a_forged_transaction_makes_its_forwarder_unheard_for_a_while(net: Net) -> None:
    good, later = net.pay(0), net.pay(1)
    forged = bytes([good.raw[0] ^ 1]) + good.raw[1:]
    net.nodes[0].receive(2, Forward((forged,)))
    net.run(0.1)
    net.nodes[0].receive(2, Forward((later.raw,)))
    net.run(0.1)
    assert net.where(later) == [None] * 4
    net.nodes[0].receive(3, Forward((later.raw,)))  # from another member it is welcome
    net.run(0.2)
    assert None not in net.where(later)
    assert net.where(decode_transaction(forged)) == [None] * 4
    net.run(PEER_BAN_TICKS * TICK_MS / 1000)
    again = net.pay(1)
    net.nodes[0].receive(2, Forward((again.raw,)))
    net.run(0.2)
    assert None not in net.where(again)


@pytest.mark.parametrize("raws", [(b"garbage",), (b"",) * (FORWARD_TRANSACTIONS + 1)])
def test_garbage_is_counted_and_dropped(net: Net, raws: tuple[bytes, ...]) -> None:
    net.nodes[0].receive(2, Forward(raws))
    assert net.driver(0).status.peer_errors == 1
    assert net.driver(0).status.mempool_transactions == 0


def test_a_batch_with_a_forged_signature_is_voted_for_by_nobody(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 7: also by nodes that know the genuine transaction as verified; and its proposer is found out."""
    found: list[Evidence] = []
    monkeypatch.setattr(net.simulation, "on_evidence", lambda node, evidence: found.append(evidence))
    tx = net.pay()
    net.drop = lambda sender, to, message: isinstance(message, Proposal)
    for node in net.nodes[1:]:
        node.submit(tx)
    net.nodes[0].submit(tx)
    proposal = next(message for _, _, message in net.sent if isinstance(message, Proposal))
    forged = bytes([tx.raw[0] ^ 1]) + tx.raw[1:]
    batch = Batch(net.chain, 0, 0, net.nodes[0].around.genesis.block_time(net.clock_ms), (forged,))
    net.nodes[1].receive(0, resigned(net.nodes[0], proposal, encode_batch(batch)))
    net.nodes[2].receive(0, proposal)
    net.run(0.03)
    voters = {
        sender for sender, _, message in net.sent if isinstance(message, Signed) and b"\xa7prepare" in message.data
    }
    assert voters == {2}
    assert [(evidence.kind, evidence.member) for evidence in found] == [("false-proposal", 0)]


def resigned(node: SimNode, proposal: Proposal, body: bytes) -> Proposal:
    """The same proposal for another batch, signed with the primary's key."""
    chain = node.around.genesis.chain
    statement = decode_statement(proposal.pre_prepare.data, chain, 0)
    assert isinstance(statement, PrePrepare)
    data = encode_statement(replace(statement, digest=decode_batch(body).digest), chain, 0)
    return Proposal(Signed(node.index, data, node.key.sign(data)), body)


@pytest.mark.parametrize("skew_ms", [-600_000, 600_000])
def test_a_primary_whose_clock_is_far_off_decides_no_block_time(net: Net, skew_ms: int) -> None:
    """Checklist 57."""
    net.nodes[0].clock_skew_ms = skew_ms
    tx = net.pay()
    net.nodes[1].submit(tx)
    net.run(6)
    assert None not in net.where(tx)
    assert net.driver(1).status.view >= 1
    ledger = net.nodes[1].ledger
    assert ledger is not None
    right = net.nodes[1].around.genesis.block_time(net.clock_ms)
    assert abs(ledger.head.time - right) <= 10 * net.nodes[1].around.genesis.time_scale


def test_a_disk_that_fails_stops_the_node_before_it_votes(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 58: the vote that could not be made durable is not sent, nor anything after it."""

    def fail(self: object) -> None:
        raise OSError(5, "Input/output error")

    driver = net.driver(0)
    with monkeypatch.context() as broken:
        broken.setattr("testnet.sim_disk.SimFile.sync", fail)
        with pytest.raises(StoreFault, match="vote-log-failed"):
            driver.submit(net.pay())
    assert net.proposed() == []
    with pytest.raises(NodeFault, match="vote-log-failed"):
        driver.tick()
    with pytest.raises(NodeFault, match="vote-log-failed"):
        driver.submit(net.pay())


def test_refusals_reach_the_gateway_and_change_nothing(net: Net) -> None:
    tx = net.pay(not_after=5)
    with pytest.raises(RefusedError, match="expired"):
        net.driver(1).submit(tx)
    assert net.driver(1).status.mempool_transactions == 0
    assert not any(is_forward(message) for _, _, message in net.sent)


def test_each_signature_is_checked_once_on_each_node(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, bytes]] = []
    for node in net.nodes:
        ports = net.driver(node.index)._ports
        real = ports.check_signatures

        def check(transactions: Any, done: Any, index: int = node.index, real: Any = real) -> None:
            asked.extend((index, tx.digest) for tx in transactions)
            real(transactions, done)

        monkeypatch.setattr(net.driver(node.index)._judge, "_check", check)
        monkeypatch.setattr(net.driver(node.index)._intake, "_check", check)
    tx = net.pay()
    net.nodes[1].submit(tx)  # its gateway checked it
    net.run(0.5)
    assert None not in net.where(tx)
    assert sorted(asked) == [(index, tx.digest) for index in (0, 2, 3)]


def test_blocks_are_supplied_within_a_bound(net: Net) -> None:
    for _ in range(5):
        net.nodes[0].submit(net.pay())
        net.run(0.2)
    net.sent.clear()
    net.nodes[0].receive(3, BlockRequest(2))
    replies = [(to, message) for _, to, message in net.sent if isinstance(message, BlockReply)]
    assert [to for to, _ in replies] == [3]
    assert len(replies[0][1].blocks) == net.heights[0] - 1


def test_blocks_are_supplied_as_fast_as_they_can_be_used_and_no_faster(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checklist 52: a request of a few bytes makes a reply of megabytes."""
    monkeypatch.setattr("node.supply.SUPPLY_BYTES_BURST", 4_000)
    monkeypatch.setattr("node.supply.SUPPLY_BYTES_PER_SECOND", 20_000)
    for _ in range(5):
        net.nodes[0].submit(net.pay())
        net.run(0.2)
    net.drop = lambda sender, to, message: isinstance(message, BlockReply)
    net.sent.clear()
    for _ in range(40):
        for _ in range(2 * ANSWERS_PER_TICK):
            net.nodes[0].receive(3, BlockRequest(1))
        net.run(TICK_MS / 1000)
    replies = [message for _, to, message in net.sent if isinstance(message, BlockReply)]
    sizes = [sum(len(part) for block in reply.blocks for part in block) for reply in replies]
    assert 20_000 < sum(sizes) <= 4_000 + max(sizes) + 2 * 20_000 + 1_000
    net.sent.clear()
    net.nodes[0].receive(2, BlockRequest(1))
    assert [type(message) for _, to, message in net.sent if to == 2] == [BlockReply]  # what one has costs no other


def test_a_node_whose_result_differs_stops_alone(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 26: nondeterminism on one node. What it voted for is proof of its defect."""
    kinds: set[str] = set()
    monkeypatch.setattr(net.simulation, "on_evidence", lambda node, evidence: kinds.add(evidence.kind))
    monkeypatch.setattr(net.simulation.checker, "_check_result", lambda *vote: None)  # the judge would see it first
    ledger = net.nodes[3].ledger
    assert ledger is not None
    key = b"bank-account/" + net.clients[0].public_key
    ledger.state._values[key] = 7
    net.nodes[0].submit(net.pay(0))
    with pytest.raises(CheckFailed, match="n3 stopped: diverged"):
        net.run(1)
    monkeypatch.setattr(net.simulation, "on_fault", lambda node, fault: None)
    monkeypatch.setattr(net.simulation, "on_evidence", lambda node, evidence: None)
    net.nodes[0].submit(net.pay(1))
    net.run(0.5)
    assert len({net.driver(i).status.height for i in range(3)}) == 1
    assert not net.nodes[3].is_up
    assert kinds <= {"wrong-block"}


def test_a_batch_that_a_view_change_carries_over_is_not_proposed_twice(net: Net) -> None:
    """Every node holds the transaction, and the new primary gets it back in a prepared batch of the old one."""
    tx = net.pay()
    net.drop = lambda sender, to, message: isinstance(message, Signed) and b"\xa6commit" in message.data
    for node in net.nodes:
        node.submit(tx)
    net.run(1.2)
    net.drop = lambda sender, to, message: False
    net.run(2)
    assert net.driver(1).status.view == 1
    assert None not in net.where(tx)
    assert net.driver(1).status.mempool_transactions == 0
    included = [other.id for block in net.simulation.checker.chain for other in block.transactions]
    assert included.count(tx.id) == 1


def test_a_batch_that_a_view_change_loses_is_proposed_again(net: Net) -> None:
    tx = net.pay()
    net.drop = lambda sender, to, message: sender == 0  # its proposal reaches nobody
    for node in net.nodes:
        node.submit(tx)
    net.run(3)
    assert net.driver(1).status.view == 1
    assert None not in net.where(tx)[1:]


def test_a_flood_of_forged_votes_is_not_read_for_long(net: Net) -> None:
    """Checklist 55: bad signatures are checked until there are too many; then the peer is unheard for ten seconds."""
    for _ in range(500):
        net.driver(0).receive("n2", forged_vote(net))
    assert net.driver(0).status.peer_errors == MOST_FAULTS
    assert [net.driver(0).hears(peer) for peer in ("n1", "n2")] == [True, False]
    tx = net.pay()
    net.nodes[0].submit(tx)
    net.run(0.3)
    assert None not in net.where(tx)[:2]  # the others go on without it
    net.run(MUTE_TICKS * TICK_MS / 1000 + 1)
    net.driver(0).receive("n2", forged_vote(net))
    assert net.driver(0).status.peer_errors == MOST_FAULTS + 1


def forged_vote(net: Net) -> Signed:
    """A commit vote of n2 for the next height, with a signature that is none."""
    return Signed(2, encode_statement(Commit(0, net.heights[0] + 1, bytes(32)), net.chain, 0), bytes(64))
