"""A reader over several nodes: who does wrong is named, the next one is asked, and old news are refused."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from node.errors import RefusedError
from node.gateway import proven
from node.gateway.answers import Evidence, NodeInfo
from node.gateway.client import Client
from node.gateway.proven import KnownEpochs, ProvenReader
from node.light import LightChain
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.epoch import encode_boundary
from node.model.genesis import dump_genesis
from tests.ledger.epoch_chains import EpochChain, joining

Lie = Callable[[Evidence], Evidence]


def grown() -> EpochChain:
    chain = EpochChain()
    chain.grow_to(chain.decide("add", "eve", "ada", "bob", "cyd", **joining("eve")) + 1)
    return chain


CHAIN = grown()
OLD = EpochChain()
OLD.add()


class Nodes:
    """What a client sees of several nodes: each has a chain and may lie."""

    def __init__(self, *nodes: tuple[EpochChain, Lie | str | None]) -> None:
        self.nodes = nodes
        self.current = 0
        self.addresses = tuple(f"node-{index}:1" for index in range(len(nodes)))

    @property
    def address(self) -> str:
        return self.addresses[self.current]

    def turn_away(self) -> None:
        self.current = (self.current + 1) % len(self.nodes)

    async def node_info(self) -> NodeInfo:
        return cast("NodeInfo", type("Info", (), {"member": f"member-{self.current}"}))

    async def boundaries(self, first: int) -> tuple[bytes, ...]:
        chain, lie = self.nodes[self.current]
        if lie == "no boundaries":
            return ()
        return tuple(encode_boundary(boundary) for boundary in chain.ledger.boundaries(first))

    async def query_evidence(self, contract: str, method: str, args: Any) -> Evidence:
        chain, lie = self.nodes[self.current]
        if isinstance(lie, str) and lie != "no boundaries":
            raise RefusedError(lie, "so it says")
        ledger = chain.ledger
        _, reads = chain.executor.query_proven(contract, method, args or {})
        assert ledger.head_certificate is not None
        found = Evidence(encode_header(ledger.head), encode_certificate(ledger.head_certificate), reads)
        return lie(found) if callable(lie) else found


def truncated(found: Evidence) -> Evidence:
    return replace(found, reads=found.reads[:-1])


def forged(found: Evidence) -> Evidence:
    (key, _, proof), *others = found.reads
    return replace(found, reads=((key, b"\x07", proof), *others))


def unsigned(found: Evidence) -> Evidence:
    return replace(found, certificate=found.certificate[:-1] + b"\0")


def read(nodes: Nodes, light: LightChain | None = None, not_before: int | None = None) -> tuple[Any, list[str]]:
    """The answer of `governance.validators`, and which nodes were named with what."""
    told: list[str] = []
    known = KnownEpochs(cast("Client", nodes), CHAIN.genesis, light or fresh(), not_before)
    reader = ProvenReader(
        cast("Client", nodes), CHAIN.genesis, CHAIN.registry, None, known, lambda fault: told.append(str(fault))
    )
    return asyncio.run(reader("governance", "validators", {"epoch": 1})), told


def fresh() -> LightChain:
    return LightChain(dump_genesis(CHAIN.genesis))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proven, "STALE_PATIENCE_S", 0.0)


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (truncated, "truncating-node"),
        ("no boundaries", "truncating-node"),
        (forged, "lying-node"),
        (unsigned, "lying-node"),
        ("unknown-epoch", "lying-node"),
    ],
)
def test_who_does_wrong_is_named_and_the_next_one_asked(lie: Lie | str, code: str) -> None:
    truth, told = read(Nodes((CHAIN, None)))
    assert truth[0] == 1 and told == []
    answer, told = read(Nodes((CHAIN, lie), (CHAIN, None)))
    assert answer == truth and len(told) == 1
    assert told[0].startswith(f"{code}: node-0:1, which says it is member-0: ")
    with pytest.raises(RefusedError, match=rf"^{code}: node-0:1, ") as alone:
        read(Nodes((CHAIN, lie)))
    assert alone.value.code == code


@pytest.mark.parametrize("code", ["not-allowed", "sign-first", "no-block", "internal", "not-provable"])
def test_a_nodes_word_is_no_last_word(code: str) -> None:
    """Nobody is accused of it: there is no proof either way."""
    answer, told = read(Nodes((CHAIN, code), (CHAIN, code), (CHAIN, None)))
    assert answer[0] == 1 and told == []
    with pytest.raises(RefusedError, match=f"^{code}: "):
        read(Nodes((CHAIN, code), (CHAIN, code)))


def test_a_block_older_than_one_seen_is_stale() -> None:
    light = fresh()
    answer, told = read(Nodes((CHAIN, None)), light)
    assert light.newest is not None and light.newest.height == CHAIN.height
    again, told = read(Nodes((OLD, None), (CHAIN, None)), light)
    assert again == answer and len(told) == 1 and told[0].startswith("stale-node: node-0:1, ")
    with pytest.raises(RefusedError, match=r"^stale-node: "):
        read(Nodes((OLD, None)), light)


def test_a_block_older_than_is_accepted_is_stale() -> None:
    head = CHAIN.ledger.head
    assert read(Nodes((CHAIN, None)), None, head.time)[0][0] == 1
    with pytest.raises(RefusedError, match=r"^stale-node: .* older than is accepted"):
        read(Nodes((CHAIN, None)), None, head.time + 1)


def test_a_node_that_catches_up_in_time_is_not_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proven, "STALE_PATIENCE_S", 5.0)
    monkeypatch.setattr(proven, "_STALE_PAUSE_S", 0.01)
    light = fresh()
    read(Nodes((CHAIN, None)), light)
    behind = grown()
    asked = 0

    def catching_up(found: Evidence) -> Evidence:
        nonlocal asked
        asked += 1
        if asked > 3:
            return found
        block, certificate = behind.ledger.block(1), behind.ledger.certificate(1)
        assert block is not None and certificate is not None
        return Evidence(encode_header(block.header), encode_certificate(certificate), found.reads)

    answer, told = read(Nodes((CHAIN, catching_up)), light)
    assert answer[0] == 1 and told == [] and asked == 4


def test_what_the_rules_refuse_is_refused_at_once() -> None:
    """No other node is asked: it is proven."""
    nodes = Nodes((CHAIN, None), (CHAIN, forged))
    known = KnownEpochs(cast("Client", nodes), CHAIN.genesis)
    reader = ProvenReader(cast("Client", nodes), CHAIN.genesis, CHAIN.registry, known=known)
    with pytest.raises(RefusedError, match=r"^unknown-epoch: "):
        asyncio.run(reader("governance", "validators", {"epoch": 77}))
    assert nodes.current == 0
