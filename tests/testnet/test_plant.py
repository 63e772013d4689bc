"""The physics of a home: conserved, within limits, and as its broker says where that is possible."""

from hypothesis import given, settings
from hypothesis import strategies as st

from testnet.community import SLOTS, Battery, Ev, Home
from testnet.demo_world import site_of
from testnet.plant import KINDS, Flow, Plant, Setpoint, Slot, first_plant, run_slot

HOME = Home(
    name="home-01",
    building=1,
    pv_w=4000,
    load_wh=(500,) * SLOTS,
    sun_wh=(0,) * 20 + (1200,) * 10 + (0,) * 18,
    load_past_wh=(500,) * SLOTS,
    sun_past_wh=(0,) * SLOTS,
    battery=Battery(6400, 5000, 900, 3200),
    ev=Ev(37, 6000, 3600, 0, 15),
)
SITE = site_of(HOME)
RETAIL, FEED_IN = 1_000_000, 400_000
setpoints = st.builds(Setpoint, st.integers(-3000, 3000), st.integers(0, 2_000_000))


def slot(place: int, contracts: dict[str, int], battery: Setpoint | None, ev: Setpoint | None) -> Slot:
    said = {"battery": battery, "ev": ev}
    known = {kind: point for kind, point in said.items() if point is not None}
    return Slot(place, RETAIL, FEED_IN, contracts, known)


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(KINDS), st.integers(-3000, 3000)),
            st.none() | setpoints,
            st.none() | setpoints,
        ),
        min_size=SLOTS,
        max_size=SLOTS,
    )
)
@settings(max_examples=60, deadline=None)
def test_a_day_is_possible_whatever_was_contracted_and_said(
    day: list[tuple[dict[str, int], Setpoint | None, Setpoint | None]],
) -> None:
    plant = first_plant(HOME)
    for place, (contracts, battery, ev) in enumerate(day):
        before = plant
        plant, flows = run_slot(HOME, SITE, plant, slot(place, contracts, battery, ev))
        assert 0 <= plant.battery_wh <= HOME.battery.capacity_wh
        stored, given_back = flows["battery"]
        assert stored <= 2500 and given_back <= 2500 and 0 in (stored, given_back)
        assert plant.battery_wh == before.battery_wh + stored * 9 // 10 - given_back
        assert 0 <= flows["ev"].import_wh <= 1800
        assert plant.ev_wh == before.ev_wh + flows["ev"].import_wh <= HOME.ev.need_wh
    assert plant.ev_wh == HOME.ev.need_wh, "the EV leaves charged, contracts or none"


def test_the_battery_holds_the_home_at_its_contract() -> None:
    rested, worth = Plant(3200, 6000), Setpoint(0, 700_000)
    _, flows = run_slot(HOME, SITE, rested, slot(40, {"load": 200}, worth, worth))
    assert flows["battery"] == Flow(0, 300), "bought 200 of 500: gives 300, which is worth less than retail"
    _, flows = run_slot(HOME, SITE, rested, slot(22, {"pv": -400}, worth, worth))
    assert flows["battery"] == Flow(300, 0), "700 left over, 400 of it sold: stores 300"


def test_what_is_stored_is_not_given_for_less_than_it_is_worth() -> None:
    _, flows = run_slot(HOME, SITE, Plant(3200, 6000), slot(2, {}, Setpoint(0, 1_200_000), Setpoint(0, 0)))
    assert flows["battery"].export_wh == 0, "worth more than retail"


def test_without_a_broker_plain_rules_hold() -> None:
    _, flows = run_slot(HOME, SITE, Plant(3200, 6000), slot(40, {}, None, None))
    assert flows["battery"] == Flow(0, 500)
    _, flows = run_slot(HOME, SITE, Plant(0, 1000), slot(0, {}, None, None))
    assert flows["ev"] == Flow(1800, 0), "it charges on arrival"


def test_the_ev_takes_what_it_must() -> None:
    idle = Setpoint(0, 0)
    _, flows = run_slot(HOME, SITE, Plant(0, 0), slot(11, {}, idle, idle))
    assert flows["ev"] == Flow(600, 0), "three slots are left, each takes 1,800"
    _, flows = run_slot(HOME, SITE, Plant(0, 0), slot(15, {"ev": 700}, idle, idle))
    assert flows["ev"] == Flow(0, 0), "it has left"
