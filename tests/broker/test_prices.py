"""What a broker expects to pay: nothing seen, much seen, and days that differ."""

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.prices import PriceBook

RETAIL, FEED_IN = 220_000, 80_000
MONDAY = 4 * 24
"""The epoch was a Thursday; slots are hours."""


def tomorrow(book: PriceBook, slot: int) -> tuple[int, int]:
    """What a Wh is expected to cost and to bring in a slot that is not the next one."""
    prices = book.outlook("street", [slot - 1, slot], [(RETAIL, FEED_IN)] * 2)
    assert (prices.buy[0], prices.sell[0]) == (RETAIL, FEED_IN)
    return prices.buy[1], prices.sell[1]


def test_without_experience_every_price_is_as_likely() -> None:
    expected, experience = PriceBook(3600).expected("street", MONDAY, RETAIL, FEED_IN)
    assert experience == 0
    assert expected == tuple(range(87_000, 220_000, 14_000))
    prices = tomorrow(PriceBook(3600), MONDAY)
    assert prices == (185_000, 115_000)


def test_prices_are_learnt_by_time_of_day_and_bus() -> None:
    book = PriceBook(3600)
    for day in range(10):
        book.observe(MONDAY + 24 * day + 12, "street", 90_000, 5000, RETAIL, FEED_IN)
        book.observe(MONDAY + 24 * day + 19, "street", 200_000, 5000, RETAIL, FEED_IN)
    noon, seen = book.expected("street", MONDAY + 240 + 12, RETAIL, FEED_IN)
    evening, _ = book.expected("street", MONDAY + 240 + 19, RETAIL, FEED_IN)
    assert seen == 10 and noon[5] == 90_000 and evening[5] == 200_000
    assert book.expected("farm", MONDAY + 240 + 12, RETAIL, FEED_IN)[1] == 0


def test_a_price_is_remembered_by_its_place_between_the_tariffs() -> None:
    book = PriceBook(3600)
    for day in range(10):
        book.observe(MONDAY + 24 * day, "street", 150_000, 5000, RETAIL, FEED_IN)
    assert book.expected("street", MONDAY + 240, 500_000, 100_000)[0][5] == 300_000


def test_the_last_days_count_more_than_those_before_and_weekends_are_their_own() -> None:
    book = PriceBook(3600)
    for day in range(21):
        weekend = day % 7 in (5, 6)
        book.observe(MONDAY + 24 * day, "street", 100_000 if weekend else 200_000, 1, RETAIL, FEED_IN)
    assert tomorrow(book, MONDAY + 24 * 21)[0] > tomorrow(book, MONDAY + 24 * 26)[0]
    for day in range(21, 35):
        book.observe(MONDAY + 24 * day, "street", 90_000, 1, RETAIL, FEED_IN)
    assert book.expected("street", MONDAY + 24 * 35, RETAIL, FEED_IN)[0][5] == 90_000


def test_a_price_without_trade_tells_who_was_there() -> None:
    """At retail buyers alone: who sells will find one, and who buys pays retail; at feed-in the reverse; in between
    neither can be sure."""
    dear, cheap, middle = PriceBook(3600), PriceBook(3600), PriceBook(3600)
    for day in range(60):
        dear.observe(MONDAY + 24 * day, "street", RETAIL, 0, RETAIL, FEED_IN)
        cheap.observe(MONDAY + 24 * day, "street", FEED_IN, 0, RETAIL, FEED_IN)
        middle.observe(MONDAY + 24 * day, "street", 150_000, 0, RETAIL, FEED_IN)
    buy, sell = tomorrow(dear, MONDAY + 24 * 60)
    assert buy > 210_000 and sell > 200_000
    buy, sell = tomorrow(cheap, MONDAY + 24 * 60)
    assert buy < 100_000 and sell < 90_000
    buy, sell = tomorrow(middle, MONDAY + 24 * 60)
    assert buy > 180_000 and sell < 120_000


def test_the_last_auction_of_a_slot_says_most_about_the_next_one() -> None:
    """And the slot is remembered by what was traded in all of them, each for its Wh."""
    book = PriceBook(3600)
    for day in range(20):
        book.observe(MONDAY + 24 * day, "street", (100_000, 200_000)[day % 2], 1, RETAIL, FEED_IN)
    today = MONDAY + 24 * 20
    wide, _ = book.expected("street", today, RETAIL, FEED_IN)
    book.observe(today, "street", 190_000, 3000, RETAIL, FEED_IN)
    near, seen = book.expected("street", today, RETAIL, FEED_IN)
    assert near[-1] - near[0] < (wide[-1] - wide[0]) // 2 and near[0] <= 190_000 <= near[-1]
    book.observe(today, "street", 90_000, 4000, RETAIL, FEED_IN)
    assert seen == 21 and book.expected("street", today, RETAIL, FEED_IN)[1] == 21
    once, twice = PriceBook(3600), PriceBook(3600)
    once.observe(today, "street", 165_000, 4000, RETAIL, FEED_IN)
    twice.observe(today, "street", 190_000, 3000, RETAIL, FEED_IN)
    twice.observe(today, "street", 90_000, 4000, RETAIL, FEED_IN)
    assert tomorrow(twice, today + 24) == tomorrow(once, today + 24)


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400_000), st.integers(0, 2)), max_size=60),
    st.integers(0, 300_000),
    st.integers(-10, 300_000),
)
@settings(max_examples=150)
def test_what_is_expected_lies_within_the_tariffs(seen: list[tuple[int, int, int]], feed_in: int, span: int) -> None:
    book = PriceBook(3600)
    for slot, price, traded in seen:
        book.observe(slot, "street", price, traded, feed_in + span, feed_in)
    slots = list(range(400, 430))
    retail = feed_in + max(0, span)
    prices = book.outlook("street", slots, [(retail, feed_in)] * 30)
    for at, slot in enumerate(slots):
        expected, _ = book.expected("street", slot, retail, feed_in)
        assert len(expected) == 10 and list(expected) == sorted(expected)
        assert feed_in <= expected[0] and expected[-1] <= retail
        assert feed_in <= prices.sell[at] <= prices.buy[at] <= retail
