"""The company of twelve shops: what is read from the data, what is made of it, and that the ledger takes it."""

import csv
import datetime
import itertools
import json
from pathlib import Path

import pytest

from broker.data.homes import find_homes
from chaincode.budget_contradictions import faults_of
from chaincode.budget_policy import Policy
from node.errors import ConfigError
from node.keyfile import load_key, read_passphrase
from testnet.company_data import COOLING, DATASET, EQUIPMENT, HOT_WATER, HOURS, SUN, YEAR_HOURS, read_buildings
from testnet.company_money import budget_of, policy_of
from testnet.company_month import orders_of
from testnet.company_plan import (
    CHARGERS,
    CLASSES,
    DAYS_BEFORE,
    FIRST_DAY,
    HVAC,
    LEAST_DEVICES,
    LIGHTING,
    MOST_DEVICES,
    Company,
    divided,
    make_company,
    staged,
)
from testnet.company_profiles import PROFILES, Profiles, find_profiles, season
from testnet.company_world import KEYS_NAME, PASSPHRASE_NAME, build_world

DAYS = 2
JUNE = 151
"""Days of a year before June."""


@pytest.fixture(scope="module")
def buildings() -> Path:
    try:
        return find_homes(DATASET)
    except ConfigError:
        pytest.skip("citylearn==2.1.2 is not installed")


@pytest.fixture(scope="module")
def profiles() -> Path:
    try:
        return find_profiles()
    except ConfigError:
        pytest.skip("demandlib==0.2.2 is not installed")


@pytest.fixture(scope="module")
def company(buildings: Path, profiles: Path) -> Company:
    return make_company(buildings, profiles, DAYS)


def test_the_buildings_are_what_the_files_hold(buildings: Path) -> None:
    """June of the data's first year, added up from the files by other means."""
    panels = json.loads((buildings / "schema.json").read_text())["buildings"]
    for building in read_buildings(buildings, FIRST_DAY, 30):
        name = f"Building_{building.number}"
        with (buildings / f"{name}.csv").open(newline="") as file:
            rows = [row for row in itertools.islice(csv.DictReader(file), YEAR_HOURS) if row["Month"] in ("6", "6.0")]
        assert len(rows) == 30 * HOURS == len(building.equipment_wh)
        kw = panels[name].get("pv", {"attributes": {"nominal_power": 0}})["attributes"]["nominal_power"]
        for column, factor, series in (
            (EQUIPMENT, 1000, building.equipment_wh),
            (COOLING, 1000, building.cooling_wh),
            (HOT_WATER, 1000, building.hot_water_wh),
            (SUN, kw, building.sun_wh),
        ):
            assert sum(series) == pytest.approx(sum(factor * float(row[column]) for row in rows), abs=len(rows) / 2)


def test_the_days_of_the_week_are_those_of_2014(buildings: Path) -> None:
    """`Day Type` is 1 on Sundays and 7 on Saturdays, 8 on holidays."""
    with (buildings / "Building_1.csv").open(newline="") as file:
        types = [int(float(row["Day Type"])) for row in itertools.islice(csv.DictReader(file), 0, YEAR_HOURS, HOURS)]
    days = [datetime.date(2014, 1, 1) + datetime.timedelta(days=number) for number in range(365)]
    assert all(kind in (8, day.isoweekday() % 7 + 1) for kind, day in zip(types, days, strict=True))
    assert types.count(8) < 20 and days[JUNE] == FIRST_DAY


@pytest.mark.parametrize(
    ("first", "days"),
    [(datetime.date(2013, 12, 1), 30), (datetime.date(2014, 12, 31), 2), (datetime.date(2016, 2, 29), 1)],
)
def test_days_that_the_data_do_not_hold(buildings: Path, first: datetime.date, days: int) -> None:
    with pytest.raises(ConfigError, match="bad-homes"):
        read_buildings(buildings, first, days)


def test_data_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-homes"):
        read_buildings(tmp_path, FIRST_DAY, 1)
    (tmp_path / "schema.json").write_text(json.dumps({"buildings": {"Building_1": {}}}))
    (tmp_path / "Building_1.csv").write_text(",".join((EQUIPMENT, COOLING, HOT_WATER, SUN)) + "\n1,1,1,1\n")
    with pytest.raises(ConfigError, match="bad-homes"):
        read_buildings(tmp_path, FIRST_DAY, 1)
    with pytest.raises(ConfigError, match="no-profiles"):
        Profiles(tmp_path, 2014)
    (tmp_path / "selp_series.csv").write_text("period,weekday,g0\nsummer,1,0.1\n")
    with pytest.raises(ConfigError, match="bad-profiles"):
        Profiles(tmp_path, 2014)


def test_the_profiles_are_what_demandlib_makes_of_them(profiles: Path) -> None:
    """Sums over June 2014 of `demandlib.bdew.ElecSlp(2014).get_profiles(...)`, in billionths of the year."""
    year = Profiles(profiles, 2014)
    june = {name: sum(year.shares(name, FIRST_DAY, 30)) * 1e9 for name in PROFILES}
    assert june == pytest.approx(
        {
            "g0": 78_080_919.2,
            "g1": 67_793_771.2,
            "g2": 70_888_938.3,
            "g3": 82_959_416.8,
            "g4": 80_129_517.6,
            "g5": 80_391_119.3,
            "g6": 75_187_044.2,
        },
        abs=0.1,
    )
    morning = [share * 1e9 for share in year.shares("g4", FIRST_DAY, 1)[8:12]]
    assert morning == pytest.approx([68_142.45, 64_147.93, 66_572.12, 69_928.7], abs=0.01)
    assert sum(year.shares("g5", datetime.date(2014, 1, 1), 365)) == pytest.approx(1)
    assert sum(year.wh("g5", datetime.date(2014, 1, 1), 365, 1_234)) == 1_234_000


def test_seasons_begin_and_end_on_their_days() -> None:
    turns = {(3, 20): "winter", (3, 21): "transition", (5, 14): "transition", (5, 15): "summer", (9, 14): "summer",
             (9, 15): "transition", (10, 31): "transition", (11, 1): "winter"}  # fmt: skip
    assert {day: season(datetime.date(2014, *day)) for day in turns} == turns


def test_what_is_divided_and_staged_stays_whole() -> None:
    series = (7, 0, 11, 1_000, 3, 2)
    thirds = divided(series, (3, 1))
    assert list(itertools.accumulate(thirds)) == [total // 3 for total in itertools.accumulate(series)]
    assert sum(divided(series, (9, 10))) == sum(series) * 10 // 9
    (units,) = staged([series], 4)
    assert [sum(hour) for hour in zip(*units, strict=True)] == list(series)
    assert [max(unit) for unit in units] == [250] * 4
    assert units[1] == (0, 0, 0, 250, 0, 0), "the second unit runs when the first is full"
    assert staged([series], 0) == ([],)


def test_twelve_shops_with_four_networks_each(company: Company) -> None:
    networks = company.networks
    assert [network.kind for network in networks] == list(CLASSES) * 12
    assert len({network.bus for network in networks}) == 12
    counts = [len(network.devices) for network in networks]
    assert set(counts) == set(range(LEAST_DEVICES, MOST_DEVICES + 1)) and sum(counts) == 384
    for network in company.all_networks:
        assert len({device.id for device in network.devices}) == len(network.devices)
        for device in network.devices:
            assert device.id.startswith(network.id + "/")
            assert (len(device.wh), len(device.before_wh)) == (DAYS * HOURS, DAYS_BEFORE * HOURS)
            import_w, export_w = device.limits_w
            assert -export_w <= min(device.wh) and max(device.wh) <= import_w


def test_hvac_takes_what_the_building_does(company: Company, buildings: Path) -> None:
    """A shop's units and heaters together: cooling divided by 3, hot water by 0.9."""
    for building, network in zip(read_buildings(buildings, FIRST_DAY, DAYS), company.networks[::4], strict=False):
        assert network.kind == HVAC
        taken = {"unit": 0, "water": 0}
        for device in network.devices:
            taken[device.id.rpartition("/")[2].partition("-")[0]] += sum(device.wh)
        assert taken["unit"] == sum(building.cooling_wh) // 3
        assert taken["water"] == sum(building.hot_water_wh) * 10 // 9
        equipment = next(n for n in company.networks if n.bus == network.bus and n.kind == LIGHTING).devices[0]
        assert equipment.wh == building.equipment_wh


def test_policies_do_not_contradict_themselves(company: Company) -> None:
    """What the chain would refuse a policy for, and that fixed amounts do not exceed the budget."""
    for network in company.all_networks:
        policy = policy_of(network, 30, 7 if network.shop == 7 else 0)
        rows = policy.pop("devices")
        assert policy.pop("network") == network.id
        assert faults_of(Policy(**policy), rows) == []
        assert sum(row[5] for row in rows) <= budget_of(network, 30)


def test_orders_are_what_was_taken_on_average(company: Company) -> None:
    charger = next(n for n in company.networks if n.kind == CHARGERS).devices[0]
    orders = orders_of(charger, 1_000, 1)
    assert [order[1] for order in orders] == [1_000 + HOURS + hour for hour in range(9, 17)]
    assert orders[0][:3] == ("buy", 1_033, sum(charger.before_wh[9::HOURS]) // DAYS_BEFORE)
    panels = next(d for n in company.networks for d in n.devices if d.kind == "pv")
    assert {order[0] for order in orders_of(panels, 1_000, 0)} == {"sell"}


def test_the_ledger_takes_the_genesis(company: Company, tmp_path: Path) -> None:
    """Building the world opens a ledger with it; the keys on the disk are those in the world."""
    directory = tmp_path / "company"
    world = build_world(directory, company, time_scale=100, lead_s=1_000)
    assert world.end_slot - world.first_slot == DAYS * HOURS
    passphrase = read_passphrase(directory / PASSPHRASE_NAME) or ""
    for name in ("utility", "shop-03", "shop-03.hvac.meter", "arcade"):
        assert load_key(directory / KEYS_NAME / f"{name}.json", passphrase).public_key == world.keys[name].public_key
    with pytest.raises(ConfigError):
        build_world(directory, company, time_scale=100, lead_s=1_000)
