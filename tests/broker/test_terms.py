"""What a broker knows of gates and tariffs is what the ledger pins, also when the rules change."""

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from broker.terms import TermsBook
from chaincode.market_products import Settings
from tests.chaincode.council import Council
from tests.chaincode.marketplace import SLOT_S, UTILITY, marketplace


def terms_of(council: Council) -> TermsBook:
    terms = TermsBook(cast("Any", council.rules()))
    return terms


def require_same(terms: TermsBook, council: Council) -> None:
    for slot, row in council.products().items():
        assert terms.of(slot) == (row[5], row[9], row[10])


def test_the_rules_of_a_slot_are_those_that_it_opened_under() -> None:
    council = Council()
    terms = terms_of(council)
    terms.apply(council.events)
    require_same(terms, council)
    assert terms.first_open(0) == 0 and terms.first_open(SLOT_S - 600) == 1
    told = len(council.events)
    council.change(gate_before_end_s=SLOT_S, tariffs=((0, 300, 40),))
    council.next_block(SLOT_S - 600)
    council.next_block(SLOT_S)
    terms.apply(council.events[told:])
    require_same(terms, council)
    assert terms.of(3) == (4 * SLOT_S - 600, 100, 20) and terms.of(4) == (4 * SLOT_S, 300, 40)
    assert terms.of(9)[1:] == (300, 40), "what is not open yet opens under the newest"
    terms.forget_before(4)
    assert terms.of(3) == (3 * SLOT_S, 300, 40)


def test_a_published_tariff_is_known_when_its_slot_opens() -> None:
    world = marketplace(allocated=0)
    terms = TermsBook(Settings(*cast("Any", world.query("market", "settings"))))
    world.call(UTILITY, "tariffs", "publish", from_slot=50, rows=((0, 90, 30),))
    while world.time < 48 * SLOT_S:
        world.next_block(world.time + SLOT_S)
    terms.apply(world.events)
    assert [terms.of(slot)[1:] for slot in (49, 50, 51)] == [(100, 20), (90, 30), (90, 30)]
    terms.forget_before(51)
    assert terms.of(50)[1:] == (100, 20) and terms.of(51)[1:] == (90, 30)


@given(st.integers(0, 3 * SLOT_S), st.sampled_from((0, 1, 600, SLOT_S, 3 * SLOT_S)))
def test_the_first_open_slot_is_the_first_before_its_gate(time: int, gate_s: int) -> None:
    council = Council(gate_before_end_s=gate_s)
    terms = terms_of(council)
    first = terms.first_open(time)
    assert terms.gate(first) > time and (first == 0 or terms.gate(first - 1) <= time)


def test_who_comes_later_knows_what_has_opened_before() -> None:
    """It asks for the products that there are, and follows from there."""
    council = Council()
    council.change(gate_before_end_s=SLOT_S, tariffs=((0, 300, 40),))
    council.next_block(SLOT_S - 600)
    told = len(council.events)
    late = terms_of(council)
    rows = council.products()
    late.seed([(slot, row[5], row[9], row[10]) for slot, row in rows.items()])
    council.next_block(SLOT_S)
    late.apply(council.events[told:])
    require_same(late, council)
    late.forget_before(max(rows))
    assert late.of(max(rows)) == (rows[max(rows)][5], rows[max(rows)][9], rows[max(rows)][10])
