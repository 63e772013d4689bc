"""The year of the seventeen homes, as the data set has it."""

import datetime
import shutil
from pathlib import Path

import numpy as np
import pytest

from broker.data.homes import FIRST_DAY, HOUR_S, find_homes, load_homes
from node.errors import ConfigError
from testnet.community import load_community


def test_a_year_of_seventeen_homes_hour_by_hour() -> None:
    homes = load_homes()
    assert (len(homes.homes), homes.count, homes.slot_seconds) == (17, 8_759, HOUR_S)
    assert homes.first_slot == homes.slot_of(FIRST_DAY)
    assert [home.name for home in homes.homes] == [f"home-{number:02d}" for number in range(1, 18)]
    for home in homes.homes:
        assert home.load_wh.min() >= 0 and home.sun_wh.min() >= 0
        assert home.sun_wh.max() <= home.panels_w
        assert home.sun_wh[:5].max() == 0  # night
        assert home.battery is not None and home.battery.capacity_wh == 6_400
    assert set(np.unique(homes.retail)) == {210_000, 220_000, 400_000, 500_000, 540_000}
    assert set(np.unique(homes.feed_in)) == {80_000}
    assert homes.carbon is not None and 50 < homes.carbon.mean() < 400
    assert homes.weather is not None and {len(values) for values in homes.weather.values()} == {8_759}
    noon = homes.first_slot + 12
    assert homes.part(noon, 1).weather is not None and homes.part(noon, 1).count == 1


def test_the_demo_reads_the_same_hours() -> None:
    day = datetime.date(2017, 6, 10)
    community = load_community(find_homes(), day)
    homes = load_homes().between(day, 1)
    for other, home in zip(community.homes, homes.homes, strict=True):
        assert [sum(other.load_wh[hour : hour + 2]) for hour in range(0, 48, 2)] == list(home.load_wh)
        assert [sum(other.sun_wh[hour : hour + 2]) for hour in range(0, 48, 2)] == list(home.sun_wh)
        assert (other.name, other.pv_w) == (home.name, home.panels_w)


def test_days_that_are_not_there_are_refused() -> None:
    homes = load_homes()
    assert homes.between(datetime.date(2017, 7, 30), 1).count == 24
    for first, days in ((datetime.date(2016, 7, 31), 1), (datetime.date(2017, 7, 31), 1), (FIRST_DAY, 0)):
        with pytest.raises(ConfigError, match="bad-homes"):
            homes.between(first, days)


def test_another_feed_in_never_passes_retail() -> None:
    homes = load_homes().between(FIRST_DAY, 2).fed_in_at(230_000)
    assert (homes.feed_in <= homes.retail).all() and homes.feed_in.max() == 230_000


def test_a_data_set_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-homes"):
        load_homes(tmp_path)
    copy = tmp_path / "data"
    shutil.copytree(find_homes(), copy)
    (copy / "pricing.csv").write_text("Electricity Pricing [$/kWh]\n0.2\n0.2\n")
    with pytest.raises(ConfigError, match="bad-homes"):
        load_homes(copy)
    (copy / "pricing.csv").write_text("Electricity Pricing [$/kWh]\n0.2\ncheap\n")
    with pytest.raises(ConfigError, match="bad-homes"):
        load_homes(copy)
