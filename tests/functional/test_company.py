"""`watt testnet company` for a day, on four real nodes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from broker.data.homes import find_homes
from cli.main import main
from node.errors import ConfigError
from testnet.company_data import DATASET, HOURS
from testnet.company_profiles import find_profiles
from testnet.genesis import load_network


@pytest.mark.timeout(200)
def test_a_company_lives_for_a_day(tmp_path: Path) -> None:
    """Budgets are issued, assigned, allocated, spent, shared, sold and carried over, every Wh of the data is settled,
    and all books add up: the command fails otherwise."""
    try:
        find_homes(DATASET)
        find_profiles()
    except ConfigError:
        pytest.skip("the company's data are not installed")
    directory = tmp_path / "company"
    done = CliRunner().invoke(
        main, ["testnet", "company", "--days", "1", "--day-seconds", "20", "--json", "--dir", str(directory)]
    )
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == json.loads((directory / "report.json").read_text())
    assert report["readings"] == 388 * HOURS and report["refused"] == report["refused_readings"] == {}
    assert report["chain"]["agree"] and report["chain"]["nodes"] == len(load_network(directory).nodes) == 4
    books = [network["books"] for network in report["networks"].values()]
    for column in ("spent", "earned", "carried_out", "returned", "redeemed", "sold"):
        assert sum(book[column] for book in books) > 0, column
    assert {sale["state"] for sale in report["sales"]} == {"paid", "standing"}
    for device in report["worst"]:
        assert device["used"] > device["budget"] and device["givers"]
        assert all(proof["height"] for alert in device["alerts"] for proof in alert["evidence"])
    again = CliRunner().invoke(main, ["testnet", "company", "--days", "1", "--dir", str(directory)])
    assert again.exit_code != 0 and "company-exists" in again.stderr
