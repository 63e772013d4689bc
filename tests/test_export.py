"""Exported files: what is in them is believed only as far as the genesis document proves it."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from functools import cache, partial
from hashlib import sha256
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import pruned
from chaincode.contract import ContractError
from chaincode.governance import ADD
from chaincode.keys import uint
from chaincode.registry import default_registry
from cli.answers import Reader
from cli.verify import Outcome, verify_products
from node import export
from node.audit import verify_chain
from node.errors import RefusedError
from node.executor import Executor
from node.export import MAGIC, About, Exporter, Import
from node.ledger.chain import Ledger
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.codec import Value, encode
from node.model.epoch import encode_boundary
from node.model.genesis import Genesis
from tests.chaincode.market_chain import MarketChain, day
from tests.chaincode.marketplace import SLOT_S
from tests.ledger.epoch_chains import EpochChain, joining

REFUSED = {"bad-export", "bad-proof", "bad-epochs", "wrong-chain", "not-in-export"}


def recorded(executor: Executor, ledger: Ledger, exporter: Exporter) -> Reader:
    """Answers of a ledger, written to a file as they are given."""
    boundaries = [encode_boundary(boundary) for boundary in ledger.boundaries()]

    async def read(contract: str, method: str, args: Mapping[str, Any]) -> Value:
        _, reads = executor.query_proven(contract, method, args)
        assert ledger.head_certificate is not None
        header, certificate = encode_header(ledger.head), encode_certificate(ledger.head_certificate)
        exporter.answer((contract, method, args), header, certificate, reads, boundaries)
        return executor.query(contract, method, args)

    return read


async def outcomes(read: Reader, slot: int | None) -> list[Outcome]:
    return [outcome async for outcome in verify_products(read, slot)]


def exported(chain: MarketChain, slot: int | None = None) -> tuple[bytes, list[Outcome]]:
    """The file of one product or of all, and what checking it found on the way."""
    file = BytesIO()
    exporter = Exporter(file, About(chain.chain, slot is None, slot or 0))
    found = asyncio.run(outcomes(recorded(chain.executor, chain.ledger, exporter), slot))
    exporter.close()
    assert exporter.size == len(file.getvalue())
    return file.getvalue(), found


def imported(data: bytes, genesis: Genesis, slot: int | None = None) -> list[Outcome]:
    """What an exported file says, read as by ``watt market verify --file``."""

    async def use() -> list[Outcome]:
        read = Import(BytesIO(data), genesis, default_registry())
        found = await outcomes(read, read.about.slot if slot is None and not read.about.is_all else slot)
        read.finish()
        return found

    return asyncio.run(use())


@cache
def market_day() -> tuple[MarketChain, bytes, list[Outcome]]:
    """A day on a street, and the file of all its products."""
    chain = MarketChain()
    for time, transactions in day(chain, 7):
        chain.commit(chain.execute(time, transactions))
    return chain, *exported(chain)


def frames(data: bytes) -> list[tuple[int, int]]:
    """Where each frame begins and ends."""
    found, at = [], len(MAGIC)
    while at < len(data):
        end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
        found.append((at, end))
        at = end
    return found


def resealed(data: bytes) -> bytes:
    """A changed file whose end fits it again, as a liar would write it."""
    body = data[: frames(data)[-1][0]]
    return body + b"Z" + (32).to_bytes(4, "big") + sha256(body).digest()


def code_of(work: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as refused:
        work()
    return refused.value.code


def test_a_file_says_what_the_ledger_says() -> None:
    chain, data, found = market_day()
    assert sum(outcome.checked.auctions for outcome in found) > 10
    assert sum(outcome.checked.trades for outcome in found) > 10 and not any(outcome.faults for outcome in found)
    assert imported(data, chain.genesis) == found
    busiest = max(found, key=lambda outcome: outcome.checked.trades)
    alone, of_one = exported(chain, busiest.slot)
    assert of_one == [busiest] and len(alone) < len(data)
    assert imported(alone, chain.genesis) == [busiest]
    assert imported(data, chain.genesis, busiest.slot) == [busiest]
    assert code_of(lambda: imported(alone, chain.genesis, busiest.slot + 1)) == "not-in-export"


def test_another_chain_is_refused() -> None:
    _, data, _ = market_day()
    assert code_of(lambda: imported(data, MarketChain(tick_s=6).genesis)) == "wrong-chain"


@settings(max_examples=150, deadline=None, database=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), reseal=st.booleans())
def test_a_bit_that_is_changed_is_noticed(place: float, bit: int, reseal: bool) -> None:
    """Whoever changes anything is refused; a liar who makes the end fit too can at most leave the truth as it is."""
    chain, data, found = market_day()
    at = int(place * len(data))
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    assert code_of(lambda: imported(bytes(changed), chain.genesis)) in REFUSED
    if reseal and at >= len(MAGIC):
        try:
            assert imported(resealed(bytes(changed)), chain.genesis) == found
        except (RefusedError, ContractError) as error:
            assert error.code in REFUSED


def test_every_kind_of_frame_is_proven() -> None:
    chain, data, _ = market_day()
    codes = {}
    for start, end in frames(data)[:-1]:
        if (kind := data[start : start + 1]) in codes or end - start < 7:
            continue
        changed = bytearray(data)
        changed[end - 1] ^= 1
        try:
            imported(resealed(bytes(changed)), chain.genesis)
        except RefusedError as error:
            codes[kind] = error.code
    assert codes.keys() >= {b"C", b"N", b"E"} and codes[b"N"] == codes[b"E"] == codes[b"C"] == "bad-proof"


def test_a_file_that_is_cut_or_goes_on_is_refused() -> None:
    chain, data, _ = market_day()
    places = [start for start, _ in frames(data)]
    for end in [0, 5, *places[:20], *places[-3:], len(data) - 1]:
        assert code_of(partial(imported, data[:end], chain.genesis)) == "bad-export"
    assert code_of(lambda: imported(data + b"\0", chain.genesis)) == "bad-export"
    assert code_of(lambda: imported(data[: places[2]] + data[places[3] :], chain.genesis)) in REFUSED


def test_few_nodes_at_hand_make_a_longer_file_and_no_other_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    chain, data, found = market_day()
    for few in (1, 3, 20):
        monkeypatch.setattr(export, "NODES_AT_HAND", few)
        longer, _ = exported(chain)
        assert len(longer) > len(data)
        assert imported(longer, chain.genesis) == found


def test_members_that_change_are_proven_on_the_way() -> None:
    chain = EpochChain()
    first = chain.decide(ADD, "eve", "ada", "bob", "cyd", **joining("eve"))
    chain.grow_to(first + 1)
    assert len(chain.ledger.boundaries()) == 1
    file = BytesIO()
    exporter = Exporter(file, About(chain.genesis.chain, False, 0))
    read = recorded(chain.executor, chain.ledger, exporter)
    asked: tuple[str, str, dict[str, Any]] = ("governance", "epochs", {})
    answer = asyncio.run(_ask(read, *asked))
    exporter.close()
    again = Import(BytesIO(file.getvalue()), chain.genesis, chain.registry)
    assert asyncio.run(_ask(again, *asked)) == answer
    again.finish()


async def _ask(read: Reader, contract: str, method: str, args: Mapping[str, Any]) -> Value:
    return await read(contract, method, args)


def test_what_is_left_of_deleted_details_cannot_be_tried() -> None:
    """Checklist 4. Anybody is told the digests. Of what homes used in a slot there are few possibilities, and whoever
    knows the others' has one home's left."""
    chain = MarketChain(retention_s=1_800)
    seen: dict[bytes, Any] = {}
    times = iter(day(chain, 7))
    while (step := next(times, None)) or chain.ledger.head.time < 10 * SLOT_S + 40_000:
        time, transactions = step or (max(chain.executor.next_event() or 0, chain.ledger.head.time), [])
        chain.commit(chain.execute(time, transactions))
        for table in ("settled", "position"):
            seen |= chain.ledger.state.scan(f"{table}/".encode(), f"{table}0".encode())
    tried = 0
    for slot in range(8):
        parts: Any = chain.executor.query("market", "pruned", {"slot": slot})
        for name, count, digest in parts or ():
            of_kind = str(name).encode() + b"/"
            rows = [row for row in seen.items() if row[0].startswith(of_kind) and row[0][-8:] == uint(slot)]
            if rows and len(rows) == count:
                tried += 1
                for order in itertools.permutations(rows):
                    guess = pruned.NO_ENTRIES
                    for key, value in order:
                        guess = pruned.chained(guess, key, encode(value))
                    assert guess != digest
    assert tried >= 8


def test_what_was_exported_is_proven_by_what_the_chain_keeps_of_it() -> None:
    """After the details are gone, the file still fits the digests in the state, and its own old certificate."""
    chain = MarketChain(retention_s=1_800)
    for time, transactions in day(chain, 7):
        chain.commit(chain.execute(time, transactions))
    data, _ = exported(chain)
    while (due := chain.executor.next_event()) is not None and chain.ledger.head.time < 10 * SLOT_S + 40_000:
        chain.commit(chain.execute(max(due, chain.ledger.head.time), []))
    compared = 0
    for outcome in imported(data, chain.genesis):
        parts = chain.executor.query("market", "pruned", {"slot": outcome.slot})
        kept = {row[0]: tuple(row) for row in parts or ()}  # type: ignore[union-attr, index, arg-type]
        for part in outcome.details:
            if kept:
                compared += 1
                assert kept[part.name] == tuple(part)
    assert compared >= 9
    assert verify_chain(chain.store, chain.genesis, default_registry()).root == chain.ledger.head.state_root
    _, after = exported(chain)
    assert any(outcome.checked.pruned for outcome in after) and not any(outcome.faults for outcome in after)
    assert imported(exported(chain)[0], chain.genesis) == after
