"""The audit with its tree in another process: the same verdicts, also on what members have certified wrongly."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from node import audit, audit_ahead
from node.audit import verify_chain
from node.audit_ahead import Ahead, Known, Signature
from node.audit_tree import TreeKeeper
from node.errors import NodeFault, RefusedError
from node.ledger import layout
from node.ledger.layout import at_height
from node.ledger.store import MemoryStore
from node.model.block import Block, decode_header, encode_header
from tests.ledger.chains import Chain, certify

BLOCKS = 40
"""More than a round of the tree's writes."""
WRONG = bytes(31) + b"\1"


@pytest.fixture(autouse=True)
def few_blocks_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "BLOCKS_WORTH", 1)


def made(lie_at: int = 0) -> Chain:
    """A chain of ``BLOCKS`` blocks; at ``lie_at`` the members have certified a root that is not the state's."""
    chain = Chain()
    for number in range(1, BLOCKS + 1):
        execution = chain.execute(chain.tx(number % 6, number, "add", name=f"n{number % 9}", amount=number))
        if number == lie_at:
            lie = replace_root(execution.block)
            execution = replace(execution, block=lie, block_hash=lie.header.hash)
        chain.ledger.commit(execution, certify(execution))
    return chain


def replace_root(block: Block) -> Block:
    fields = {name: getattr(block.header, name) for name in block.header.__struct_fields__}
    return Block(type(block.header)(**{**fields, "state_root": WRONG}), block.body)


def refused(chain: Chain, store: MemoryStore) -> str:
    with pytest.raises(RefusedError) as refusal:
        verify_chain(store, chain.genesis, chain.registry, jobs=1)
    assert refusal.value.code == "bad-chain"
    return refusal.value.message


def test_a_good_chain_passes_as_it_does_in_one_process() -> None:
    chain = made()
    reports = [verify_chain(chain.store, chain.genesis, chain.registry, jobs=jobs) for jobs in (0, 1)]
    assert reports[0][:-1] == reports[1][:-1]
    assert reports[1].root == chain.ledger.head.state_root


def test_a_root_that_members_certified_is_not_believed() -> None:
    """The blocks behind it follow from it, and hold; of them nothing is said. Both processes name the same block."""
    chain = made(lie_at=7)
    assert isinstance(chain.store, MemoryStore)
    beside = refused(chain, chain.store)
    assert beside.startswith("height 7: its header is not what execution gives, state root ")
    with pytest.raises(RefusedError) as refusal:
        verify_chain(chain.store, chain.genesis, chain.registry, jobs=0)
    assert refusal.value.message == beside


def test_the_first_fault_is_named_though_a_later_one_is_found_before_it() -> None:
    chain = made(lie_at=7)
    assert isinstance(chain.store, MemoryStore)
    chain.store.write({at_height(layout.RESULTS, 9): b"\x00"})
    assert refused(chain, chain.store).startswith("height 7: its header is not what execution gives")


def test_a_header_whose_root_was_changed_and_one_that_cannot_be_read() -> None:
    chain = made()
    assert isinstance(chain.store, MemoryStore)
    key = at_height(layout.HEADER, 5)
    header = chain.store.get(key)
    assert header is not None
    whole = Block(decode_header(header), b"")
    for bad in (encode_header(replace_root(whole).header), b"garbage", None):
        damaged = chain.store.copy()
        damaged.write({key: bad})
        message = refused(chain, damaged)
        assert message.startswith("height 5: its header is not what execution gives, state root ")
        assert message.endswith(whole.header.state_root.hex()[:16])


def test_a_changed_node_of_the_tree_is_found() -> None:
    chain = made()
    assert isinstance(chain.store, MemoryStore)
    key, value = next(chain.store.scan(layout.NODE, layout.after_prefix(layout.NODE)))
    for puts in ({key: value + b"x"}, {key: None}, {key + b"x": b"y"}):
        damaged = chain.store.copy()
        damaged.write(puts)
        assert "a node of the state tree differs from the replay's" in refused(chain, damaged)


def test_a_process_that_was_killed_says_nothing_of_the_chain() -> None:
    with TreeKeeper() as keeper:
        assert keeper._process.pid is not None
        os.kill(keeper._process.pid, signal.SIGKILL)
        with pytest.raises(NodeFault, match="machine"):
            keeper.settle()


def test_a_process_that_is_killed_at_the_end_or_among_the_signatures_ends_the_audit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In words: neither "verified", nor a word against the chain."""
    chain = made()
    nodes, start = TreeKeeper.nodes, Ahead._start

    def killed_before_its_nodes(keeper: TreeKeeper) -> Iterator[tuple[bytes, bytes]]:
        assert keeper._process.pid is not None
        os.kill(keeper._process.pid, signal.SIGKILL)
        keeper._process.join()
        with suppress(EOFError):
            while True:
                keeper._link.recv()  # what was on its way already
        return nodes(keeper)

    def killed_at_work(ahead: Ahead, group: Sequence[tuple[Known, Signature]]) -> None:
        start(ahead, group)
        assert ahead._pool is not None
        for process in list(ahead._pool._processes.values()):
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)

    for what, name, killed in ((TreeKeeper, "nodes", killed_before_its_nodes), (Ahead, "_start", killed_at_work)):
        with monkeypatch.context() as patch:
            patch.setattr(audit_ahead, "SIGNATURES_INLINE", 0)
            patch.setattr(what, name, killed)
            with pytest.raises(NodeFault, match="has ended"):
                verify_chain(chain.store, chain.genesis, chain.registry, jobs=1)
