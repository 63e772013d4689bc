"""A period once more under another policy: figures that one can work out by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.budget_policy import Donor, Policy, Row
from chaincode.budget_state import Settings
from cli.policy_rehearsal import Facts, Flow, rehearse

FIRST, END = 480, 490
SLOT_S = 1_800
DEVICES = (("s/hvac", "load", False), ("s/light", "load", True), ("s/pv", "pv", False))


def facts(*flows: tuple[int, str, int, int], **change: Any) -> Facts:
    """A period of ten slots; ``flows``: (slot of the period, device, cost, earned), settled at the slot's end."""
    of_slot: dict[int, list[Flow]] = {}
    for slot, device, cost, earned in flows:
        of_slot.setdefault(FIRST + slot, []).append(Flow(device, cost, earned, cost))
    found = Facts(
        "s", DEVICES, FIRST, END, SLOT_S, tuple(Settings(10)), 1_000, {"s/hvac": 300, "s/light": 500}, {}, {},
        tuple((slot, (slot + 1) * SLOT_S, tuple(rows)) for slot, rows in sorted(of_slot.items())),
    )  # fmt: skip
    return found._replace(**change)


def row(device: str, **terms: Any) -> Row:
    return (device, *Donor(**terms))


def test_who_runs_out_when_and_who_helps() -> None:
    period = facts((0, "s/hvac", 200, 0), (8, "s/hvac", 200, 0), (9, "s/light", 100, 0))
    found = rehearse(period, Policy(), ())
    hvac, light = found.fates["s/hvac"], found.fates["s/light"]
    assert (hvac.allocated, hvac.spent, hvac.out, hvac.left, hvac.owed) == (300, 400, FIRST + 8, 0, 0)
    assert hvac.helpers == (("s/light", 100),)
    assert (light.gave, light.out, light.left) == (100, None, 300)
    assert (found.pool, found.owed, found.refused) == (200, 0, None)


def test_what_others_spare_depends_on_when_a_slot_is_settled() -> None:
    """Early in the period light keeps what it will need itself, 400, and the pool helps too; later light has enough."""
    period = facts((0, "s/light", 50, 0), (1, "s/hvac", 400, 0), forecast={"s/light": 500})
    slot, settled, flows = period.flows[1]
    helped = {}
    for late in (0, 5, 20):
        later = period._replace(flows=(period.flows[0], (slot, settled + late * SLOT_S, flows)))
        helped[late] = dict(rehearse(later, Policy(), ()).fates["s/hvac"].helpers)
    assert helped == {0: {"": 50, "s/light": 50}, 5: {"s/light": 100}, 20: {"s/light": 100}}


def test_another_policy_lets_the_pool_help_instead() -> None:
    period = facts((8, "s/hvac", 400, 0))
    found = rehearse(period, Policy(), (row("s/light", gives=False),))
    assert found.fates["s/hvac"].helpers == (("", 100),)
    assert (found.pool, found.fates["s/light"].left) == (100, 500)
    owing = rehearse(facts((8, "s/hvac", 600, 0)), Policy(), (row("s/light", gives=False),))
    assert (owing.owed, owing.fates["s/hvac"].owed, owing.fates["s/hvac"].state) == (100, 100, "limited")


def test_allocation_by_the_rule_of_the_new_policy() -> None:
    period = facts((2, "s/hvac", 400, 0), used_before={"s/hvac": 300, "s/light": 100}, forecast={"s/light": 90})
    fixed = rehearse(period, Policy(allocation="fixed"), (row("s/hvac", amount=450), row("s/light", share=100)))
    assert {name: fate.allocated for name, fate in fixed.fates.items()} == {"s/hvac": 450, "s/light": 100, "s/pv": 0}
    assert fixed.fates["s/hvac"].out is None
    history = rehearse(period, Policy(allocation="history"), ())
    assert [fate.allocated for fate in history.fates.values()] == [750, 250, 0]
    forecast = rehearse(period, Policy(allocation="forecast"), ())
    assert [fate.allocated for fate in forecast.fates.values()] == [0, 90, 0]
    assert forecast.fates["s/hvac"].out == FIRST + 2
    refused = rehearse(period, Policy(allocation="fixed"), (row("s/hvac", amount=1_001),))
    assert (refused.refused, refused.fates["s/hvac"].allocated) == ("insufficient-funds", 0)


def test_what_the_pool_has_too_little_for_at_the_start_comes_as_it_earns() -> None:
    period = facts((1, "s/pv", 0, 300), (9, "s/hvac", 300, 0), funds=500)
    found = rehearse(period, Policy(), ())
    assert [fate.allocated for fate in found.fates.values()] == [300, 500, 0]
    assert found.fates["s/hvac"].out is None
    itself = rehearse(period, Policy(proceeds="device"), ())
    assert itself.fates["s/pv"].left == 300
    assert itself.fates["s/hvac"].out == FIRST + 9


def test_a_limit_holds_for_what_was_given_then() -> None:
    found = rehearse(facts(), Policy(), (row("s/light", limit=120),))
    assert (found.fates["s/light"].allocated, found.pool) == (120, 580)


amounts = st.integers(0, 300)
flows = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([name for name, *_ in DEVICES]), amounts, amounts),
    unique_by=lambda flow: flow[:2],
    max_size=20,
)  # fmt: skip
terms = st.builds(
    Donor,
    rank=st.integers(0, 3),
    floor=st.integers(0, 50),
    limit=st.none() | st.integers(50, 900),
    gives=st.booleans(),
    amount=st.just(0),
    share=st.just(0),
)


@pytest.mark.parametrize("proceeds", ["pool", "device"])
@given(rows=st.lists(terms, min_size=3, max_size=3), what=flows)
def test_money_is_conserved_and_what_is_missing_is_owed(
    proceeds: str, rows: list[Donor], what: list[tuple[int, str, int, int]]
) -> None:
    period = facts(*what)
    policy = tuple((device, *donor) for (device, *_), donor in zip(DEVICES, rows, strict=True))
    found = rehearse(period, Policy(proceeds=proceeds), policy)
    cost, earned = sum(flow[2] for flow in what), sum(flow[3] for flow in what)
    left = found.pool + sum(fate.left for fate in found.fates.values())
    assert left == period.funds + earned - cost + found.owed
    assert found == rehearse(period, Policy(proceeds=proceeds), policy)
