"""The strategy: what it must never do, over random homes and views, and what it does in plain cases."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.observation import Cancel, HomeModel, Observation, OpenOrder, Place, SlotView
from broker.plan import make_plan
from broker.strategy import decide, urgency_permille

FULL = HomeModel(
    network="home-01",
    load="home-01/load",
    pv="home-01/pv",
    battery="home-01/battery",
    ev="home-01/ev",
    slot_seconds=1800,
    min_order_wh=100,
    pv_w=4000,
    battery_capacity_wh=6400,
    battery_power_w=5000,
    battery_efficiency_permille=900,
    ev_power_w=3600,
)
BARE = replace(FULL, pv=None, battery=None, ev=None)
FIRST = 800_000
NOW = FIRST * 1800 + 60


def view(index: int, load: int = 0, sun: int = 0, retail: int = 1_000_000, **more: object) -> SlotView:
    """The slot that is ``index`` after the running one."""
    slot = FIRST + index
    values = {"positions": {}, "orders": (), **more}
    return SlotView(slot, (slot + 1) * 1800 - 600, retail, 400_000, load, sun, **values)  # type: ignore[arg-type]


def observe(slots: list[SlotView], battery: int = 0, ev: int = 0, departs: int = 48) -> Observation:
    return Observation(NOW, tuple(slots), battery, ev, FIRST, FIRST + departs)


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    energy = st.integers(0, 4000)
    devices = [FULL.load, FULL.pv or "", FULL.battery or "", FULL.ev or ""]
    slots = []
    for index in range(draw(st.integers(1, 12))):
        positions = draw(st.dictionaries(st.sampled_from(devices), st.integers(-2500, 2500)))
        side = draw(st.sampled_from(["buy", "sell"]))
        orders = tuple(
            OpenOrder(bytes([index, number]), device, side, wh, 500_000)  # type: ignore[arg-type]
            for number, (device, wh) in enumerate(
                draw(st.lists(st.tuples(st.sampled_from(devices), st.integers(1, 3000)), max_size=3))
            )
        )
        retail = draw(st.sampled_from([800_000, 1_000_000, 1_500_000]))
        slots.append(view(index, draw(energy), draw(energy), retail, positions=positions, orders=orders))
    return observe(slots, draw(st.integers(0, 6400)), draw(st.integers(0, 9000)), draw(st.integers(0, 12)))


def after(seen: Observation, actions: tuple[object, ...]) -> Observation:
    """The same view once the actions were carried out, without any trade."""
    slots = []
    for old in seen.slots:
        gone = {action.order for action in actions if isinstance(action, Cancel)}
        orders = [order for order in old.orders if order.id not in gone]
        for number, action in enumerate(actions):
            if isinstance(action, Place) and action.slot == old.slot:
                orders.append(OpenOrder(b"new%d" % number, action.device, action.side, action.energy_wh, action.price))
        slots.append(replace(old, orders=tuple(orders)))
    return replace(seen, slots=tuple(slots))


@given(observations(), st.sampled_from([FULL, BARE]))
@settings(max_examples=120, deadline=None)
def test_orders_are_such_as_the_market_takes(seen: Observation, home: HomeModel) -> None:
    actions = decide(home, seen)
    views = {old.slot: old for old in seen.slots}
    for action in actions:
        if isinstance(action, Place):
            assert views[action.slot].feed_in <= action.price <= views[action.slot].retail
            assert action.energy_wh >= home.min_order_wh
            assert action.device in {home.load, home.pv, home.battery, home.ev} or views[action.slot].positions
    settled = after(seen, actions)
    for new in settled.slots:
        if urgency_permille(new.gate - NOW) is not None:
            assert len({order.side for order in new.orders}) <= 1, "all of a home's orders are on one side"
            assert len({order.device for order in new.orders}) == len(new.orders), "one order a device"
    assert decide(home, settled) == (), "what was just ordered stays"


@given(observations())
@settings(max_examples=120, deadline=None)
def test_plans_are_possible(seen: Observation) -> None:
    plan = make_plan(FULL, seen)
    present = [old for old in seen.slots if old.slot < seen.ev_departure_slot]
    assert sum(plan.ev) == min(seen.ev_need_wh, 1800 * len(present))
    assert all(0 <= wh <= 1800 for wh in plan.ev)
    assert all(wh >= 0 for wh in plan.store + plan.spare)


def test_a_home_without_anything_buys_its_load_dearer_as_the_gate_comes_near() -> None:
    seen = observe([view(index, load=500) for index in range(8)])
    placed = decide(BARE, seen)
    assert all(isinstance(action, Place) and action.side == "buy" and action.energy_wh == 500 for action in placed)
    prices = [action.price for action in placed if isinstance(action, Place)]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] == 400_000 + 600_000 * 920 // 1000


def test_the_sun_fills_the_battery_first_and_the_rest_is_sold() -> None:
    seen = observe([view(0, load=300, sun=1500), view(1, load=300, sun=1500)], battery=6400 - 900)
    sales = [action for action in decide(FULL, seen) if isinstance(action, Place)]
    # Of the first slot's 1,200 Wh it stores 1,000 at nine tenths; then it is full.
    assert [(sale.device, sale.side, sale.energy_wh) for sale in sales] == [
        (FULL.pv, "sell", 200),
        (FULL.pv, "sell", 1200),
    ]


def test_the_battery_serves_the_dearest_slots_and_holds_at_night() -> None:
    slots = [view(0, load=400, retail=800_000), view(1, load=400), view(2, load=400, retail=1_500_000)]
    plan = make_plan(FULL, observe(slots, battery=500))
    assert plan.net == (400, 300, 0)
    assert make_plan(FULL, observe(slots, battery=6400)).net == (400, 0, 0)


def test_charge_that_the_home_will_not_need_is_offered() -> None:
    slots = [view(0, load=400, retail=800_000), view(1, load=400, retail=1_500_000)]
    (bid, offer) = decide(FULL, observe(slots, battery=3000))
    assert isinstance(bid, Place) and isinstance(offer, Place)
    assert (bid.device, bid.side, bid.energy_wh) == (FULL.load, "buy", 400)
    assert (offer.device, offer.side, offer.slot, offer.energy_wh) == (FULL.battery, "sell", FIRST + 1, 2100)


def test_the_battery_buys_neighbours_sun_cheaply_when_its_own_will_not_fill_it() -> None:
    slots = [view(0, load=500, sun=500), view(1, load=2000, retail=1_500_000)]
    bids = {action.device: action for action in decide(FULL, observe(slots)) if isinstance(action, Place)}
    assert FULL.battery is not None
    assert bids[FULL.battery].side == "buy" and bids[FULL.battery].slot == FIRST
    assert 400_000 < bids[FULL.battery].price <= 700_000, "at most half-way to retail"


def test_an_ev_in_a_hurry_bids_more() -> None:
    slots = [view(index) for index in range(8)]
    slow = decide(FULL, observe(slots, ev=1800, departs=8))[0]
    fast = decide(FULL, observe(slots, ev=1800, departs=1))[0]
    assert isinstance(slow, Place) and isinstance(fast, Place)
    assert slow.device == fast.device == FULL.ev
    assert slow.price < fast.price


def test_an_order_that_no_longer_says_what_is_wanted_is_replaced() -> None:
    stale = OpenOrder(b"stale", BARE.load, "buy", 2000, 952_000)
    (gone, new) = decide(BARE, observe([view(0, load=500, orders=(stale,))]))
    assert gone == Cancel(b"stale")
    assert isinstance(new, Place) and new.energy_wh == 500


def test_what_was_bought_too_much_is_sold_again() -> None:
    (sale,) = decide(BARE, observe([view(0, load=500, positions={BARE.load: 900})]))
    assert sale == Place(BARE.load, "sell", FIRST, 400, 448_000)


def test_nothing_is_ordered_far_ahead_or_after_the_gate() -> None:
    assert urgency_permille(0) is None
    assert urgency_permille(-5) is None
    assert urgency_permille(14_401) is None
    assert urgency_permille(14_400) == 150
    assert urgency_permille(1) == 920
