"""Execution: canonical order, one transaction at a time, receipts, hooks, nonces, queries and their proofs."""

import itertools
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode.contract import Context, Contract, ContractError, Value, query
from chaincode.registry import Registry
from node import executor as executor_module
from node.errors import NodeFault, RefusedError
from node.executor import HOOK_FAILED
from node.ledger import nonces
from node.model.block import NULL_BATCH
from node.model.merkle_list import list_root
from node.model.receipt import Receipt
from node.model.transaction import sign_transaction
from node.witness import entry_name, proven_answer
from tests.ledger.chains import SENDERS, Chain, certify


def codes(chain: Chain, *transactions: Any) -> list[str]:
    return [receipt.code for receipt in chain.add(*transactions).receipts]


def test_a_batch_is_a_set_whose_order_does_not_matter() -> None:
    """Checklist 34: a proposer gains nothing by the order within a batch."""
    chain = Chain()
    chain.add(*(chain.tx(sender, 1, "rest", price=sender) for sender in range(4)))
    batch = [
        chain.tx(0, 2, "take"),
        chain.tx(1, 2, "take"),
        chain.tx(2, 2, "take"),
        chain.tx(2, 3, "take"),
        chain.tx(3, 2, "take"),
    ]
    executions = [chain.execute(*order) for order in itertools.permutations(batch)]
    assert len({execution.block.header.state_root for execution in executions}) == 1
    taken = {frozenset((r.tx_id, r.result) for r in execution.receipts) for execution in executions}
    assert len(taken) == 1
    results = {receipt.tx_id: receipt.result for receipt in executions[0].receipts}
    first, second = results[batch[2].id], results[batch[3].id]
    assert second is None or first < second  # type: ignore[operator]
    for execution, order in zip(executions, itertools.permutations(batch), strict=True):
        assert [receipt.tx_id for receipt in execution.receipts] == [tx.id for tx in order]


def test_the_order_of_senders_changes_with_the_parent() -> None:
    """Checklist 34: otherwise a key could be chosen that is always first."""
    first: set[int] = set()
    chain = Chain()
    for number in range(1, 25):
        chain.add(chain.tx(5, number, "rest", price=1))
        takes = [chain.tx(sender, number, "take") for sender in range(3)]
        results = chain.add(*takes).receipts
        first.update(index for index, receipt in enumerate(results) if receipt.result == 1)
    assert first == {0, 1, 2}


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("mistake", "internal"),
        ("endless", "step-limit"),
        ("large", "too-large"),
        ("events", "too-large"),
        ("list", "internal"),
        ("huge", "internal"),
        ("long-key", "internal"),
        ("result", "internal"),
        ("details", "internal"),
    ],
)
def test_a_failure_is_undone_and_told(how: str, code: str, caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain()
    chain.add(chain.tx(0, 1, "add", name="a", amount=2))
    with caplog.at_level(logging.CRITICAL if code != "internal" else logging.ERROR):
        execution = chain.add(chain.tx(0, 2, "fail", how=how), chain.tx(0, 3, "add", name="a", amount=1))
    assert execution.receipts[0] == Receipt(execution.transactions[0].id, code, (), None)
    assert execution.receipts[1].result == 3
    assert chain.executor.query("sample", "count", {"name": "lost"}) is None
    assert "lost" not in {event.topic for event in execution.events}
    assert bool(caplog.records) == (code == "internal")
    assert chain.ledger.highest_nonce(SENDERS[0].public_key) == 3


def test_a_refusal_carries_its_integers() -> None:
    chain = Chain()
    receipt = chain.add(chain.tx(0, 1, "add", name="a", amount=-3)).receipts[0]
    assert (receipt.code, receipt.details) == ("below-zero", (0, -3))
    assert chain.executor.query("sample", "count", {}) == 0


def test_what_cannot_be_called() -> None:
    chain = Chain()
    unknown = sign_transaction(SENDERS[0], chain.genesis.chain, 3, "nobody", "add", {}, 2**40)
    batch = [
        chain.tx(0, 1, "add", name="a", amount="1"),
        chain.tx(0, 2, "nothing"),
        unknown,
        chain.tx(0, 4, "count"),
        chain.tx(0, 5, "helper"),
    ]
    assert codes(chain, *batch) == [
        "bad-args",
        "unknown-method",
        "unknown-contract",
        "unknown-method",
        "unknown-method",
    ]
    assert chain.ledger.highest_nonce(SENDERS[0].public_key) == 5


def test_what_is_not_executed_at_all_uses_no_nonce() -> None:
    chain = Chain()
    now = chain.ledger.head.time
    foreign = sign_transaction(SENDERS[0], bytes(32), 1, "sample", "take", {}, 2**40)
    assert codes(chain, foreign, chain.tx(1, 1, "take", not_after=now), chain.tx(2, 257, "take")) == [
        "wrong-chain",
        "expired",
        "nonce-out-of-window",
    ]
    for sender in range(3):
        assert chain.ledger.highest_nonce(SENDERS[sender].public_key) == 0
    assert codes(chain, chain.tx(1, 1, "take", not_after=now + 2)) == ["ok"]  # on the last second


def test_two_transactions_with_one_nonce() -> None:
    """Checklist 29: one of them takes effect."""
    chain = Chain()
    batch = [chain.tx(0, 1, "add", name="a", amount=amount) for amount in (1, 2)]
    assert sorted(codes(chain, *batch)) == ["nonce-used", "ok"]
    winner = min(batch, key=lambda tx: tx.id)
    assert chain.executor.query("sample", "count", {}) == winner.payload.args["amount"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 700), st.integers(0, 2**63 - 1)), max_size=60))
def test_the_nonce_window_against_a_plain_set(tried: list[int]) -> None:
    """Checklist 29 and 30: each nonce once, in any order within the window; gaps may stay open."""
    entry = nonces.FRESH
    used: set[int] = set()
    for nonce in tried:
        highest = max(used, default=0)
        if nonce > highest + 256 or nonce <= highest - 256:
            expected: str | None = "nonce-out-of-window"
        else:
            expected = "nonce-used" if nonce in used else None
        assert nonces.fault(entry, nonce) == expected
        if expected is None:
            used.add(nonce)
            entry = nonces.read(nonces.written(nonces.use(entry, nonce)))
            assert entry[0] == max(used)


def test_a_machine_fault_is_not_a_receipt() -> None:
    chain = Chain()
    with pytest.raises(NodeFault, match="machine"):
        chain.execute(chain.tx(0, 1, "fail", how="machine"))


def test_heights_and_bodies_that_do_not_fit_are_faults() -> None:
    chain = Chain()
    for height in (0, 2):
        with pytest.raises(NodeFault, match="wrong-height"):
            chain.executor.execute(height, NULL_BATCH)
    with pytest.raises(NodeFault, match="bad-batch"):
        chain.executor.execute(1, b"garbage")


def test_a_null_batch_runs_no_hooks_and_keeps_the_time() -> None:
    chain = Chain()
    before = chain.ledger.head
    execution = chain.add_null()
    assert (execution.events, execution.changes) == ((), {})
    assert execution.block.header.time == before.time
    assert execution.block.header.state_root == before.state_root
    assert [event.topic for event in chain.add().events] == ["began", "began", "ended"]


def test_time_never_runs_backwards() -> None:
    """Checklist 57."""
    chain = Chain()
    chain.add(after=50)
    assert chain.add(after=-20).block.header.time == chain.ledger.head.time
    assert chain.ledger.head.time == chain.genesis.time_origin + 50


def test_a_failing_hook_is_undone_told_and_does_not_stop_the_chain() -> None:
    chain = Chain()
    chain.add(chain.tx(0, 1, "poison"))
    assert chain.executor.next_event() == chain.ledger.head.time + 3
    execution = chain.add(chain.tx(0, 2, "add", name="a", amount=1))
    assert execution.receipts[0].code == "ok"
    told = [(event.contract, event.data) for event in execution.events if event.topic == HOOK_FAILED]
    assert told == [("sample", ("begin_block", "poisoned"))]
    assert chain.executor.query("sample", "count", {"name": "lost"}) is None
    assert (
        chain.executor.next_event() == chain.ledger.head.time + 3
    )  # of the other contract; the failed one is not asked
    chain.reopen()
    assert chain.executor.next_event() == chain.ledger.head.time + 3


def test_the_roots_bind_transactions_and_results() -> None:
    chain = Chain()
    execution = chain.execute(chain.tx(0, 1, "add", name="a", amount=1), chain.tx(1, 1, "take"))
    header = execution.block.header
    assert header.tx_root == list_root([tx.digest for tx in execution.transactions])
    assert header.receipts_root == execution.results.root
    assert header.batch_digest != chain.execute(chain.tx(0, 1, "add", name="a", amount=1)).block.header.batch_digest


def test_the_same_nodes_execute_alike_whatever_they_remember() -> None:
    """One node runs on, the other is restarted before every block."""
    warm, cold = Chain(), Chain()
    for number in range(1, 12):
        for chain in (warm, cold):
            chain.add(
                chain.tx(0, number, "rest", price=number % 3),
                chain.tx(1, number, "take"),
                chain.tx(2, number, "add", name=f"n{number % 4}", amount=number),
            )
        cold.reopen()
        assert warm.ledger.head_hash == cold.ledger.head_hash


def test_queries_read_and_never_write(caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain()
    chain.add(chain.tx(0, 1, "rest", price=4))
    assert chain.executor.query("sample", "book", {}) == ((4, 1),)
    for steps, rows, code in ((0, None, "step-limit"), (9, 0, "too-much")):
        with pytest.raises(ContractError, match=code):
            chain.executor.query("sample", "book", {}, steps=steps, rows=rows)
    for method, args, code in [
        ("write", {}, "read-only"),
        ("rest", {"price": 1}, "unknown-method"),
        ("count", {"name": 1}, "bad-args"),
        ("mistake", {}, "internal"),
    ]:
        with caplog.at_level(logging.CRITICAL), pytest.raises(ContractError) as refusal:
            chain.executor.query("sample", method, args)
        assert refusal.value.code == code


def test_a_proven_answer_needs_nobodys_word() -> None:
    chain = Chain()
    execution = chain.add(chain.tx(0, 1, "add", name="a", amount=4))
    header, certificate = execution.block.header, certify(execution)
    for name, expected in (("a", 4), ("nobody", None)):
        args = {"name": name}
        value, reads = chain.executor.query_proven("sample", "count", args)
        assert value == expected

        def ask(
            reads: Any = reads,
            certificate: Any = certificate,
            header: Any = header,
            args: Any = args,
        ) -> Any:
            known = (chain.genesis.chain, chain.ledger.epochs())
            return proven_answer(chain.registry, *known, header, certificate, reads, "sample", "count", args)

        assert ask() == expected
        key, data, proof = reads[0]
        for forged in [(), ((key, b"\x09", proof),), ((key, None if data else b"\x01", proof),), ((key, data, ()),)]:
            with pytest.raises(RefusedError, match="bad-proof"):
                ask(reads=(*forged, *reads[1:]))
        with pytest.raises(RefusedError, match="bad-proof"):
            ask(reads=reads[:-1])  # without it nobody knows by whose code the answer is
        with pytest.raises(RefusedError) as refused:
            ask(reads=((key, data, ()),))
        assert refused.value.message == f"the entry {entry_name(key)} is not proven"
        with pytest.raises(RefusedError, match="bad-proof"):
            ask(args={"name": "else"})
        with pytest.raises(RefusedError, match="bad-proof"):
            ask(certificate=certify(execution, signers=(0, 1)))
        with pytest.raises(RefusedError, match="bad-proof"):
            ask(header=chain.ledger.block(0).header)  # type: ignore[union-attr]


def test_an_entry_is_named_in_words_and_hex() -> None:
    """Whatever bytes a liar's key has: a terminal shows letters and hex."""
    assert entry_name(b"auction/\0\x03") == "auction/0003"
    assert entry_name(b"\x1b[2J/x") == b"\x1b[2J/x".hex()
    assert entry_name(b"") == "" and entry_name(b"auction") == b"auction".hex()
    assert entry_name(b"auction/" + bytes(1_000)) == "auction/" + "00" * 128 + "..."


def test_scans_and_endless_reads_are_not_provable(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain()
    with pytest.raises(ContractError, match="not-provable"):
        chain.executor.query_proven("sample", "book", {})
    monkeypatch.setattr("node.witness.MAX_PROVEN_READS", 0)
    with pytest.raises(ContractError, match="not-provable"):
        chain.executor.query_proven("sample", "count", {})


class Hoarder(Contract):
    """Its hook writes a little, then as much as it was told."""

    name = "hoarder"
    size = 0

    def begin_block(self, ctx: Context) -> None:
        ctx.put(b"hoard/a", self.size)
        ctx.put(b"hoard/b", b"x" * self.size)

    @query
    def last(self, ctx: Context) -> Value:
        return ctx.get(b"hoard/a")


def test_a_hook_may_write_a_large_value_but_not_any() -> None:
    chain = Chain()
    hoarder = Hoarder()
    chain.registry = Registry([hoarder])
    chain.reopen()
    hoarder.size = executor_module.HOOK_VALUE_BYTES - 100  # for what the encoding adds
    assert HOOK_FAILED not in {event.topic for event in chain.add().events}
    kept = hoarder.size
    assert chain.executor.query("hoarder", "last", {}) == kept
    hoarder.size = executor_module.HOOK_VALUE_BYTES
    told = [(event.contract, event.data) for event in chain.add().events if event.topic == HOOK_FAILED]
    assert told == [("hoarder", ("begin_block", "too-large"))]
    assert chain.executor.query("hoarder", "last", {}) == kept


def test_the_events_of_a_hook_have_a_bound_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert executor_module.HOOK_VALUE_BYTES > executor_module.TRANSACTION_VALUE_BYTES
    chain = Chain()
    monkeypatch.setattr(executor_module, "HOOK_VALUE_BYTES", 0)
    failed = {("begin_block", "too-large"), ("end_block", "too-large")}
    assert not failed & {event.data for event in chain.add().events}
    monkeypatch.setattr(executor_module, "HOOK_EVENTS_BYTES", 3)
    assert {event.data for event in chain.add().events} == failed
