"""The figures that docs/vehicles.md tells: that they are figures, that the seed makes them, and what the range does."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from broker.vehicles.evaluate import METHODS, SHORTAGE_PRICES, Year, evaluate
from broker.vehicles.fleet import MAKES
from broker.vehicles.hold import hold
from broker.vehicles.vehicles_command import vehicles
from cli import output


@pytest.fixture(scope="module")
def years() -> list[Year]:
    return evaluate((1, 2), ("phev-25", "bev-400"), days=120)


def mean(years: list[Year], make: str, method: str, field: str) -> float:
    return float(np.mean([getattr(year.scores[method], field) for year in years if year.make == make]))


def test_the_range_matters_where_trips_exceed_it(years: list[Year]) -> None:
    """A forecast that knows no range expects too much of a hybrid that goes 25 km, and bids too much where fuel is
    dear. The mean of what was metered knows the range, but no quantile."""
    aware, blind, metered = METHODS[:3]
    for field in ("mean_mae_wh", "dear_cost"):
        assert mean(years, "phev-25", aware, field) < 0.8 * mean(years, "phev-25", blind, field), field
    assert mean(years, "phev-25", blind, "mean_error_wh") > 1_000
    for make in ("phev-25", "bev-400"):
        assert mean(years, make, aware, "cost") < mean(years, make, metered, "cost")
        assert mean(years, make, aware, "mae_wh") < mean(years, make, metered, "mae_wh")


def test_the_range_cannot_matter_where_no_trip_exceeds_it(years: list[Year]) -> None:
    short = [year for year in years if year.make == "bev-400" and year.beyond_permille == 0]
    for year in short:
        assert year.scores["range-aware"] == year.scores["range-blind"]
    assert any(year.beyond_permille > 100 for year in years if year.make == "phev-25")


def test_the_same_seed_gives_the_same_figures(years: list[Year]) -> None:
    again = evaluate((2,), ("phev-25",), days=120)
    assert again == [year for year in years if year.make == "phev-25" and year.seed == 2]
    assert set(SHORTAGE_PRICES) == {make.kind for make in MAKES.values()}


def test_what_the_outlook_asks_for_is_enough_for_nearly_all_that_is_driven() -> None:
    held = hold("bev-250", 1, days=28)
    assert held.short_wh < 0.15 * held.wanted_wh
    assert held.level_wh < held.full_level_wh
    assert held.full_short_wh <= held.short_wh


def test_the_command_prints_a_table_and_json() -> None:
    table = CliRunner().invoke(vehicles, ["--seeds", "1", "--days", "28"])
    assert table.exit_code == 0, table.output
    assert "range-blind" in table.output and "bev-400" in table.output
    answer = json.loads(CliRunner().invoke(vehicles, ["--seeds", "1", "--days", "28", "--json"]).output)
    assert len(answer["forecast"]) == len(MAKES) * len(METHODS) and len(answer["ready"]) == len(MAKES)
    assert {"known", "new", "need_wh", "method", "make"} <= set(answer["forecast"][0])
    assert set(answer["forecast"][0]["known"]["dear_cost"]) == {"mean", "spread"}
    assert CliRunner().invoke(vehicles, ["--seeds", "0"]).exit_code == 2


def test_on_a_narrow_terminal_no_word_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns the figures that matter stay, and what is left out is named."""
    monkeypatch.setattr(output, "PIPE_WIDTH", 80)
    lines = CliRunner().invoke(vehicles, ["--seeds", "1", "--days", "28"]).output.splitlines()
    heads = [line for line in lines if line.startswith("make")]
    assert len(heads) == 2 and all(len(line) <= 80 for line in heads)
    assert "method" in heads[0] and "error of median" in heads[0]
    assert sum("a wider terminal" in line for line in lines) == 1
