"""The market inside real blocks: the order within a batch means nothing; on one bus the textbook's price."""

import random
from collections import Counter
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.at_length import examples
from tests.chaincode.bookkeeper import Bookkeeper, Terms
from tests.chaincode.busy_chain import BusyChain, busy_day
from tests.chaincode.marketplace import DEVICES, FEED_IN, RETAIL, marketplace, order, tick

COMMON = {
    ("market", "place"), ("market", "place_many"), ("market", "replace"), ("market", "cancel"),
    ("settlement", "report"), ("settlement", "report_day"), ("settlement", "collect"), ("settlement", "correct"),
    ("identity", "connect"),
}  # fmt: skip
FULL_DAYS = (1, 2, 3)
"""The days of these seeds are known to have nearly all of it; of more of them, some lack a rare thing by chance."""


@pytest.mark.parametrize("seed", range(1, 1 + examples(3)))
def test_a_batch_is_a_set(seed: int) -> None:
    """Shuffled, a batch gives the same trades, the same money and the same root, over a day of everything there is."""
    chain, rng = BusyChain(), random.Random(seed)
    topics: Counter[str] = Counter()
    done: set[tuple[str, str]] = set()
    for time, transactions in busy_day(chain, seed):
        execution = chain.execute(time, transactions)
        for _ in range(2 if transactions else 0):
            shuffled = rng.sample(transactions, len(transactions))
            again = chain.execute(time, shuffled)
            assert again.block.header.state_root == execution.block.header.state_root
            assert {receipt.tx_id: receipt for receipt in again.receipts} == {
                receipt.tx_id: receipt for receipt in execution.receipts
            }
            assert again.events == execution.events
        topics.update(event.topic for event in execution.events)
        chain.commit(execution)
        ok = {receipt.tx_id for receipt in execution.receipts if receipt.code == "ok"}
        done |= {(tx.payload.contract, tx.payload.method) for tx in transactions if tx.id in ok}
    assert topics["fill"] > 10
    if seed in FULL_DAYS:
        assert topics["settled-anew"] and topics["pruned"] and topics["origin"]
        assert len(COMMON - done) <= 2, COMMON - done
    assert not topics.keys() & {"hook-failed", "market-parked", "settlement-parked", "origin-parked", "gap-failed"}


def test_the_books_follow_from_the_blocks_alone() -> None:
    """Who reads nothing but the events of stored blocks, and an auction's trades, has every balance of the ledger."""
    chain = BusyChain()

    def query(contract: str, method: str, **args: Any) -> Any:
        return chain.executor.query(contract, method, args)

    def terms(slot: int) -> Terms:
        row = query("market", "product", slot=slot)
        return Terms(row[9], row[10], row[13], row[11])

    def auction(slot: int, number: int) -> tuple[int, Any]:
        record, _, trades = query("market", "auction", slot=slot, number=number)
        return record[8], trades

    books = Bookkeeper({device: (row[0], row[2]) for device, row in DEVICES.items()}, terms, auction)
    for time, transactions in busy_day(chain, 11):
        chain.commit(chain.execute(time, transactions))
        books.read(chain.ledger.events(chain.ledger.head.height))
        issued, redeemed, whole = query("accounts", "audit")
        assert (issued, redeemed, whole) == (books.issued, books.redeemed, sum(books.balances.values()))
        assert issued - redeemed == whole
        for account, balance in books.balances.items():
            assert query("accounts", "account", account=account) == balance, account
    assert len(books.settled) > 20 and books.pruned


limits = st.lists(st.tuples(st.integers(100, 900), st.integers(FEED_IN, RETAIL)), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(buys=limits, sells=limits)
def test_on_one_bus_demand_and_supply_meet_where_the_textbook_says(
    buys: list[tuple[int, int]], sells: list[tuple[int, int]]
) -> None:
    devices = {f"n{number}/ev": (f"n{number}", "ev", "t", 10**6, 10**6) for number in range(len(buys) + len(sells))}
    world = marketplace(devices, ())
    sides = [("buy", *each) for each in buys] + [("sell", *each) for each in sells]
    ids = [
        order(world, device, side, wh=wh, price=price) for device, (side, wh, price) in zip(devices, sides, strict=True)
    ]
    tick(world)
    _, _, ((_, price),) = cast("Any", world.query("market", "prices", slot=1))
    rows = [cast("tuple[Any, ...]", world.query("market", "order", order=each)) for each in ids]

    # One Wh after the other, the dearest buyer with the cheapest seller, as long as both gain.
    demand = sorted([limit for wh, limit in buys for _ in range(wh)], reverse=True)
    supply = sorted([limit for wh, limit in sells for _ in range(wh)])
    volume = sum(bid >= ask for bid, ask in zip(demand, supply, strict=False))
    assert sum(row[13] for row in rows if row[5] == "buy") == volume
    assert sum(row[13] for row in rows if row[5] == "sell") == volume
    # The price lies between what the last ones in and the first ones out are content with.
    floor = [*supply[:volume][-1:], *demand[volume : volume + 1]]
    ceiling = [*demand[:volume][-1:], *supply[volume : volume + 1]]
    assert max(floor, default=0) <= price <= min(ceiling, default=RETAIL)
    for row in rows:
        better = row[7] - price if row[5] == "buy" else price - row[7]
        if better:
            assert row[13] == (row[6] if better > 0 else 0)
