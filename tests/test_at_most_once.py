"""A transaction takes effect once, however often and wherever it is handed in again. (Checklist 29)"""

import pytest

from node.consensus.messages import Message, Signed
from node.consensus.statements import Commit, decode_statement
from node.model.transaction import Transaction
from testnet.sim_node import SimNode
from tests.test_driver import Net


def balances(net: Net, node: int) -> list[object]:
    """What each client has, as one node's contracts say."""
    executor = net.nodes[node].executor
    assert executor is not None
    return [executor.query("bank", "balance", {"owner": key.public_key}) for key in net.clients]


def hand_in_everywhere(net: Net, transactions: list[Transaction]) -> list[str]:
    return [node.submit(tx) for tx in transactions for node in net.nodes if node.is_up]


def restart(node: SimNode, *, power_loss: bool) -> None:
    node.crash(power_loss=power_loss)
    if not node.is_up:
        node.start()


def test_a_retry_after_a_view_change() -> None:
    """Checklist 21, 29: its first primary dies with it in flight; the client hands it in at every node."""
    net = Net()
    net.settle()
    transactions = [net.pay() for _ in range(5)]
    for tx in transactions:
        net.nodes[0].submit(tx)
    net.nodes[0].crash(power_loss=True)
    hand_in_everywhere(net, transactions)
    net.run(4)
    assert net.driver(1).status.view >= 1
    if not net.nodes[0].is_up:
        net.nodes[0].start()
    net.run(6)
    once_for_all(net, transactions)


@pytest.mark.parametrize("power_loss", [False, True])
def test_a_retry_after_the_whole_network_was_restarted(power_loss: bool) -> None:
    """Checklist 29, 39: the table of nonces is in the state, so that no restart forgets what was used."""
    net = Net()
    net.settle()
    transactions = [net.pay() for _ in range(5)]
    hand_in_everywhere(net, transactions)
    net.run(2)
    for node in net.nodes:
        restart(node, power_loss=power_loss)
    codes = hand_in_everywhere(net, transactions)
    assert set(codes) == {"nonce-used"}
    net.run(8)
    once_for_all(net, transactions)


def test_a_retry_at_a_node_that_fetched_the_blocks() -> None:
    """Checklist 29, 44: a node that was away knows from the blocks that it gets what was used."""
    net = Net()
    net.settle()
    links = [(a, b) for a in range(4) for b in range(4) if 3 in (a, b)]
    net.simulation.network.block(links)
    transactions = [net.pay() for _ in range(5)]
    for tx in transactions:
        net.nodes[0].submit(tx)
    net.run(12)
    net.simulation.network.unblock(links)
    net.run(4)
    assert {net.nodes[3].submit(tx) for tx in transactions} == {"nonce-used"}
    net.run(2)
    once_for_all(net, transactions)


def once_for_all(net: Net, transactions: list[Transaction]) -> None:
    """Every node has each transaction once, at one height, and the same balances."""
    for tx in transactions:
        places = net.where(tx)
        assert None not in places and len(set(places)) == 1
    ledgers = [node.ledger for node in net.nodes]
    for ledger in ledgers:
        assert ledger is not None
        used = [
            receipt.tx_id
            for height in range(1, ledger.head.height + 1)
            for receipt in ledger.receipts(height)
            if receipt.code == "ok"
        ]
        assert sorted(used) == sorted(tx.id for tx in transactions)
    assert balances(net, 0) == balances(net, 1) == balances(net, 2) == balances(net, 3)


@pytest.mark.parametrize("power_loss", [False, True])
def test_a_retry_while_what_was_proposed_before_is_on_its_way(power_loss: bool) -> None:
    """Checklist 29, 39: all nodes go down with a batch proposed and not stored; its transactions are handed in again as
    soon as they are back, and are in no other batch."""
    net = Net()
    net.settle()
    transactions = [net.pay() for _ in range(5)]
    net.drop = lambda sender, to, message: is_commit(net, message)
    hand_in_everywhere(net, transactions)
    net.run(0.5)
    assert net.driver(0).status.in_flight
    for node in net.nodes:
        restart(node, power_loss=power_loss)
    hand_in_everywhere(net, transactions)
    net.run(1)
    net.drop = lambda sender, to, message: False
    net.run(12)
    once_for_all(net, transactions)
    ledger = net.nodes[0].ledger
    assert ledger is not None
    ids = [receipt.tx_id for height in range(1, ledger.head.height + 1) for receipt in ledger.receipts(height)]
    assert sorted(ids) == sorted(tx.id for tx in transactions)


def is_commit(net: Net, message: Message) -> bool:
    return isinstance(message, Signed) and isinstance(decode_statement(message.data, net.chain, 0), Commit)
