"""The checker notices: a judge that never condemns proves nothing. Each test makes one lie out of a true history."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from node.consensus.messages import Message, Proposal, Signed
from node.consensus.statements import Commit, ViewChange, decode_statement, encode_statement
from node.ledger.execution import Execution
from node.model.certificate import Certificate
from testnet.checker import Checker, CheckFailed
from testnet.sim_node import SimNode
from testnet.sim_options import Options
from testnet.simulator import Simulation


class History:
    """A true history of four nodes, as the checker of each test gets it again."""

    def __init__(self) -> None:
        self.simulation = Simulation(5, Options(faults=frozenset(), nodes=4))
        self.stored: list[tuple[int, Execution, Certificate]] = []
        self.sent: list[tuple[int, Message]] = []
        simulation = self.simulation
        on_send, on_stored = simulation.on_send, simulation.on_stored

        def send(node: SimNode, to: int, message: Message) -> None:
            self.sent.append((node.index, message))
            on_send(node, to, message)

        def stored(node: SimNode, execution: Execution, certificate: Certificate) -> None:
            self.stored.append((node.index, execution, certificate))
            on_stored(node, execution, certificate)

        simulation.on_send, simulation.on_stored = send, stored  # type: ignore[method-assign]
        simulation.run()

    def checker(self) -> Checker:
        old = self.simulation.checker
        return Checker(old._genesis, old._genesis_hash, old._verify)

    def told(self, checker: Checker) -> Checker:
        """``checker`` has seen all blocks."""
        for node, execution, certificate in self.stored:
            checker.check_stored(node, execution, certificate)
        return checker

    def end(self, checker: Checker) -> None:
        simulation = self.simulation
        executor = simulation.nodes[0].executor
        assert executor is not None
        ledgers = [node.ledger for node in simulation.nodes if node.ledger is not None]
        checker.check_end(
            ledgers,
            simulation.clients.owed,
            simulation._workload,
            lambda contract, method, **args: executor.query(contract, method, args),
        )


@pytest.fixture(scope="module")
def history() -> History:
    return History()


def test_the_truth_passes(history: History) -> None:
    checker = history.told(history.checker())
    checker.acknowledged = dict(history.simulation.checker.acknowledged)
    assert len(checker.acknowledged) > 10
    history.end(checker)


def other_block(execution: Execution, **changes: Any) -> Execution:
    header = msgspec.structs.replace(execution.block.header, **changes)
    block = msgspec.structs.replace(execution.block, header=header)
    return replace(execution, block=block, block_hash=header.hash)


def certified(history: History, execution: Execution, view: int = 0, signers: int = 3) -> Certificate:
    """A genuine certificate for any block, as only a quorum of traitors would make it."""
    height, block_hash = execution.block.header.height, execution.block_hash
    chain = history.simulation.nodes[0].around.genesis.chain
    data = encode_statement(Commit(view, height, block_hash), chain, 0)
    votes = tuple((i, history.simulation.nodes[i].key.sign(data)) for i in range(signers))
    return Certificate(0, view, height, block_hash, votes)


def test_a_fork_is_noticed(history: History) -> None:
    checker = history.checker()
    node, execution, certificate = history.stored[0]
    checker.check_stored(node, execution, certificate)
    forked = other_block(execution, time=execution.block.header.time + 1)
    with pytest.raises(CheckFailed, match="two blocks at height 1"):
        checker.check_stored((node + 1) % 4, forked, certified(history, forked))


def test_a_block_on_another_parent_is_noticed(history: History) -> None:
    _, execution, _ = history.stored[0]
    orphan = other_block(execution, parent_hash=b"x" * 32)
    with pytest.raises(CheckFailed, match="does not stand on"):
        history.checker().check_stored(0, orphan, certified(history, orphan))


def test_a_certificate_too_small_or_for_another_block_is_noticed(history: History) -> None:
    _, execution, certificate = history.stored[0]
    with pytest.raises(CheckFailed, match="proves nothing"):
        history.checker().check_stored(0, execution, certified(history, execution, signers=2))
    other = other_block(execution, time=execution.block.header.time + 1)
    with pytest.raises(CheckFailed, match="of another block"):
        history.checker().check_stored(0, other, certificate)


def test_a_height_stored_twice_or_left_out_is_noticed(history: History) -> None:
    checker = history.checker()
    node, execution, certificate = history.stored[0]
    checker.check_stored(node, execution, certificate)
    with pytest.raises(CheckFailed, match="stored height 1 where 2 was next"):
        checker.check_stored(node, execution, certificate)
    checker.check_started(node, 1)
    with pytest.raises(CheckFailed, match="starts with 0"):
        checker.check_started(node, 0)


def test_a_lost_or_moved_transaction_is_noticed(history: History) -> None:
    checker = history.told(history.checker())
    tx_id, height = next(iter(history.simulation.checker.acknowledged.items()))
    checker.acknowledged[tx_id] = height + 1
    with pytest.raises(CheckFailed, match="moved"):
        history.end(checker)
    checker = history.told(history.checker())
    checker.acknowledged[b"never" * 6] = 3
    with pytest.raises(CheckFailed, match="was acknowledged"):
        history.end(checker)


def test_a_nonce_that_takes_effect_twice_is_noticed(history: History) -> None:
    checker = history.told(history.checker())
    busy = next(block for block in checker.chain if block.transactions)
    checker.chain[-1] = replace(checker.chain[-1], transactions=busy.transactions, receipts=busy.receipts)
    with pytest.raises(CheckFailed, match="twice"):
        history.end(checker)


def test_wrong_balances_and_receipts_are_noticed(history: History) -> None:
    checker = history.told(history.checker())
    index = next(i for i, block in enumerate(checker.chain) if any(r.code == "ok" for r in block.receipts))
    block = checker.chain[index]
    receipts = tuple(receipt._replace(code="insufficient-funds") for receipt in block.receipts)
    checker.chain[index] = replace(block, receipts=receipts)
    with pytest.raises(CheckFailed, match=r"the books do not agree: .* is right"):
        history.end(checker)


def votes(history: History, kind: bytes) -> tuple[int, Signed]:
    return next((n, m) for n, m in history.sent if isinstance(m, Signed) and m.sender == n and kind in m.data[:40])


def test_a_second_vote_for_one_slot_is_noticed(history: History) -> None:
    simulation = history.simulation
    for kind in (b"\xa7prepare", b"\xa6commit"):
        node, vote = votes(history, kind)
        chain = simulation.nodes[0].around.genesis.chain
        statement: Any = decode_statement(vote.data, chain, 0)
        field = "digest" if kind == b"\xa7prepare" else "block_hash"
        other = encode_statement(replace(statement, **{field: b"y" * 32}), chain, 0)
        second = Signed(node, other, simulation.nodes[node].key.sign(other))
        checker = history.checker()
        log = vote.signature + second.signature
        checker.check_sent(node, vote, lambda log=log: log)  # type: ignore[misc]
        with pytest.raises(CheckFailed, match="two different statements"):
            checker.check_sent(node, second, lambda log=log: log)  # type: ignore[misc]


def test_a_vote_that_is_not_on_disk_is_noticed(history: History) -> None:
    node, vote = votes(history, b"\xa7prepare")
    with pytest.raises(CheckFailed, match="before it was on its disk"):
        history.checker().check_sent(node, vote, lambda: b"")
    checker = history.checker()
    primary, proposal = next((n, m) for n, m in history.sent if isinstance(m, Proposal))
    checker.check_sent(primary, proposal, lambda: proposal.pre_prepare.signature)
    with pytest.raises(CheckFailed, match="a batch that its disk does not hold"):
        checker.check_sent(node, vote, lambda: vote.signature)


def test_a_vote_in_a_view_that_was_left_is_noticed(history: History) -> None:
    node, vote = votes(history, b"\xa6commit")
    simulation = history.simulation
    data = encode_statement(ViewChange(1, None, ()), simulation.nodes[0].around.genesis.chain, 0)
    left = Signed(node, data, simulation.nodes[node].key.sign(data))
    checker = history.checker()
    checker.check_sent(node, left, lambda: left.signature)
    with pytest.raises(CheckFailed, match="after it had left"):
        checker.check_sent(node, vote, lambda: vote.signature)
