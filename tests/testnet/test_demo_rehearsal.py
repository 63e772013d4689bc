"""The rehearsal before the demo's day: a small community's days, by the same contracts, and prices that make sense."""

import datetime
from pathlib import Path

from testnet.community import FIRST_DAY, HOURS, SLOTS, load_community
from testnet.demo_rehearsal import DAYS, rehearse
from testnet.demo_world import demo_grid, site_of, tariff
from tests.testnet.test_community import write_data

TARIFF = [tariff(index) for index in range(SLOTS)]


def test_prices_of_the_days_before(tmp_path: Path) -> None:
    """One home has the sun, the other the load: where they trade the price lies between feed-in and retail."""
    sunny = [(0.2, 700.0 if 9 <= hour < 17 else 0.0) for hour in range(HOURS)]
    busy = [(1.5 if 9 <= hour < 22 else 0.3, 0.0) for hour in range(HOURS)]
    data = write_data(tmp_path, [sunny * 8, busy * 8])
    community = load_community(data, FIRST_DAY + datetime.timedelta(days=7))
    sites = {home.name: site_of(home) for home in community.homes}
    prices = rehearse(community, sites, demo_grid(community.homes), TARIFF)
    traded = [(hour, cleared) for hour, cleared in prices["home-01"].items() if cleared.traded_wh]
    assert traded and all(-DAYS * HOURS <= hour < 0 for hour, _ in traded)
    for hour, cleared in traded:
        retail, feed_in = TARIFF[hour % HOURS * 2]
        assert feed_in <= cleared.price <= retail


def test_too_few_days_before(tmp_path: Path) -> None:
    community = load_community(write_data(tmp_path, [[(1.0, 1.0)] * HOURS * 2] * 2))
    sites = {home.name: site_of(home) for home in community.homes}
    assert rehearse(community, sites, demo_grid(community.homes), TARIFF) == {}
