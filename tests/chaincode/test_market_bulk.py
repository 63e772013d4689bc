"""Lists of orders: all or nothing, at once or when the block's money is found; and replacing an order in one step."""

import random
from typing import Any, cast

import pytest

from chaincode.contract import ContractError, Value
from chaincode.market_bulk import MAX_BULK
from chaincode.roles import MAX_ID
from node.executor import TRANSACTION_STEPS, TRANSACTION_VALUE_BYTES
from node.model.codec import pack
from node.model.receipt import encode_event
from tests.chaincode.market_auditor import Auditor
from tests.chaincode.market_chain import MarketChain
from tests.chaincode.marketplace import (
    ALLOCATED,
    DEVICES,
    FEED_IN,
    PERIOD_SLOTS,
    RETAIL,
    SLOT_S,
    audit,
    balance,
    key_of,
    marketplace,
    order,
    position,
    state_of,
    tick,
)
from tests.chaincode.world import World

LOAD, BATTERY, EV = "home-1/load", "home-1/battery", "home-3/ev"
LATE = 46
"""Near the end of the period a device can spare most of what it has."""


def row(
    side: str = "buy", slot: int = 1, wh: int = 1_000, price: int = 50, reference: bytes = b"", until: str = "gate"
) -> tuple[Value, ...]:
    """One order of a list."""
    return side, slot, wh, price, until, False, reference


def bulk(world: World, device: str, *rows: tuple[Value, ...]) -> tuple[bytes, ...]:
    """Place them with the device's key; their ids."""
    return cast("tuple[bytes, ...]", world.call(key_of(device), "market", "place_many", device=device, orders=rows))


def states(world: World, ids: tuple[bytes, ...]) -> list[str]:
    return [state_of(world, order_id) for order_id in ids]


def books(world: World, *periods: int) -> dict[tuple[str, int], Value]:
    """What every device has in these periods: state, available, reserved, ..., lent, borrowed."""
    return {
        (device, period): world.query("budget", "budget", device=device, period=period)
        for device in DEVICES
        for period in periods
    }


def replacement(device: str, old: bytes, **change: Value) -> dict[str, Any]:
    """The arguments of a replacement by a buy of 1,000 Wh in slot 1 at 50, unless changed."""
    return {"order": old, "device": device, "side": "buy", "slot": 1, "energy_wh": 1_000, "price": 50, **change}


def test_a_list_is_placed_as_its_orders_would_be_one_by_one() -> None:
    world, other = marketplace(), marketplace()
    rows = [row(slot=slot, wh=100 * slot, price=40 + slot) for slot in (1, 2, 3)]
    ids = bulk(world, LOAD, *rows)
    for slot in (1, 2, 3):
        order(other, LOAD, "buy", slot=slot, wh=100 * slot, price=40 + slot)
    assert states(world, ids) == ["ACCEPTED"] * 3
    for slot in (1, 2, 3):
        assert world.query("market", "book", slot=slot) == other.query("market", "book", slot=slot)
    assert books(world, 0) == books(other, 0)
    sell = order(world, "home-3/pv", "sell", slot=2, price=30)
    tick(world)
    assert states(world, ids) == ["ACCEPTED", "FILLED", "ACCEPTED"]
    assert state_of(world, sell) == "PARTIAL"


def test_equal_rows_are_several_orders() -> None:
    world = marketplace()
    ids = bulk(world, LOAD, *[row(wh=100)] * 5)
    assert len(dict.fromkeys(ids)) == 5
    assert position(world, LOAD).open_buy_wh == 500


def test_if_one_row_is_refused_none_is_placed() -> None:
    world = marketplace()
    before = books(world, 0)
    args = {"device": LOAD, "orders": (row(), row(slot=2), row(price=RETAIL + 1))}
    with pytest.raises(ContractError) as refusal:
        world.call(key_of(LOAD), "market", "place_many", **args)
    assert (refusal.value.code, refusal.value.details) == ("bad-price", (2, FEED_IN, RETAIL))
    assert world.query("market", "orders", device=LOAD) == ()
    assert books(world, 0) == before


def test_the_rows_of_a_list_count_together() -> None:
    world = marketplace()
    key = key_of(BATTERY)

    def refused(*rows: tuple[Value, ...]) -> str:
        return world.refused(key, "market", "place_many", device=BATTERY, orders=rows)

    assert refused(row(wh=2_000), row(wh=501)) == "over-capacity"
    assert refused(row(wh=100), row("sell", wh=100)) == "own-cross"
    assert refused(row(reference=b"r"), row(reference=b"r")) == "duplicate"
    bulk(world, BATTERY, row(wh=100), row("sell", slot=2, wh=100))  # another product


def test_how_long_a_list_is() -> None:
    world = marketplace()
    full = [row(slot=1 + number % 3, wh=100) for number in range(MAX_BULK)]
    assert world.refused(key_of(LOAD), "market", "place_many", device=LOAD, orders=()) == "bad-args"
    assert world.refused(key_of(LOAD), "market", "place_many", device=LOAD, orders=(*full, row())) == "too-many"
    assert len(bulk(world, LOAD, *full)) == MAX_BULK


@pytest.mark.parametrize("allocated", [ALLOCATED, 0])
def test_the_longest_list_fits_into_a_transaction(allocated: int) -> None:
    device, network, bus = "d" * MAX_ID, "n" * MAX_ID, "b" * MAX_ID
    world = marketplace(
        {device: (network, "load", bus, 10**6, 0)}, (("t", bus, 1, 5, None, None),), allocated=allocated
    )
    rows = tuple(row(slot=1 + number % 3, wh=100, reference=bytes([number]) * 32) for number in range(MAX_BULK))
    with world.transaction(key_of(device)) as ctx:
        before = ctx._steps_left
        world.registry.call(ctx, "market", "place_many", {"device": device, "orders": rows})
        assert before - ctx._steps_left < TRANSACTION_STEPS // 2
        assert len(pack([encode_event(event) for event in ctx.events])) < TRANSACTION_VALUE_BYTES


def test_a_list_waits_as_a_whole_for_what_others_give() -> None:
    world = marketplace(allocated=60_000)
    world.next_block(LATE * SLOT_S)
    before = books(world, 0)
    ids = bulk(world, BATTERY, row(slot=46, wh=500, price=40), row(slot=47, wh=1_000, price=60), row("sell", slot=48))
    assert states(world, ids) == ["WAITING"] * 3, "the battery has 60,000 and asks for 80,000"
    assert books(world, 0) == before, "nothing is held while they wait"
    assert world.query("market", "book", slot=48) == ()
    world.next_block(world.time + 1)
    assert states(world, ids) == ["ACCEPTED"] * 3
    assert balance(world, f"reserved:{BATTERY}:0") == 80_000
    assert balance(world, f"device:{LOAD}:0") == 40_000
    shares = cast("tuple[Any, ...]", world.query("budget", "shares", network="home-1", period=0))
    assert [share[:4] for share in shares] == [(LOAD, BATTERY, 20_000, 0)]
    # The battery was helped because its own money was in the first order: what comes free of it goes to the load first.
    world.call(key_of(BATTERY), "market", "cancel", order=ids[0])
    assert balance(world, f"device:{LOAD}:0") == 60_000 and balance(world, f"device:{BATTERY}:0") == 0
    assert balance(world, f"reserved:{BATTERY}:0") == 60_000
    world.call(key_of(BATTERY), "market", "cancel", order=ids[1])
    assert books(world, 0) == before
    audit(world)


def test_a_list_that_nobody_can_pay_for_leaves_nothing_behind() -> None:
    world = marketplace(allocated=60_000)
    world.next_block(LATE * SLOT_S)
    before = books(world, 0)
    ids = bulk(world, BATTERY, row(slot=46, wh=500, price=40), row(slot=47, wh=2_400, price=100), row("sell", slot=48))
    world.next_block(world.time + 1)
    assert states(world, ids) == ["REJECTED"] * 3
    assert books(world, 0) == before
    assert world.query("budget", "shares", network="home-1", period=0) == ()
    with world.transaction() as ctx:
        assert list(ctx.scan(b"side/")) == list(ctx.scan(b"bulk/")) == list(ctx.scan(b"bud-hold/")) == []
    for slot in (46, 47, 48):
        assert position(world, BATTERY, slot)[4:7] == (0, 0, 0)
    order(world, BATTERY, "sell", slot=46, wh=100)  # the other side is free
    audit(world)


def test_a_list_over_two_periods_is_met_in_both_or_in_none() -> None:
    world = marketplace(allocated=60_000, periods=2)
    world.next_block(LATE * SLOT_S)
    before = books(world, 0, 1)
    first, second = PERIOD_SLOTS - 1, PERIOD_SLOTS
    neither = bulk(world, LOAD, row(slot=first, wh=1_000, price=80), row(slot=second, wh=1_000, price=80))
    # Of period 0 alone, the other device could give what is missing; of period 1 it cannot.
    world.next_block(world.time + 1)
    assert states(world, neither) == ["REJECTED"] * 2
    assert books(world, 0, 1) == before
    assert world.query("budget", "shares", network="home-1", period=0) == ()
    both = bulk(world, LOAD, row(slot=first, wh=1_000, price=80), row(slot=second, wh=1_000, price=50))
    world.next_block(world.time + 1)
    assert states(world, both) == ["ACCEPTED"] * 2
    assert balance(world, f"reserved:{LOAD}:0") == 80_000
    assert balance(world, f"reserved:{LOAD}:1") == 50_000
    audit(world)


def test_what_lacks_most_goes_without_whether_list_or_order() -> None:
    world = marketplace(allocated=60_000)
    world.next_block(LATE * SLOT_S)
    greedy = bulk(world, "home-2/load", row(slot=46, wh=2_000, price=60), row(slot=47, wh=2_000, price=60))
    modest = order(world, "home-2/load", "buy", slot=47, wh=700, price=80)
    world.next_block(world.time + 1)
    assert states(world, (*greedy, modest)) == ["REJECTED", "REJECTED", "ACCEPTED"]


def test_a_list_that_cannot_be_decided_gives_its_money_back() -> None:
    world = marketplace(allocated=60_000)
    world.next_block(LATE * SLOT_S)
    before = books(world, 0)
    ids = bulk(world, LOAD, row(slot=46, wh=500, price=60), row(slot=47, wh=1_000, price=50))
    with world.transaction() as ctx:
        ctx.delete(b"order/" + ids[1])
    world.next_block(world.time + 1)
    parked = [event.data for event in world.events if event.topic == "market-parked"]
    assert parked == [(f"order {ids[0].hex()}", "unknown-order")]
    assert world.query("market", "book", slot=46) == ()
    assert books(world, 0) == before


def test_an_order_with_a_reference_is_placed_once() -> None:
    world = marketplace()
    args = {"device": LOAD, "side": "buy", "slot": 1, "energy_wh": 1_000, "price": 50}
    key = key_of(LOAD)
    first = cast("bytes", world.call(key, "market", "place", **args, reference=b"plan 7"))
    assert world.refused(key, "market", "place", **args, reference=b"plan 7") == "duplicate"
    assert world.refused(key_of("home-1"), "market", "place", **args, reference=b"plan 7") == "duplicate"
    world.next_block(5)
    many = {"device": LOAD, "orders": (row(slot=2), row(reference=b"plan 7"))}
    assert world.refused(key, "market", "place_many", **many) == "duplicate"
    others = [
        world.call(key, "market", "place", **args, reference=b"plan 8"),
        world.call(key, "market", "place", **args | {"price": 51}, reference=b"plan 7"),
        world.call(key, "market", "place", **args),
        world.call(key, "market", "place", **args),
    ]
    assert len(dict.fromkeys([first, *others])) == 5
    world.call(key, "market", "cancel", order=first)
    assert world.refused(key, "market", "place", **args, reference=b"plan 7") == "duplicate", "a fate does not matter"
    world.next_block(2 * SLOT_S - 600)
    assert world.refused(key, "market", "place", **args, reference=b"plan 7") == "duplicate", "nor does the gate"
    assert world.refused(key, "market", "place", **args, reference=bytes(33)) == "bad-reference"


def test_replacing_frees_what_the_old_order_held() -> None:
    world = marketplace(allocated=60_000)
    key = key_of(LOAD)
    old = order(world, LOAD, "buy", wh=1_000, price=60)
    new = cast("bytes", world.call(key, "market", "replace", **replacement(LOAD, old, price=55)))
    assert (state_of(world, old), state_of(world, new)) == ("CANCELLED", "ACCEPTED")
    assert balance(world, f"reserved:{LOAD}:0") == 55_000
    assert position(world, LOAD).open_buy_wh == 1_000
    assert world.refused(key, "market", "replace", **replacement(LOAD, old)) == "not-open"
    assert world.refused(key, "market", "replace", **replacement(LOAD, bytes(32))) == "unknown-order"
    # To another slot, and by the owner, to the other side of another device.
    owner = key_of("home-1")
    moved = cast("bytes", world.call(owner, "market", "replace", **replacement(LOAD, new, slot=2)))
    sell = world.call(owner, "market", "replace", **replacement(BATTERY, moved, side="sell", slot=2))
    assert state_of(world, cast("bytes", sell)) == "ACCEPTED"
    assert balance(world, f"reserved:{LOAD}:0") == 0


def test_a_replacement_with_others_money_is_over_budget_and_the_old_order_stands() -> None:
    world = marketplace(allocated=60_000)
    world.next_block(LATE * SLOT_S)
    old = order(world, LOAD, "buy", slot=47, wh=1_000, price=60)
    args = replacement(LOAD, old, slot=47, price=61)
    assert world.refused(key_of(LOAD), "market", "replace", **args) == "over-budget"
    assert state_of(world, old) == "ACCEPTED"
    world.next_block(world.time + 1)
    assert balance(world, f"reserved:{LOAD}:0") == 60_000, "no need was recorded"
    helped = order(world, LOAD, "buy", slot=47, wh=500, price=60)
    world.next_block(world.time + 1)
    assert state_of(world, helped) == "ACCEPTED"
    args = replacement(LOAD, helped, slot=47, energy_wh=400, price=60)
    assert world.refused(key_of(LOAD), "market", "replace", **args) == "over-budget", "what was given goes back"


def test_a_replacement_sent_again_is_a_duplicate() -> None:
    world = marketplace()
    old = order(world, LOAD, "buy")
    args = replacement(LOAD, old, price=55, reference=b"second thought")
    world.call(key_of(LOAD), "market", "replace", **args)
    assert world.refused(key_of(LOAD), "market", "replace", **args) == "duplicate"


def test_an_order_replaced_between_two_auctions_is_new() -> None:
    world = marketplace()
    old = order(world, LOAD, "buy", wh=1_000, price=60)
    rival = order(world, EV, "buy", wh=1_000, price=60)
    tick(world)
    new = cast("bytes", world.call(key_of(LOAD), "market", "replace", **replacement(LOAD, old, price=60)))
    order(world, "home-2/pv", "sell", wh=1_000, price=20)
    tick(world)
    assert (state_of(world, rival), state_of(world, new)) == ("FILLED", "ACCEPTED"), "it has lost its place"
    assert state_of(world, old) == "CANCELLED"


def test_a_batch_of_lists_and_replacements_is_a_set() -> None:
    """Shuffling a block's transactions, lists that wait for money among them, changes nothing."""
    seen: dict[str, int] = {}
    for seed in range(4):
        _some_blocks(random.Random(seed), seen)
    assert min(seen.get(each, 0) for each in ("ACCEPTED", "REJECTED", "CANCELLED", "duplicate", "over-budget")) > 0


def _some_blocks(rng: random.Random, seen: dict[str, int]) -> None:
    """Blocks executed twice, in two orders; ``seen`` counts what became of orders and transactions."""
    chain = MarketChain()
    money = {"period": 0, "amount": 300_000, "reference": b"1"}
    chain.commit(chain.execute(0, [chain.tx("utility", "budget", "issue", network=home, **money) for home in HOMES]))
    chain.commit(chain.execute(1, [_allocate(chain, home) for home in HOMES]))
    known: list[tuple[str, bytes]] = []
    for number in range(25):
        time = 44 * SLOT_S + 7 * number
        transactions = [_some_orders(chain, rng, known) for _ in range(rng.randint(1, 10))]
        execution = chain.execute(time, transactions)
        again = chain.execute(time, rng.sample(transactions, len(transactions)))
        assert again.block.header.state_root == execution.block.header.state_root
        assert again.events == execution.events
        chain.commit(execution)
        for event in execution.events:
            assert event.topic not in ("hook-failed", "market-parked", "needs-refused")
            if event.topic == "order":
                order_id, state, *_ = cast("tuple[Any, ...]", event.data)
                known.append((event.keys[0], order_id))
                seen[state] = seen.get(state, 0) + 1
        for receipt in execution.receipts:
            seen[receipt.code] = seen.get(receipt.code, 0) + 1


HOMES = ("home-1", "home-2", "home-3")


def _allocate(chain: MarketChain, home: str) -> Any:
    own = [[name, 100_000] for name in DEVICES if name.startswith(home)]
    return chain.tx(home, "budget", "allocate", network=home, period=0, amounts=own)


def _some_orders(chain: MarketChain, rng: random.Random, known: list[tuple[str, bytes]]) -> Any:
    device = rng.choice([LOAD, BATTERY, "home-2/load", EV, "home-3/pv"])
    side = "sell" if device.endswith("pv") else "buy"

    def wanted() -> list[Any]:
        reference = rng.choice((b"", b"", bytes([rng.randint(0, 3)])))
        wh, price = rng.choice((100, 300, 900)), rng.choice((30, 60, 90))
        return [side, 44 + rng.randint(0, 3), wh, price, rng.choice(("gate", "auction")), False, reference]

    kind = rng.random()
    if kind < 0.5:
        rows = [wanted() for _ in range(rng.randint(1, 6))]
        return chain.tx(device, "market", "place_many", device=device, orders=rows)
    fields = dict(zip(("side", "slot", "energy_wh", "price", "until", "renewable", "reference"), wanted(), strict=True))
    own = [order_id for of, order_id in known if of == device]
    if kind < 0.75 and own:
        return chain.tx(device, "market", "replace", order=rng.choice(own[-6:]), device=device, **fields)
    return chain.tx(device, "market", "place", device=device, **fields)


def test_the_auditor_agrees() -> None:
    world = marketplace(allocated=60_000)
    auditor = Auditor(world, DEVICES)
    world.next_block(LATE * SLOT_S)
    ids = bulk(world, EV, row(slot=46, wh=800, price=90), row(slot=47, wh=400, price=40), row("sell", slot=48))
    auditor.check()
    order(world, "home-2/pv", "sell", slot=46, wh=700, price=30)
    tick(world)
    auditor.check()
    assert states(world, ids) == ["PARTIAL", "ACCEPTED", "ACCEPTED"]
    world.call(key_of(EV), "market", "replace", **replacement(EV, ids[2], side="sell", slot=48, price=90))
    world.call(key_of(EV), "market", "cancel", order=ids[1])
    auditor.check()
