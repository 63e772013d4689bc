"""A year in parts: what is the sum of the parts, and what is the mean of them by what."""

import datetime

import pytest

from broker.backtest.setup import Run
from broker.data.homes import load_homes
from node.errors import ConfigError
from testnet.experiment_world import Community, make_community
from testnet.experiment_year import BEGINS, PARTS, joined, parts
from testnet.simbench import find_data
from tests.testnet import experiment_study


@pytest.fixture(scope="module")
def community() -> Community:
    try:
        find_data()
        return make_community(load_homes())
    except ConfigError as error:
        pytest.skip(error.message)


def test_the_parts_follow_one_another_to_the_end_of_the_data() -> None:
    runs = parts(Run(strategy="truthful", season="summer", grid="simbench"))
    begins = [datetime.date.fromisoformat(run.first_day) for run in runs]
    ends = [begin + datetime.timedelta(run.days) for begin, run in zip(begins, runs, strict=True)]
    assert begins == [BEGINS, *ends[:-1]]
    homes = load_homes()
    assert datetime.datetime.fromtimestamp(homes.slot_of(ends[-1]) * 3600, datetime.UTC).date() == ends[-1]
    assert (homes.first_slot + homes.count) // 24 == homes.slot_of(ends[-1]) // 24
    assert (
        len(runs) == len(PARTS) and {run.grid for run in runs} == {"simbench"} and {run.season for run in runs} == {""}
    )


def test_a_year_is_the_sum_of_its_parts(community: Community) -> None:
    both = [experiment_study.result(community, 1, "truthful", season) for season in ("winter", "summer")]
    whole = joined(both, "a year")
    bills = [each.community.bills for each in both]
    before, after = sum(each.utility_only for each in bills), sum(each.broker for each in bills)
    best = before - sum(each.optimum for each in bills)
    assert whole.community.bills.broker == pytest.approx(after)
    assert whole.mean_bill_change_pct == pytest.approx(100 * (after / before - 1), abs=1e-3)
    assert whole.share_of_perfect_foresight == pytest.approx((before - after) / best, abs=1e-3)
    assert whole.worst_home_change_pct == max(each.worst_home_change_pct for each in both)
    assert whole.community.traded_wh == 80_000 and whole.community.local_share == pytest.approx(0.3)
    assert whole.settings.days == 4 and whole.settings.season == "a year"
    slots = [each.slots for each in both]
    assert whole.slots.price == tuple(one + two for one, two in zip(slots[0].price, slots[1].price, strict=True))
    assert len(whole.slots.imported_wh) == len(whole.slots.bought_wh[0]) == 2 * experiment_study.HOURS
    for index, home in enumerate(whole.homes):
        rows = [each.homes[index] for each in both]
        assert home.load_wh == sum(row.load_wh for row in rows)
        assert home.bills.alone == pytest.approx(sum(row.bills.alone for row in rows))
        shares = [row.self_consumption for row in rows]
        assert min(shares) - 1e-4 <= home.self_consumption <= max(shares) + 1e-4
        if home.driving is not None and rows[0].driving is not None and rows[1].driving is not None:
            assert home.driving.charged_wh == rows[0].driving.charged_wh + rows[1].driving.charged_wh
    lines = zip(whole.lines, both[0].lines, both[1].lines, strict=True)
    assert all(line.largest_up_wh == max(one.largest_up_wh, two.largest_up_wh) for line, one, two in lines)


def test_what_is_used_stays_what_is_used(community: Community) -> None:
    """Joined with itself a part is twice as large and of the same shares."""
    one = experiment_study.result(community, 2, "truthful", "winter")
    two = joined([one, one], "twice")
    assert two.community.broker.self_sufficiency == pytest.approx(one.community.broker.self_sufficiency, abs=1e-4)
    assert two.community.broker.imported_wh == 2 * one.community.broker.imported_wh
    assert two.share_of_perfect_foresight == pytest.approx(one.share_of_perfect_foresight, abs=1e-3)
