"""The fetching core under every order of answers: it ends with the certified state as long as one source is honest."""

from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.ledger.store import MemoryStore
from node.limits import REQUESTS_PER_SOURCE, REQUESTS_UNDER_WAY
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.keys import verify
from node.snapshot.chunks import listed, packed, tops
from node.snapshot.fetch import AskChunk, AskList, Fetch, Listing, Stage
from node.snapshot.load import load
from node.snapshot.offer import Offer, Target, Trust
from tests.ledger.chains import Chain
from tests.snapshot.harness import grown, state_of

HEIGHTS = (9, 20)
DEPTHS = (1, 2)


@cache
def world() -> tuple[Chain, dict[tuple[int, int], Offer], dict[tuple[int, int, str], bytes]]:
    """A chain, and its snapshots by height and depth, and their chunks."""
    chain = Chain()
    offers: dict[tuple[int, int], Offer] = {}
    chunks: dict[tuple[int, int, str], bytes] = {}
    for height in HEIGHTS:
        grown(height - chain.ledger.head.height, chain)
        certificate = chain.ledger.head_certificate
        assert certificate is not None
        for depth in DEPTHS:
            upper = chain.ledger.tree.upper(depth)
            proof = (encode_header(chain.ledger.head), encode_certificate(certificate))
            offers[height, depth] = Offer(*proof, depth, listed(upper))
            for prefix in tops(upper, depth):
                entries = [(key[1:], value) for key, value in state_of(chain.store)]
                data = [packed(*each) for each in entries if sha256(each[0]).hexdigest().startswith(prefix)]
                chunks[height, depth, prefix] = b"".join(data)
    return chain, offers, chunks


class Memory:
    """A sink in memory; ``limit``: how much it may be handed that does not belong there."""

    def __init__(self, target: Target | None = None, chunks: dict[str, bytes] | None = None) -> None:
        self.target = target
        self.chunks = chunks or {}

    def begin(self, target: Target) -> set[str]:
        if self.target is None or target.name != self.target.name:
            self.chunks = {}
        self.target = target
        return set(self.chunks)

    def put(self, prefix: str, data: bytes) -> None:
        assert prefix not in self.chunks
        self.chunks[prefix] = data


class Answers:
    """What each kind of source answers. Sources are named by their kind and a number."""

    def __init__(self, chain: Chain, draw: st.DataObject) -> None:
        self._chain = chain
        self._draw = draw

    def listing(self, source: str) -> Listing | None:
        kind = source.rstrip("0123456789")
        head, certificate = self._chain.ledger.head, self._chain.ledger.head_certificate
        assert certificate is not None
        _, offers, _ = world()
        depth = self._draw.draw(st.sampled_from(DEPTHS)) if kind in ("honest", "corrupt") else 1
        heights = HEIGHTS if kind != "old" else HEIGHTS[:1]
        chosen = [offers[height, depth] for height in heights]
        if kind == "forging":
            chosen = [chosen[0]._replace(header=chosen[1].header)]
        if kind == "gone":
            return None
        proof = (encode_header(head), encode_certificate(certificate))
        return Listing(self._chain.genesis.chain, 0, *proof, (), () if kind == "empty" else tuple(chosen))

    def chunk(self, request: AskChunk) -> bytes | str:
        kind = request.source.rstrip("0123456789")
        data = world()[2][request.height, request.depth, request.prefix]
        if kind == "honest":
            return data
        if kind == "corrupt":
            return data[:-1] + bytes([data[-1] ^ 1])
        if kind == "retired":
            return "no-snapshot"
        return data if self._draw.draw(st.booleans()) else "unreachable"


KINDS = ("honest", "corrupt", "forging", "gone", "empty", "old", "retired", "flaky")


def run(kinds: list[str], draw: st.DataObject, sink: Memory) -> Fetch:
    """Let answers come in an arbitrary order until nothing is asked any more."""
    chain = world()[0]
    trust = Trust(chain.genesis.chain, (chain.genesis.epoch,), verify)
    names = [f"{kind}{number}" for number, kind in enumerate(kinds)]
    fetch = Fetch(names, lambda source, listing: trust, sink, None if sink.target is None else sink.target.name)
    answers = Answers(chain, draw)
    waiting: list[AskList | AskChunk] = []
    for _ in range(2_000):
        waiting += fetch.requests()
        chunks = [each for each in waiting if isinstance(each, AskChunk) and each.source in fetch.sources]
        assert len(chunks) <= REQUESTS_UNDER_WAY
        if not waiting:
            return fetch
        request = waiting.pop(draw.draw(st.integers(0, len(waiting) - 1)))
        if isinstance(request, AskList):
            listing = answers.listing(request.source)
            if listing is None:
                fetch.failed(request, "unreachable", "does not answer")
            else:
                fetch.listed(request, listing)
        else:
            assert sum(each.source == request.source for each in chunks) <= REQUESTS_PER_SOURCE
            data = answers.chunk(request)
            if isinstance(data, str):
                fetch.failed(request, data, "refused")
            else:
                fetch.chunk(request, data)
    raise AssertionError("it never ends")


def honest_end(fetch: Fetch, sink: Memory) -> None:
    """What was fetched is the state that the members have certified."""
    chain = world()[0]
    assert fetch.stage is Stage.COMPLETE and sink.target is not None
    assert sink.chunks.keys() == sink.target.tops.keys()
    store = MemoryStore()
    load(store, chain.genesis, sink.target, (), lambda prefix: sink.chunks[prefix])


@settings(deadline=None)
@given(st.lists(st.sampled_from(KINDS), max_size=5), st.integers(0, 5), st.data())
def test_one_honest_source_is_enough(others: list[str], at: int, data: st.DataObject) -> None:
    """Checklist 40: whatever the others send, withhold or claim, in whichever order it comes."""
    sink = Memory()
    fetch = run([*others[:at], "honest", *others[at:]], data, sink)
    honest_end(fetch, sink)
    for source, verdict in fetch.verdicts.items():
        kind = source.rstrip("0123456789")
        assert kind != "honest"
        assert verdict.lied == (kind in ("corrupt", "forging"))


@settings(deadline=None)
@given(st.lists(st.sampled_from(("corrupt", "forging", "gone", "empty", "retired")), min_size=1, max_size=4), st.data())
def test_without_an_honest_source_it_ends_and_says_why(kinds: list[str], data: st.DataObject) -> None:
    sink = Memory()
    fetch = run(kinds, data, sink)
    left = {"empty", "retired"} & set(kinds)
    assert fetch.stage is (Stage.NOTHING if left else Stage.NO_SOURCE)
    assert len(fetch.verdicts) == sum(kind not in left for kind in kinds)
    assert not sink.chunks


@pytest.mark.parametrize(("kinds", "height"), [(("old", "old", "flaky"), 0), (("old", "flaky", "flaky"), 1)])
def test_what_one_source_alone_has_is_not_preferred(kinds: tuple[str, ...], height: int) -> None:
    """It may be slow on purpose: what several have is had from any of them, though it is older."""
    chain, offers, _ = world()
    head, certificate = encode_header(chain.ledger.head), chain.ledger.head_certificate
    assert certificate is not None
    trust = Trust(chain.genesis.chain, (chain.genesis.epoch,), verify)
    fetch = Fetch([f"{kind}{number}" for number, kind in enumerate(kinds)], lambda source, listing: trust, Memory())
    for request in fetch.requests():
        assert isinstance(request, AskList)
        had = [offers[each, 1] for each in (HEIGHTS[:1] if request.source.startswith("old") else HEIGHTS)]
        fetch.listed(request, Listing(chain.genesis.chain, 0, head, encode_certificate(certificate), (), tuple(had)))
    assert fetch.target is not None and fetch.target.height == HEIGHTS[height]


@settings(deadline=None)
@given(st.data())
def test_what_an_earlier_attempt_has_kept_is_not_asked_again(data: st.DataObject) -> None:
    first = Memory()
    run(["honest"], data, first)
    assert first.target is not None
    kept = dict(list(first.chunks.items())[: data.draw(st.integers(0, len(first.chunks)))])
    missing = first.chunks.keys() - kept
    second = Memory(first.target, dict(kept))
    fetch = run(["honest", "honest", "old"], data, second)
    honest_end(fetch, second)
    if fetch.target is not None and fetch.target.name == first.target.name:
        assert second.chunks.keys() - kept.keys() == missing
