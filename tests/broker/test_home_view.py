"""The view of a home: what the committed events say, and nothing else."""

from dataclasses import replace

from broker.config import Battery, Ev, Home
from broker.home_view import HomeView
from broker.observation import HomeModel, OpenOrder
from chaincode.contract import Event, Value

LOAD, BATTERY, EV = "home-01/load", "home-01/battery", "home-01/ev"
MODEL = HomeModel(
    network="home-01",
    load=LOAD,
    pv=None,
    battery=BATTERY,
    ev=EV,
    slot_seconds=1800,
    min_order_wh=100,
    battery_capacity_wh=6400,
    battery_power_w=5000,
    battery_efficiency_permille=900,
    ev_power_w=3600,
)
CONFIG = Home(
    network="home-01",
    key_file="",
    load_wh=tuple(range(48)),
    sun_wh=(0,) * 48,
    battery=Battery(6400, 900, 3200, 960),
    ev=Ev(6000, 960, 975),
)


def event(topic: str, device: str, *data: Value) -> Event:
    return Event("market", topic, (device, "home-01"), data)


def test_orders_and_fills_give_positions() -> None:
    view = HomeView(MODEL, CONFIG)
    view.apply([event("order", LOAD, b"a", "ACCEPTED", 962, "buy", 500, 700_000, 0)])
    view.apply([event("order", EV, b"b", "ACCEPTED", 962, "buy", 900, 600_000, 0)])
    view.apply([event("fill", LOAD, b"a", "PARTIAL", 962, "buy", 200, 650_000, 200)])
    view.apply([event("fill", EV, b"b", "FILLED", 962, "buy", 900, 600_000, 900)])
    view.apply([event("order", "home-02/load", b"x", "ACCEPTED", 962, "buy", 500, 700_000, 0)])
    seen = view.observe(0, 961, 3, lambda slot: (slot * 10, 1_000_000, 400_000))
    assert [one.slot for one in seen.slots] == [961, 962, 963]
    assert seen.slots[1].positions == {LOAD: 200, EV: 900}
    assert seen.slots[1].orders == (OpenOrder(b"a", LOAD, "buy", 300, 700_000),)
    assert (seen.slots[1].gate, seen.slots[1].load_wh) == (9620, 962 % 48)
    view.apply([event("order", LOAD, b"a", "CANCELLED", 962, "buy", 500, 700_000, 200)])
    assert view.observe(0, 962, 1, lambda _: (0, 1, 0)).slots[0].orders == ()


def test_charge_and_need_follow_the_meters() -> None:
    view = HomeView(MODEL, CONFIG)
    view.apply(
        [
            event("reading", BATTERY, 960, 1000, 0, 1000, 0),
            event("reading", BATTERY, 961, 0, 500, 1000, 500),
            event("reading", EV, 960, 1800, 0, 1800, 0),
            # Slot 961 of the EV is not read yet: what it has bought stands in.
            event("fill", EV, b"b", "FILLED", 961, "buy", 700, 600_000, 700),
        ]
    )
    seen = view.observe(0, 962, 1, lambda _: (0, 1, 0))
    assert seen.battery_wh == 3200 + 900 - 500
    assert seen.ev_need_wh == 6000 - 1800 - 700
    assert (seen.ev_first_slot, seen.ev_departure_slot) == (960, 975)
    view.forget_before(962)
    assert view.observe(0, 962, 1, lambda _: (0, 1, 0)) == replace(seen, slots=(replace(seen.slots[0], positions={}),))
    view.apply([event("reading", BATTERY, 962, 100, 0, 1100, 500)])
    assert view.observe(0, 963, 1, lambda _: (0, 1, 0)).battery_wh == seen.battery_wh + 90


def test_the_past_is_let_go_of() -> None:
    view = HomeView(MODEL, CONFIG)
    view.apply([event("order", LOAD, b"a", "ACCEPTED", 962, "buy", 500, 700_000, 0)])
    view.apply([event("fill", LOAD, b"a", "PARTIAL", 962, "buy", 200, 650_000, 200)])
    view.forget_before(963)
    assert view.position(962) == {}
    assert view.observe(0, 962, 1, lambda _: (0, 1, 0)).slots[0].orders == ()
