"""Perfect foresight: below whatever anybody tries, settled to the last base unit but rounding."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.planning.feeder import feeder
from broker.planning.optimum import Optimum, alone_optimum, community_optimum
from broker.planning.rules import charge_on_arrival, self_consumption
from broker.planning.season import Driving, Member, Season, stored_price
from broker.planning.stores import room, spare, stored
from broker.site import Battery, Panels, Site, Vehicle
from chaincode.tree import Line, Tree

SLOTS = 30
SITE = Site(
    "",
    "",
    "load",
    Panels("pv", 5_000),
    Battery("battery", 3_000, 1_500, 1_200, 900),
    None,
    3600,
    import_w={},
    export_w={},
)
CAR = Vehicle("ev", "bev", 9_000, 3_000, 2_000, 900, 150, 0)
LINES = (
    Line("root", "a", 5_000),
    Line("a", "b", 10_000),
    Line("b", "c", 2_000),
    Line("a", "d", 15_000),
    Line("root", "e", 20_000),
)
PLACES = ("b", "c", "d", "e")


def community(seed: int, *, negative: bool = False, work_bus: str = "e") -> tuple[list[Member], Season]:
    """Four homes, two with vehicles, one of which works at another's bus."""
    random = Random(seed)
    members = []
    for number, bus in enumerate(PLACES):
        sun = random.randrange(3_000)
        net = [random.randrange(1_500) - (sun if 8 <= slot % 24 < 16 else 0) for slot in range(SLOTS)]
        driving = None
        if number < 2:
            work = work_bus if number == 0 else ""
            buses = [work if 9 <= slot % 24 < 16 else "" if slot % 24 in (8, 16) else bus for slot in range(SLOTS)]
            used = [random.randrange(4_000) if slot % 24 in (8, 16) else 0 for slot in range(SLOTS)]
            driving = Driving(4_000, buses, used, 1_000_000)
        site = replace(SITE, network=f"home-{number}", bus=bus, vehicle=CAR if driving is not None else None)
        members.append(Member(site, net, random.randrange(3_000), driving))
    retail = [
        random.choice([200_000, 500_000]) - (250_000 if negative and slot % 5 == 0 else 0) for slot in range(SLOTS)
    ]
    return members, Season(retail, [min(80_000, price) for price in retail], 150_000)


def tree(toll_factor: int = 1, limits: int | None = None) -> Tree:
    return Tree.build("root", [Line(x.parent, x.child, x.toll * toll_factor, limits, limits) for x in LINES])


def check_books(found: Optimum, members: list[Member]) -> None:
    """The bills are the cost and the rent; energy adds up; prices lie between the tariffs."""
    assert sum(share.bill for share in found.shares) == found.cost + found.rent
    for member, share in zip(members, found.shares, strict=True):
        moved = share.battery_wh + share.vehicle_wh
        net = np.array(member.net_wh) + moved
        assert np.abs(share.import_wh - share.export_wh + share.trade_wh - net).max() <= 3
        assert share.import_wh.min() >= -1 and share.export_wh.min() >= -1
    traded = sum(share.trade_wh for share in found.shares)
    assert np.abs(traded).max() <= 2 * len(members)


def test_settled_at_its_prices() -> None:
    members, season = community(1)
    found = community_optimum(members, season, tree())
    check_books(found, members)
    assert abs(found.rent) <= 1_000  # nothing is full
    assert found.tolls > 0
    for series in found.prices.values():
        assert (series >= np.array(season.feed_in) - 1).all() and (series <= np.array(season.retail) + 1).all()
    alone = alone_optimum(members, season)
    check_books(alone, members)
    assert found.cost < alone.cost
    # By itself each would do its part at these prices, and it need not trade: nobody is worse off than alone.
    for together, by_itself in zip(found.shares, alone.shares, strict=True):
        assert together.bill <= by_itself.bill + 1_000


def test_with_full_lines_there_is_rent_and_no_line_carries_more() -> None:
    members, season = community(2)
    free = community_optimum(members, season, tree())
    tight = community_optimum(members, season, tree(limits=100))
    check_books(tight, members)
    assert tight.rent > 1_000_000
    assert tight.cost > free.cost
    # Home 1 is all that hangs under its line, and its vehicle charges nowhere else.
    assert np.abs(tight.shares[1].trade_wh).max() <= 101
    assert np.abs(free.shares[1].trade_wh).max() > 101


@pytest.mark.parametrize("seed", range(3))
def test_prohibitive_tolls_leave_everybody_alone(seed: int) -> None:
    members, season = community(seed, work_bus="root")
    apart = community_optimum(members, season, tree(toll_factor=1_000))
    alone = alone_optimum(members, season)
    assert apart.cost == pytest.approx(alone.cost, rel=1e-6)
    assert apart.tolls == pytest.approx(0, abs=1_000)
    each = sum(alone_optimum([member], season).cost for member in members)
    assert alone.cost == pytest.approx(each, rel=1e-6)


def spent(member: Member, season: Season, random: Random | None) -> int:
    """What a member pays alone: by plain rules, or doing at random what can be done."""
    site, driving = member.site, member.driving
    battery, car = site.battery, site.vehicle
    assert battery is not None
    level, fuel, total = member.battery_wh, driving.level_wh if driving is not None else 0, 0
    first = level, fuel
    for slot, net in enumerate(member.net_wh):
        nets = {site.bus: net}
        if driving is not None and car is not None:
            if bus := driving.buses[slot]:
                taken = charge_on_arrival(site, fuel)
                if random is not None:
                    taken = random.randint(-spare(fuel, 0, car.discharge_w), taken)
                fuel = stored(fuel, taken, car.efficiency_permille)
                nets[bus] = nets.get(bus, 0) + taken
            lacking = max(0, driving.used_wh[slot] - fuel)
            fuel = max(0, fuel - driving.used_wh[slot])
            total += lacking * driving.shortage_price
        flow = self_consumption(site, nets[site.bus], level)
        if random is not None:
            most = room(level, battery.capacity_wh, battery.charge_w, battery.efficiency_permille)
            flow = random.randint(-spare(level, 0, battery.discharge_w), most)
        level = stored(level, flow, battery.efficiency_permille)
        nets[site.bus] += flow
        total += sum(season.retail[slot] * max(wh, 0) - season.feed_in[slot] * max(-wh, 0) for wh in nets.values())
    gained = (level - first[0]) * stored_price(season.stock_price, battery)
    gained += (fuel - first[1]) * stored_price(season.stock_price, car) if car is not None else 0
    return total - gained


@settings(max_examples=12)
@given(st.integers(0, 10_000))
def test_nobody_does_better_by_rule_or_by_chance(seed: int) -> None:
    """Real physics in whole Wh: home by home against its optimum alone, all together against the community's."""
    members, season = community(seed)
    alone = alone_optimum(members, season)
    together = community_optimum(members, season, tree())
    random = Random(seed)
    for tries in (None, random, random):
        costs = [spent(member, season, tries) for member in members]
        for member, cost in zip(members, costs, strict=True):
            assert alone_optimum([member], season).cost <= cost + 1_000
        assert together.cost <= alone.cost + 1_000 <= sum(costs) + 2_000


def test_a_season_by_hand() -> None:
    """One has sun at noon, the other a load; then it is the other way round. 1 kWh each way, toll 0.01 there."""
    site = replace(SITE, network="x", bus="x", battery=None)
    members = [
        Member(site, [-1_000, 1_000, 0], 0, None),
        Member(replace(site, network="y", bus="y"), [1_000, -1_000, 500], 0, None),
    ]
    season = Season([300_000] * 3, [100_000] * 3, 0)
    found = community_optimum(members, season, Tree.build("x", [Line("x", "y", 10_000)]))
    assert found.cost == pytest.approx(2 * 1_000 * 10_000 + 500 * 300_000, abs=1_000)
    assert found.tolls == pytest.approx(2 * 1_000 * 10_000, abs=1_000)
    assert found.shares[1].import_wh.tolist() == [0, 0, 500]
    assert found.shares[0].trade_wh.tolist() == [-1_000, 1_000, 0]
    assert found.prices["y"][0] - found.prices["x"][0] == pytest.approx(10_000, abs=1)


def test_odd_input() -> None:
    """Nobody, no season, prices below zero, series that do not match, a bus that is nowhere."""
    members, season = community(4)
    none = Season([], [], 0)
    assert community_optimum([], season, tree()).cost == 0
    empty = [replace(member, net_wh=[], driving=None) for member in members]
    assert [share.bill for share in community_optimum(empty, none, tree()).shares] == [0] * 4
    below, prices = community(5, negative=True)
    assert community_optimum(below, prices, tree()).cost <= alone_optimum(below, prices).cost + 1_000
    with pytest.raises(ValueError, match="a season of 30 slots has series of"):
        alone_optimum([replace(members[3], net_wh=[1, 2])], season)
    with pytest.raises(KeyError):
        community_optimum(members, season, Tree.build("root", LINES[:3]))


@given(st.integers(0, 100_000))
def test_a_grid_cut_down_keeps_tolls_and_limits_between_its_buses(seed: int) -> None:
    """On random trees: for any two buses in use, the sum of tolls and the least limit on the way are the same."""
    random = Random(seed)
    count = random.randrange(2, 14)
    lines = [
        Line(
            f"n{random.randrange(bus)}", f"n{bus}", random.randrange(100), *(random.choice([None, 5, 9]) for _ in "ab")
        )
        for bus in range(1, count)
    ]
    whole = Tree.build("n0", lines)
    used = random.sample(whole.buses, random.randint(1, min(4, count)))
    small = feeder(whole, used)
    assert set(used) <= set(small.nodes)
    assert len(small.nodes) <= 2 * len(used) - 1 or len(used) == 1
    assert len(small.links) == len(small.nodes) - 1
    above = {link.child: link for link in small.links}
    index = whole.index_of()

    def way(names: list[tuple[str, int, list[int | None]]], bus: str) -> None:
        """The lines from ``bus`` up to the root of the whole tree: child, toll, limits down and up."""
        at = index[bus]
        while at > 0:
            names.append((whole.buses[at], whole.toll[at], [whole.limit_down_wh[at], whole.limit_up_wh[at]]))
            at = whole.parent[at]

    def short_way(number: int) -> list[int]:
        found = []
        while number in above:
            found.append(number)
            number = above[number].parent
        return found

    for one in used:
        for other in used:
            first: list[tuple[str, int, list[int | None]]] = []
            second: list[tuple[str, int, list[int | None]]] = []
            way(first, one)
            way(second, other)
            up = [x for x in first if x not in second]
            down = [x for x in second if x not in first]
            mine, others = short_way(small.nodes.index(one)), short_way(small.nodes.index(other))
            small_up = [above[x] for x in mine if x not in others]
            small_down = [above[x] for x in others if x not in mine]
            assert sum(x[1] for x in up + down) == sum(x.toll for x in small_up + small_down)
            limits = [x[2][1] for x in up] + [x[2][0] for x in down]
            small_limits = [x.limit_up_wh for x in small_up] + [x.limit_down_wh for x in small_down]
            assert min([x for x in limits if x is not None], default=None) == min(
                [x for x in small_limits if x is not None], default=None
            )
