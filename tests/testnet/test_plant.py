"""The physics of a home: conserved, within limits, and true to its contracts where that is possible."""

from hypothesis import given, settings
from hypothesis import strategies as st

from testnet.community import SLOTS, Battery, Ev, Home
from testnet.plant import KINDS, Flow, Plant, first_plant, run_slot

HOME = Home(
    name="home-01",
    building=1,
    pv_w=4000,
    load_wh=(500,) * SLOTS,
    sun_wh=(0,) * 20 + (1200,) * 10 + (0,) * 18,
    load_before_wh=(500,) * SLOTS,
    sun_before_wh=(0,) * SLOTS,
    battery=Battery(6400, 5000, 900, 3200),
    ev=Ev(6000, 3600, 0, 15),
)


@given(
    st.lists(
        st.tuples(st.dictionaries(st.sampled_from(KINDS), st.integers(-3000, 3000)), st.booleans()),
        min_size=SLOTS,
        max_size=SLOTS,
    )
)
@settings(max_examples=60, deadline=None)
def test_a_day_is_possible_whatever_was_contracted(day: list[tuple[dict[str, int], bool]]) -> None:
    plant = first_plant(HOME)
    for index, (contracts, cheapest) in enumerate(day):
        before = plant
        plant, flows = run_slot(HOME, plant, index, contracts, cheapest, 1800)
        assert 0 <= plant.battery_wh <= HOME.battery.capacity_wh
        stored, given_back = flows["battery"]
        assert stored <= 2500 and given_back <= 2500 and 0 in (stored, given_back)
        assert plant.battery_wh == before.battery_wh + stored * 9 // 10 - given_back
        assert flows["ev"].import_wh <= 1800
        assert plant.ev_need_wh == before.ev_need_wh - flows["ev"].import_wh >= 0
    assert plant.ev_need_wh == 0, "the EV leaves charged, contracts or none"


def test_the_battery_holds_the_home_at_its_contract() -> None:
    rested = Plant(3200, 0)
    _, flows = run_slot(HOME, rested, 40, {"load": 200}, False, 1800)
    assert flows["battery"] == Flow(0, 300), "bought 200 of 500: gives 300"
    _, flows = run_slot(HOME, rested, 22, {"pv": -400}, False, 1800)
    assert flows["battery"] == Flow(300, 0), "700 left over, 400 of it sold: stores 300"
    _, flows = run_slot(HOME, rested, 22, {"battery": 600, "pv": -700}, False, 1800)
    assert flows["battery"] == Flow(600, 0), "stores what it has bought"


def test_at_night_the_battery_gives_only_what_it_has_sold() -> None:
    rested = Plant(3200, 0)
    _, flows = run_slot(HOME, rested, 2, {}, True, 1800)
    assert flows["battery"] == Flow(0, 0)
    _, flows = run_slot(HOME, rested, 2, {"battery": -250}, True, 1800)
    assert flows["battery"] == Flow(0, 250)


def test_the_ev_takes_what_it_bought_and_what_it_must() -> None:
    plant = Plant(0, 6000)
    _, flows = run_slot(HOME, plant, 0, {"ev": 700}, True, 1800)
    assert flows["ev"] == Flow(700, 0)
    _, flows = run_slot(HOME, plant, 11, {}, True, 1800)
    assert flows["ev"] == Flow(600, 0), "three slots are left, each takes 1,800"
    _, flows = run_slot(HOME, plant, 15, {"ev": 700}, True, 1800)
    assert flows["ev"] == Flow(0, 0), "it has left"
