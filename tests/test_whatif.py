"""Past blocks under changed rules: the same without a change, another outcome with one, and never believed blindly."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaincode.registry import default_registry
from cli.replay import _show, parties
from node.errors import RefusedError
from node.executor import Executor
from node.ledger.chain import Ledger
from node.ledger.store import MemoryStore
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.tally import Comparison, Traded
from node.whatif import Change, GridLines, Outcome, WhatIf
from tests.chaincode.market_chain import KEYS, MarketChain, day, genesis
from tests.chaincode.marketplace import FEED_IN, RETAIL, SLOT_S
from tests.ledger.test_store import no_room

NOTHING = Change((), (), None)


@pytest.fixture(scope="module")
def chain() -> Ledger:
    """A day of orders and readings, and hours after it in which all is settled."""
    made = MarketChain()
    batches = day(made, 3, blocks=60)
    last = batches[-1][0]
    batches += [(last + step * 300, []) for step in range(1, 8 * SLOT_S // 300)]
    for time, transactions in batches:
        made.commit(made.execute(time, transactions))
    return made.ledger


@contextmanager
def whatif(ledger: Ledger, first: int, last: int, change: Change, directory: Path) -> Iterator[WhatIf]:
    run = WhatIf(genesis(), default_registry(), first, last, change, directory)
    try:
        yield run
    finally:
        run.close()


def outcome(ledger: Ledger, first: int, change: Change, directory: Path, last: int | None = None) -> Outcome:
    end = ledger.head.height if last is None else last
    with whatif(ledger, first, end, change, directory) as run:
        for height in range(1, end + 1):
            run.feed(*block(ledger, height))
        return run.outcome()


def block(ledger: Ledger, height: int) -> tuple[bytes, bytes, bytes]:
    found, certificate = ledger.block(height), ledger.certificate(height)
    assert found is not None and certificate is not None
    return encode_header(found.header), found.body, encode_certificate(certificate)


def test_no_room_for_two_states(chain: Ledger, tmp_path: Path) -> None:
    """That of the copy fails in many files at once, of which the machine's own words are a long list."""
    with whatif(chain, 1, 5, NOTHING, tmp_path) as run, no_room(20), pytest.raises(RefusedError) as refusal:
        run.feed(*block(chain, 1))
    assert refusal.value.code == "cannot-write"
    assert refusal.value.message == f"{tmp_path / 'changed'}: File too large; TMPDIR says where else there is room"


@pytest.mark.parametrize("first", [1, 20])
def test_without_a_change_nothing_differs(chain: Ledger, first: int, tmp_path: Path) -> None:
    """The copy goes through the very same states: also where a block's order hangs on the hash of the one before."""
    with whatif(chain, first, chain.head.height, NOTHING, tmp_path) as run:
        for height in range(1, chain.head.height + 1):
            run.feed(*block(chain, height))
        changed = run._changed
        assert changed is not None and changed.ledger.head.state_root == chain.head.state_root
        assert changed.ledger.head.receipts_root == chain.head.receipts_root
        found = run.outcome().comparison
    assert found.slots > 5 and found.only == (0, 0)
    assert found.traded[0] == found.traded[1] and found.traded[0].energy_wh > 0
    assert all(was == would for was, would in found.networks.values()) and len(found.networks) == 3
    assert all(was == would for was, would in found.refused.values()) and found.transactions > 100


def test_the_sums_are_those_of_the_bills(chain: Ledger, tmp_path: Path) -> None:
    """What is counted from blocks is what the ledger says in the end."""
    executor = Executor(chain, default_registry(), genesis())
    found = outcome(chain, 1, NOTHING, tmp_path).comparison
    for network, (was, _) in found.networks.items():
        bill: Any = executor.query("settlement", "bill", {"network": network, "first_slot": 0, "last_slot": 100})
        assert bill[1] == was.cost()
        assert bill[3:] == tuple(was)
    costs = [sum(sums[run].cost() for sums in found.networks.values()) for run in (0, 1)]
    received = parties(found)
    assert costs == [sum(both[run] for both in received.values()) for run in (0, 1)], "what is paid is received"


def test_from_block_1_on_all_products_open_under_the_changed_rules(chain: Ledger, tmp_path: Path) -> None:
    found = outcome(chain, 1, Change((("gate_before_end_s", SLOT_S),), (), None), tmp_path)
    assert found.kept == 0 and found.opened > 10 and found.blocks == chain.head.height
    assert found.comparison.traded[0] != found.comparison.traded[1]
    refused = found.comparison.refused["market.place", "closed-product"]
    assert refused[1] > refused[0], "orders that were good then come too late"
    sums = [sum(network[run].cost() for network in found.comparison.networks.values()) for run in (0, 1)]
    assert sums[0] != sums[1]


def test_later_on_open_products_keep_their_terms(chain: Ledger, tmp_path: Path) -> None:
    first = 10
    found = outcome(chain, first, Change((("gate_before_end_s", SLOT_S),), (), None), tmp_path)
    assert found.kept == 4 and found.opened > 0
    early = outcome(chain, first, Change((("gate_before_end_s", SLOT_S),), (), None), tmp_path / "early", last=first)
    assert early.comparison.slots == 0 and early.opened == 0


def test_other_tolls_change_who_trades_with_whom(chain: Ledger, tmp_path: Path) -> None:
    def dearer(old: GridLines) -> GridLines:
        root, rate, lines = old
        return root, rate, tuple((*line[:3], 70, *line[4:]) for line in lines)

    def closed(old: GridLines) -> GridLines:
        root, rate, lines = old
        return root, rate, tuple((*line[:4], 0, 0) for line in lines)

    toll = outcome(chain, 1, Change((), (), dearer), tmp_path).comparison
    assert toll.traded[1].energy_wh < toll.traded[0].energy_wh
    limit = outcome(chain, 1, Change((), (), closed), tmp_path / "closed").comparison
    assert limit.traded[1].tolls == 0 < limit.traded[0].tolls


def test_tariffs_change_bills(chain: Ledger, tmp_path: Path) -> None:
    found = outcome(chain, 1, Change((), ((0, 200, 20),), None), tmp_path).comparison
    for was, would in found.networks.values():
        assert (was.retail, would.retail) == (was.retail_wh * RETAIL, would.retail_wh * 200)
        assert (was.feed_in, would.feed_in) == (was.feed_in_wh * FEED_IN, would.feed_in_wh * FEED_IN)
    assert sum(was.retail_wh for was, _ in found.networks.values()) > 0


def test_what_was_voted_on_comes_into_force_beside_what_is_changed(tmp_path: Path) -> None:
    """A tick voted on in block 2, in force from block 40 on; what if the gate had been earlier from block 20 on?"""
    made = MarketChain()
    admin = KEYS["admin"].public_key.hex()
    governance = {"admins": [[member.name, admin] for member in genesis().members]}
    document = msgspec.structs.replace(genesis(), contracts={**genesis().contracts, "governance": governance})
    made.chain = document.chain
    made.ledger = Ledger.open(MemoryStore(), document, default_registry())
    made.executor = Executor(made.ledger, default_registry(), document)
    vote = {"first_height": 40, "settings": [["tick_s", 60]], "tariffs": []}
    made.commit(made.execute(0, [made.tx("admin", "rules", "propose", **vote)]))
    for time in range(300, 60 * 300, 300):
        made.commit(made.execute(time, []))
    change = Change((("gate_before_end_s", 900),), (), None)
    run = WhatIf(document, default_registry(), 20, made.ledger.head.height, change, tmp_path)
    for height in range(1, made.ledger.head.height + 1):
        run.feed(*block(made.ledger, height))
    assert run._changed is not None
    rules: Any = run._changed.executor.query("rules", "history", {})
    run.close()
    assert [(row[1], row[3], row[4][2], row[4][3]) for row in rules] == [
        (0, None, 600, 5), (20, None, 900, 5), (40, 0, 900, 60),
    ]  # fmt: skip


def test_published_tariffs_hold_in_both_runs_within_what_is_voted(tmp_path: Path) -> None:
    """Retail 80 published where 100 was voted; what if 60 had been voted, with a feed-in of 30, before it began?"""
    made = MarketChain()
    slot = 50
    made.commit(made.execute(0, [made.tx("utility", "tariffs", "publish", from_slot=slot, rows=[[0, 80, FEED_IN]])]))
    for time in range(SLOT_S, slot * SLOT_S, SLOT_S):
        made.commit(made.execute(time, []))
    run = WhatIf(genesis(), default_registry(), 20, made.ledger.head.height, Change((), ((0, 60, 30),), None), tmp_path)
    for height in range(1, made.ledger.head.height + 1):
        run.feed(*block(made.ledger, height))
    assert run._changed is not None
    pinned: list[Any] = [each.executor.query("market", "product", {"slot": slot}) for each in (run._real, run._changed)]
    run.close()
    assert [product[9:11] for product in pinned] == [(80, FEED_IN), (60, 30)]


def test_a_change_that_the_rules_refuse_is_refused(chain: Ledger, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="bad-settings"):
        outcome(chain, 1, Change((("tick_s", -1),), (), None), tmp_path)


@pytest.mark.parametrize("first, last", [(0, 5), (3, 2), (-1, 5)])
def test_a_range_begins_at_block_1(chain: Ledger, first: int, last: int, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="bad-range"):
        WhatIf(genesis(), default_registry(), first, last, NOTHING, tmp_path)


def test_blocks_that_nobody_certified_are_refused(chain: Ledger, tmp_path: Path) -> None:
    first, second = block(chain, 1), block(chain, 2)
    forged = {
        "header": (second[0], first[1], first[2]),
        "body": (first[0], second[1], first[2]),
        "rubbish": (first[0], b"\xc1", first[2]),
        "certificate": (first[0], first[1], second[2]),
        "no-certificate": (first[0], first[1], b""),
    }
    for name, parts in forged.items():
        with whatif(chain, 1, 5, NOTHING, tmp_path / name) as run, pytest.raises(RefusedError, match="bad-chain"):
            run.feed(*parts)


def test_rent_that_would_come_back_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """It is no part of what energy cost, and limits are voted on for its sake."""
    same = Comparison(0, (0, 0), (Traded(), Traded()), {}, {}, {}, 0, (0, 0))
    for rent, told in (({}, False), ({"home-1": (5_000_000, 2_000_000), "home-2": (0, 1_000_000)}, True)):
        _show(Outcome(1, 9, 9, 0, 0, same._replace(rent=rent)), (), 6)
        shown = capsys.readouterr().out
        assert ("rent that came back" in shown) == told
    assert shown.index("home-1") < shown.index("home-2") and "-3.000" in shown
