"""The utility's published tariffs: noticed a day ahead, within the voted ones, pinned by products, cut by votes."""

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import market_products, market_rules, tariffs
from chaincode.contract import ContractError
from chaincode.market_products import DAY_S, Settings
from chaincode.tariffs import MAX_VERSIONS, Rows
from tests.chaincode.marketplace import FEED_IN, RETAIL, SLOT_S, UTILITY, key_of, marketplace, order, refusal
from tests.chaincode.world import World

DAY_SLOTS = DAY_S // SLOT_S
VOTED: Rows = ((0, RETAIL, FEED_IN),)
EVENING: Rows = ((0, 80, 20), (17 * 3_600, 100, 40), (21 * 3_600, 90, 30))


def publish(world: World, from_slot: int, rows: Rows) -> int:
    return cast("int", world.call(UTILITY, "tariffs", "publish", from_slot=from_slot, rows=rows))


def refused(world: World, from_slot: int, rows: Rows, key: bytes = UTILITY) -> tuple[str, tuple[int, ...]]:
    with pytest.raises(ContractError) as caught:
        world.call(key, "tariffs", "publish", from_slot=from_slot, rows=rows)
    return caught.value.code, caught.value.details


def tariff(world: World, slot: int) -> tuple[int, int]:
    return cast("tuple[int, int]", world.query("market", "tariff", slot=slot))


def go_to(world: World, slot: int) -> None:
    """Through block time, slot by slot."""
    while world.time < slot * SLOT_S:
        world.next_block(world.time + SLOT_S)


def vote(world: World, rows: Rows) -> None:
    with world.transaction() as ctx:
        market_rules.put_in_force(ctx, market_rules.merged(market_products.settings_of(ctx), (), rows), 0)


def test_a_published_tariff_holds_from_its_slot_and_products_pin_it() -> None:
    """Tariffs by time of use."""
    world = marketplace(periods=3)
    first = cast("int", world.query("tariffs", "earliest"))
    assert first == DAY_SLOTS
    assert publish(world, first, EVENING) == 0
    evening = first + 34  # 17:00
    assert [tariff(world, slot) for slot in (first - 1, first, evening, evening + 8)] == [
        (RETAIL, FEED_IN), (80, 20), (100, 40), (90, 30),
    ]  # fmt: skip
    go_to(world, evening)
    product = market_products.Product(*cast("Any", world.query("market", "product", slot=evening))[1:15])
    assert (product.retail, product.feed_in, product.internal) == (100, 40, 40)
    assert refusal(world, "home-1/load", "buy", slot=evening, price=39) == "bad-price"
    order(world, "home-1/load", "buy", slot=evening, price=40)
    told = {cast("tuple[int, int, int]", event.data) for event in world.events if event.topic == "tariff"}
    assert (evening, 100, 40) in told and (first, 80, 20) in told and not any(row[0] < first for row in told)
    # What comes later, by publication or vote, leaves open products alone.
    publish(world, cast("int", world.query("tariffs", "earliest")), ())
    vote(world, ((0, 60, 5),))
    assert tariff(world, evening) == (100, 40)


def test_a_day_of_notice_and_no_slot_that_has_opened() -> None:
    world = marketplace(allocated=0, open_before_s=2 * DAY_S)
    opened = 2 * DAY_SLOTS + 1
    assert refused(world, opened - 1, EVENING) == ("tariff-too-late", (opened,))
    assert refused(world, -1, EVENING)[0] == refused(world, 2**50, EVENING)[0] == "tariff-too-late"
    publish(world, opened, EVENING)
    world = marketplace(allocated=0)
    world.next_block(1)
    assert refused(world, DAY_SLOTS, EVENING) == ("tariff-too-late", (DAY_SLOTS + 1,))


@pytest.mark.parametrize(
    ("rows", "code", "details"),
    [
        (((0, 101, 20),), "tariff-out-of-bounds", (0, 100, 20)),
        (((0, 100, 19),), "tariff-out-of-bounds", (0, 100, 20)),
        (((0, 90, 20), (3_600, 61, 20)), "tariff-out-of-bounds", (36_000, 60, 20)),
        (((0, 90, 20), (3_600, 60, 20), (36_001, 70, 20)), "tariff-out-of-bounds", (37_800, 60, 20)),
        (((1, 50, 20),), "bad-settings", ()),
        (((0, 50, 51),), "bad-settings", ()),
        (((0, 50, 20), (0, 50, 20)), "bad-settings", ()),
        (((0, 50, 20), (DAY_S, 50, 20)), "bad-settings", ()),
        (((0, -1, -1),), "bad-settings", ()),
        (tuple((second, 50, 20) for second in range(97)), "bad-settings", ()),
        (((0, 2**60, 20),), "bad-settings", ()),
        ((), "no-change", ()),
    ],
)
def test_what_cannot_be_published(rows: Rows, code: str, details: tuple[int, ...]) -> None:
    world = marketplace(allocated=0, tariffs=((0, 100, 20), (36_000, 60, 20)))
    assert refused(world, DAY_SLOTS, rows) == (code, details)
    assert world.query("tariffs", "published") == ()
    assert refused(world, DAY_SLOTS, EVENING, key_of("club"))[0] == "not-allowed"


def test_a_later_word_is_in_the_place_of_all_from_its_slot_on() -> None:
    world = marketplace(allocated=0)
    for number, slot in enumerate((50, 60, 70)):
        assert publish(world, slot, ((0, 90 - number, 20),)) == number
    assert publish(world, 60, ()) == 3
    rows = cast("tuple[tuple[Any, ...], ...]", world.query("tariffs", "published"))
    assert rows == ((0, 50, 0, ((0, 90, 20),)), (3, 60, 0, ()))
    assert [tariff(world, slot)[0] for slot in (49, 50, 59, 60, 99)] == [100, 90, 90, 100, 100]
    assert refused(world, 61, ())[0] == "no-change"
    assert publish(world, 59, ((0, 90, 20),)) == 4  # the same tariff, but what was to come has gone


def test_versions_are_bounded_and_old_ones_forgotten() -> None:
    world = marketplace(allocated=0)
    for number in range(MAX_VERSIONS):
        publish(world, 50 + number, ((0, 99 - number, 20),))
    assert refused(world, 99, EVENING)[0] == "too-many"
    go_to(world, 60)
    kept = cast("tuple[tuple[Any, ...], ...]", world.query("tariffs", "published"))
    with world.transaction() as ctx:
        opening = market_products.next_to_open(ctx)
    assert kept[0][1] == opening == 64
    publish(world, 120, EVENING)
    with world.transaction() as ctx:
        left = [key for key, _ in ctx.scan(b"tariff/")]
    assert len(left) == 1 + MAX_VERSIONS - 14 + 1


def test_a_vote_that_leaves_a_published_tariff_outside_cuts_it() -> None:
    world = marketplace(allocated=0)
    publish(world, 50, ((0, 90, 30),))
    for voted, holds in (
        ((100, 20), (90, 30)), ((80, 20), (80, 30)), ((100, 40), (90, 40)), ((25, 20), (25, 25)),
        ((200, 95), (95, 95)),
    ):  # fmt: skip
        vote(world, ((0, *voted),))
        assert tariff(world, 50) == holds
    vote(world, VOTED)
    assert tariff(world, 50) == (90, 30)


prices = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (max(pair), min(pair)))


@given(published=prices, voted=prices)
def test_nobody_pays_more_or_gets_less_than_was_voted(published: tuple[int, int], voted: tuple[int, int]) -> None:
    retail, feed_in = tariffs.within(published, voted)
    assert voted[1] <= feed_in <= retail <= voted[0]
    if published[0] <= voted[0] and published[1] >= voted[1]:
        assert (retail, feed_in) == published


tables = st.lists(st.integers(1, DAY_S - 1), max_size=4, unique=True).flatmap(
    lambda seconds: st.lists(prices, min_size=len(seconds) + 1, max_size=len(seconds) + 1).map(
        lambda rows: tuple((at, *row) for at, row in zip((0, *sorted(seconds)), rows, strict=True))
    )
)


@given(voted=tables, rows=tables)
def test_bounds_hold_at_every_slot_of_the_day(voted: Rows, rows: Rows) -> None:
    genesis: Settings = market_products.checked({"tariffs": voted})
    own = genesis._replace(tariffs=rows)
    bad = [
        slot * SLOT_S
        for slot in range(DAY_SLOTS)
        if own.tariff(slot)[0] > genesis.tariff(slot)[0] or own.tariff(slot)[1] < genesis.tariff(slot)[1]
    ]
    world = marketplace(allocated=0, tariffs=voted)
    if bad:
        code, details = refused(world, DAY_SLOTS, rows)
        assert (code, details[0]) == ("tariff-out-of-bounds", bad[0])
    else:
        publish(world, DAY_SLOTS, rows)
        assert [tariff(world, DAY_SLOTS + slot) for slot in range(DAY_SLOTS)] == [
            own.tariff(slot) for slot in range(DAY_SLOTS)
        ]


steps = st.lists(
    st.tuples(st.sampled_from(("publish", "vote", "wait")), st.integers(0, 12), st.none() | prices),
    min_size=4,
    max_size=12,
)


@settings(max_examples=12, deadline=None)
@given(steps)
def test_each_product_has_what_was_last_said_for_its_slot_before_it_opened(
    plan: list[tuple[str, int, tuple[int, int] | None]],
) -> None:
    world = marketplace(allocated=0, tariffs=((0, 50, 0),))
    said: list[tuple[int, tuple[int, int] | None]] = []
    voted = (50, 0)
    expected: dict[int, tuple[int, int]] = {}

    def note_opened() -> None:
        for row in cast("tuple[Any, ...]", world.query("market", "products")):
            holds = next((pair for slot, pair in reversed(said) if slot <= row[0]), None)
            expected.setdefault(row[0], tariffs.within(holds, voted) if holds else voted)
            assert (row[9], row[10]) == expected[row[0]]

    note_opened()
    for what, ahead, pair in [*plan, ("wait", 60, None)]:
        if what == "vote" and pair is not None and pair != voted:
            vote(world, ((0, *pair),))
            voted = pair
        elif what == "publish":
            slot = cast("int", world.query("tariffs", "earliest")) + ahead
            try:
                publish(world, slot, ((0, *pair),) if pair else ())
            except ContractError as error:
                allowed = pair is None or (pair[0] <= voted[0] and pair[1] >= voted[1])
                assert error.code == ("no-change" if allowed else "tariff-out-of-bounds")
            else:
                assert pair is None or (pair[0] <= voted[0] and pair[1] >= voted[1])
                said = [*(each for each in said if each[0] < slot), (slot, pair)]
        for _ in range(ahead if what == "wait" else 0):
            world.next_block(world.time + SLOT_S)
            note_opened()
