"""The following core under every order of answers: blocks are executed in order, each once, and liars are found out."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import DivergenceFault
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.store import MemoryStore
from node.limits import FETCHED_AHEAD_BYTES, REQUESTS_PER_SOURCE, REQUESTS_UNDER_WAY
from node.model.block import MAX_BATCH_BYTES, encode_header
from node.model.certificate import encode_certificate
from node.model.keys import verify
from node.snapshot.fetch import Source
from node.snapshot.follow import MAX_ANSWER_BYTES, AskBlocks, Follow, RawBlock
from node.snapshot.offer import Trust
from tests.ledger.chains import Chain, certify
from tests.snapshot.harness import grown, state_of

HEAD = 140


@cache
def world() -> tuple[Chain, dict[int, RawBlock]]:
    """A chain, and its blocks as they travel."""
    chain = grown(HEAD)
    blocks = {}
    for height in range(1, HEAD + 1):
        block, certificate = chain.ledger.block(height), chain.ledger.certificate(height)
        assert block is not None and certificate is not None
        blocks[height] = RawBlock(encode_header(block.header), block.body, encode_certificate(certificate))
    return chain, blocks


def follower(*sources: Source) -> tuple[Ledger, MemoryStore, Follow]:
    chain = world()[0]
    store = MemoryStore()
    ledger = Ledger.open(store, chain.genesis, chain.registry)
    executor = Executor(ledger, chain.registry, chain.genesis)
    trust = Trust(chain.genesis.chain, (chain.genesis.epoch,), verify)
    return ledger, store, Follow(ledger, executor, lambda: trust, sources)


def answer(request: AskBlocks, data: st.DataObject) -> list[RawBlock] | str:
    """What a source of that kind sends."""
    blocks = world()[1]
    kind = request.source.rstrip("0123456789")
    honest = [blocks[height] for height in range(request.first, min(request.first + request.number, HEAD + 1))]
    if kind == "flaky":
        return honest if data.draw(st.booleans()) else "unreachable"
    if kind == "brief":
        return honest[: data.draw(st.integers(1, len(honest)))]
    if kind == "withholding":
        return []
    if kind == "body":
        return [block._replace(body=blocks[1].body) for block in honest]
    if kind == "shifted":
        return honest[1:] + honest[:1]
    if kind == "unsigned":
        return [block._replace(certificate=blocks[1].certificate) for block in honest]
    return honest


LIARS = ("withholding", "body", "shifted", "unsigned")
KINDS = ("honest", "flaky", "brief", *LIARS)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(KINDS), max_size=4), st.data())
def test_blocks_come_in_any_order_and_are_executed_once_in_theirs(others: list[str], data: st.DataObject) -> None:
    """Checklist 43 and 46: what comes early waits for its turn, and what was executed is not executed again."""
    chain = world()[0]
    names = [f"{kind}{number}" for number, kind in enumerate([*others, "honest"])]
    ledger, store, follow = follower(*[Source(name, head=HEAD) for name in names])
    waiting: list[AskBlocks] = []
    done = 0
    while not follow.is_done:
        waiting += follow.requests()
        live = [each for each in waiting if each.source in follow.sources]
        assert len(live) <= REQUESTS_UNDER_WAY
        assert all(sum(each.source == name for each in live) <= REQUESTS_PER_SOURCE for name in names)
        request = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
        found = answer(request, data)
        if isinstance(found, str):
            follow.failed(request, found, "")
        else:
            follow.blocks(request, found)
        while follow.apply():
            done += 1
    assert done == HEAD == ledger.head.height
    assert state_of(store) == state_of(chain.store)
    for name, verdict in follow.verdicts.items():
        kind = name.rstrip("0123456789")
        assert kind != "honest" and verdict.lied == (kind in LIARS)


def test_a_source_is_asked_only_for_what_it_has() -> None:
    _, _, follow = follower(Source("late", head=HEAD, base=100), Source("short", head=20))
    asked = follow.requests()
    assert asked and {request.source for request in asked if request.first <= 100} <= {"short"}
    assert all(request.first <= 20 for request in asked if request.source == "short")


def test_who_sends_more_at_once_than_any_node_serves_is_dropped() -> None:
    """Checklist 52: what waits to be checked is bounded, whoever sends it."""
    _, _, follow = follower(Source("fat", head=HEAD), Source("honest", head=HEAD))
    request = next(each for each in follow.requests() if each.source == "fat")
    follow.blocks(request, [RawBlock(b"", bytes(MAX_ANSWER_BYTES), b"x")])
    assert follow.verdicts["fat"].code == "oversize" and follow.verdicts["fat"].lied
    assert request.first in {each.first for each in follow.requests()}


def test_what_is_fetched_ahead_of_its_turn_is_bounded_in_bytes() -> None:
    """Checklist 52: a liar that withholds the next block and pours out the later ones fills no memory."""
    _, _, follow = follower(Source("liar", head=100_000), Source("silent", head=100_000))
    junk = RawBlock(b"", bytes(MAX_BATCH_BYTES), b"")
    poured, waiting = 0, follow.requests()
    first = next(each for each in waiting if each.first == 1)
    while answered := [each for each in waiting if each is not first]:
        for request in answered:
            follow.blocks(request, [junk])
            poured += junk.size
        waiting = follow.requests()
        assert poured < 2 * FETCHED_AHEAD_BYTES
    follow.failed(first, "unreachable", "")
    assert [each.first for each in follow.requests()] == [1], "what is next is asked for, however much waits"


def test_when_nobody_has_the_next_block_nothing_is_asked_and_it_is_not_done() -> None:
    _, _, follow = follower(Source("late", head=HEAD, base=100))
    assert {request.first > 100 for request in follow.requests()} <= {True}
    assert not follow.is_done and not follow.apply()


def test_a_machine_that_computes_something_else_stops() -> None:
    chain = Chain()
    execution = chain.execute(chain.tx(0, 1, "take"))
    header = execution.block.header
    other = type(header)(**{f: getattr(header, f) for f in header.__struct_fields__} | {"state_root": bytes(32)})
    forged = type(execution)(
        **{f: getattr(execution, f) for f in execution.__dataclass_fields__}
        | {"block": type(execution.block)(other, execution.block.body), "block_hash": other.hash}
    )
    raw = RawBlock(encode_header(other), execution.block.body, encode_certificate(certify(forged)))
    _, _, follow = follower(Source("honest", head=1))
    (request,) = follow.requests()
    follow.blocks(request, [raw])
    with pytest.raises(DivergenceFault, match="block 1 came out as"):
        follow.apply()
