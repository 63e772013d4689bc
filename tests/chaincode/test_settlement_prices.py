"""Prices outside of the exchange: tariffs by time of use, each slot at its own, and the internal price between them."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.market_products import Settings
from chaincode.settlement_lines import INTERNAL, Book, Line, Terms, lines_of, utility_only
from tests.chaincode.marketplace import SLOT_S, key_of
from tests.chaincode.test_settlement_money import entries, patient, settled_world
from tests.chaincode.test_settlement_rent import go_to

SUN = {"home-1/load": (1_000, 0), "home-2/pv": (0, 1_500), "home-2/load": (300, 0)}


@pytest.mark.parametrize("permille, price", [(0, 20), (500, 60), (1_000, 100)])
def test_the_internal_price_lies_where_the_setting_says(permille: int, price: int) -> None:
    world = settled_world(SUN, patient(internal_permille=permille))
    inside = [row for row in entries(world, "home-2") if row[1] == "internal"]
    assert inside == [
        ("home-2/load", "internal", 300, -300 * price, 0),
        ("home-2/pv", "internal", 300, 300 * price, 0),
    ]


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 1_000))
def test_the_internal_price_is_never_outside_the_tariffs(one: int, other: int, permille: int) -> None:
    feed_in, retail = sorted((one, other))
    rules = Settings(1_800, 0, 0, 0, 0, 0, 0, 1, permille, 0, 0, ((0, retail, feed_in),))
    assert feed_in <= rules.internal(retail, feed_in) <= retail
    assert rules._replace(internal_permille=0).internal(retail, feed_in) == feed_in
    assert rules._replace(internal_permille=1_000).internal(retail, feed_in) == retail


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xy"), st.integers(0, 900), st.integers(0, 900)),
             unique_by=lambda row: row[0]),
    st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(0, 1_000)),
)  # fmt: skip
def test_lines_sum_to_zero_and_nobody_fares_worse_than_with_the_utility(
    rows: list[tuple[str, str, int, int]], prices: tuple[int, int, int]
) -> None:
    feed_in, retail = sorted(prices[:2])
    terms = Terms(retail, feed_in, feed_in + (retail - feed_in) * prices[2] // 1_000)
    books = [Book(device, bus, None, imported, exported, False, b"") for device, bus, imported, exported in rows]
    lines = lines_of(books, terms)
    assert sum(line.amount for line in lines if line.reason == INTERNAL) == 0
    assert -sum(line.amount for line in lines) == utility_only(books, terms)
    for book in books:
        wh = book.deviation_wh()
        alone = -wh * (retail if wh > 0 else feed_in)
        assert sum(line.amount for line in lines if line.device == book.device) >= alone
    assert lines_of(books[::-1], terms) == lines, "whatever order the devices come in"
    assert all(isinstance(line, Line) and line.energy_wh > 0 for line in lines)


def test_each_slot_of_a_day_is_settled_at_its_own_tariff() -> None:
    """Three tariffs, one of them from within a slot: that slot is at what was in force when it began."""
    tariffs = ((0, 100, 20), (2 * SLOT_S, 300, 40), (4 * SLOT_S + 600, 70, 0))
    world = patient(tariffs=tariffs, internal_permille=500)
    for slot in range(6):
        go_to(world, (slot + 1) * SLOT_S)
        for device, wh in (("home-1/load", (100, 0)), ("home-2/pv", (0, 100)), ("home-2/load", (40, 0))):
            registers = {"import_register": wh[0] * (slot + 1), "export_register": wh[1] * (slot + 1)}
            args = {"device": device, "slot": slot, "import_wh": wh[0], "export_wh": wh[1], **registers}
            world.call(key_of(f"meter {device}"), "settlement", "report", **args)
    go_to(world, 7 * SLOT_S)
    expected = [(100, 20), (100, 20), (300, 40), (300, 40), (300, 40), (70, 0)]
    for slot, (retail, feed_in) in enumerate(expected):
        assert world.query("market", "tariff", slot=slot) == (retail, feed_in)
        rows: dict[tuple[str, str], int] = {}
        for home in ("home-1", "home-2"):
            answer = cast("Any", world.query("settlement", "settled", network=home, slot=slot))
            rows |= {(row[0], row[2]): row[4] for row in answer[1]}
        assert rows == {
            ("home-1/load", "retail"): -100 * retail,
            ("home-2/load", "internal"): -40 * ((retail + feed_in) // 2),
            ("home-2/pv", "internal"): 40 * ((retail + feed_in) // 2),
            ("home-2/pv", "feed-in"): 60 * feed_in,
        }
    bill = cast("Any", world.query("settlement", "bill", network="home-1", first_slot=0, last_slot=5))
    assert bill[1] == bill[2] == 100 * sum(retail for retail, _ in expected)
    assert bill == cast("Any", world.query("settlement", "bill_of_period", network="home-1", period=0))[:3] + bill[3:]


def test_inside_a_network_energy_may_cost_nothing() -> None:
    world = settled_world(SUN, patient(tariffs=((0, 100, 0),)))
    sums = cast("Any", world.query("settlement", "settled", network="home-2", slot=1))[0]
    assert sums[6:8] == (300, 0), "what one pays the other receives: counted once"
