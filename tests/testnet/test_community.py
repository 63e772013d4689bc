"""The demo's homes, from a small data set of the same form and, where it is installed, from the real one."""

import datetime
import json
from pathlib import Path

import pytest

from broker.data.homes import find_homes
from node.errors import ConfigError
from testnet.community import HOURS, SLOTS, load_community

HEADER = "Month,Hour,Equipment Electric Power [kWh],Solar Generation [W/kW]"


def write_data(directory: Path, homes: list[list[tuple[float, float]]]) -> Path:
    """One building per list of hourly (load in kWh, sun in W/kW), as the data set lays them out."""
    buildings = {}
    for number, hours in enumerate(homes, start=1):
        rows = [(0.0, 0.0), *hours]  # the stray hour before the first day
        lines = [f"8.0,{hour}.0,{load},{sun}" for hour, (load, sun) in enumerate(rows)]
        (directory / f"Building_{number}.csv").write_text("\n".join([HEADER, *lines]))
        buildings[f"Building_{number}"] = {
            "electrical_storage": {"attributes": {"capacity": 6.4, "efficiency": 0.9, "nominal_power": 5.0}},
            "pv": {"attributes": {"nominal_power": 4.0}},
        }
    (directory / "schema.json").write_text(json.dumps({"buildings": buildings}))
    return directory


def test_units_and_the_split_of_an_hour(tmp_path: Path) -> None:
    day = [(1.001, 500.0)] + [(0.5, 0.0)] * (HOURS - 1)
    home = load_community(write_data(tmp_path, [day * 3])).homes[0]
    assert home.load_wh[:3] == (500, 501, 250), "1,001 Wh in the hour, the odd one in the second half"
    assert home.sun_wh[:2] == (1000, 1000), "500 W/kW on 4 kW for an hour are 2,000 Wh"
    assert len(home.load_wh) == len(home.sun_wh) == SLOTS
    assert len(home.load_past_wh) == len(home.sun_past_wh) == SLOTS, "one day lies before"
    assert (home.battery.capacity_wh, home.battery.power_w, home.battery.efficiency_permille) == (6400, 5000, 900)


def test_the_most_interesting_of_the_sunny_days(tmp_path: Path) -> None:
    """Eleven days: two are sunny, and only on day 7 does one home lack what another has too much of."""
    sunny, dark = (0.0, 900.0), (1.0, 0.0)
    first = [dark] * HOURS * 4 + [sunny] * HOURS + [dark] * HOURS * 2 + [sunny] * HOURS + [dark] * HOURS * 3
    second = [(0.0, 0.0)] * HOURS * 7 + [(2.0, 0.0)] * HOURS + [(0.0, 0.0)] * HOURS * 3
    community = load_community(write_data(tmp_path, [first, second]))
    assert community.date == datetime.date(2016, 8, 8)
    assert community.exchangeable_wh == 2000 * HOURS


@pytest.mark.parametrize(
    ("fault", "code"),
    [("no-schema", "no-homes"), ("no-csv", "no-homes"), ("text", "bad-homes"), ("ragged", "bad-homes")],
)
def test_data_that_cannot_be_used(tmp_path: Path, fault: str, code: str) -> None:
    data = write_data(tmp_path, [[(1.0, 1.0)] * HOURS * 2] * 2)
    if fault == "no-schema":
        (data / "schema.json").unlink()
    elif fault == "no-csv":
        (data / "Building_2.csv").unlink()
    elif fault == "text":
        (data / "Building_2.csv").write_text(HEADER + "\n0,0,much,0\n" * 3)
    else:
        (data / "Building_2.csv").write_text(HEADER + "\n0,0,1,0" * 30)
    with pytest.raises(ConfigError) as caught:
        load_community(data)
    assert caught.value.code == code


def test_a_day_that_the_data_do_not_hold(tmp_path: Path) -> None:
    data = write_data(tmp_path, [[(1.0, 1.0)] * HOURS * 2])
    with pytest.raises(ConfigError, match="bad-homes"):
        load_community(data, datetime.date(2016, 8, 1))  # there, but not the day before it


def test_the_real_homes() -> None:
    try:
        data = find_homes()
    except ConfigError:
        pytest.skip("citylearn==2.1.2 is not installed")
    community = load_community(data)
    assert community.date == datetime.date(2017, 6, 16)
    assert [home.name for home in community.homes] == [f"home-{number:02d}" for number in range(1, 18)]
    assert sum(sum(home.load_wh) for home in community.homes) == 614_395
    assert sum(sum(home.sun_wh) for home in community.homes) == 426_180
    assert community.exchangeable_wh == 100_664
    assert all(
        0 < home.ev.need_wh <= home.ev.power_w // 2 * (home.ev.departure_slot - home.ev.first_slot)
        for home in community.homes
    )
