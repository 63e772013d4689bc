"""`watt broker forecast` measures what it says it measures, on the homes' own data."""

import datetime
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from broker.data.homes import Homes, load_homes
from broker.forecast import forecast_command
from broker.forecast.baselines import Baseline
from broker.forecast.evaluate import Skill, evaluate, series_of, weather_of
from broker.forecast.prior import StandardLoad


@pytest.fixture(scope="module")
def autumn() -> Homes:
    """August to 1 December: of the months tried November alone."""
    return load_homes().between(datetime.date(2016, 8, 1), 123).only(2)


def test_the_skill_of_a_baseline_is_what_a_hand_calculation_gives(autumn: Homes) -> None:
    home = autumn.homes[0]
    skills = {skill.method: skill for skill in evaluate(autumn, home, "load")}
    series, _ = series_of(autumn, home, "load")
    firsts = np.arange(autumn.slot_of(datetime.date(2016, 11, 1)), autumn.slot_of(datetime.date(2016, 12, 1)))

    said = Baseline("week-mean", StandardLoad()).predict(series, firsts, 24)

    past = home.load_wh[: firsts[0] - autumn.first_slot]
    scale = np.abs(past[24:] - past[:-24]).mean()

    for lead, name in ((0, "hour"), (23, "day")):
        real = home.load_wh[firsts + lead - autumn.first_slot]
        before = home.load_wh[firsts + lead - 24 - autumn.first_slot]
        error = np.abs((said[:, lead, 4] + said[:, lead, 5]) / 2 - real).mean()
        relative = error / np.abs(before - real).mean()
        assert getattr(skills["week-mean"], f"relative_mae_{name}") == pytest.approx(relative)
        assert getattr(skills["week-mean"], f"mase_{name}") == pytest.approx(error / scale)
    assert skills["chosen"].relative_mae_hour < skills["week-mean"].relative_mae_hour
    assert skills["chosen"].mase_hour < skills["week-mean"].mase_hour
    assert skills["chosen"].relative_mae_day < 1
    assert {skill.month for skill in skills.values()} == {"2016-11"}


def test_predictions_of_the_data_set_are_the_truth(autumn: Homes) -> None:
    """They would be a leak: what had been predicted six hours before is exactly what came, for the whole year."""
    year = load_homes().weather
    assert year is not None
    for name in ("temperature_c", "humidity_pct", "diffuse_w_m2", "direct_w_m2"):
        for hours in (6, 12, 24):
            np.testing.assert_array_equal(year[f"{name}_{hours}h"][:-hours], year[name][hours:])
    weather = weather_of(autumn)
    assert weather is not None and autumn.weather is not None
    for variable, name in enumerate(("temperature_c", "diffuse_w_m2", "direct_w_m2")):
        for place, hours in ((1, 6), (2, 12), (3, 24)):
            np.testing.assert_array_equal(weather.values[:-hours, place, variable], autumn.weather[name][hours:])
    assert weather_of(replace(autumn, weather=None)) is None


def test_the_command_prints_rows_or_tables(autumn: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_command, "load_homes", lambda: autumn)
    run = CliRunner().invoke(forecast_command.forecast, ["--home", "home-02", "--json"])
    assert run.exit_code == 0, run.output
    answer = json.loads(run.output)
    assert {row["home"] for row in answer["rows"]} == {"home-02"}
    methods = {"yesterday", "last-week", "week-mean", "ridge", "boosting", "combination", "blend", "chosen"}
    for kind in ("load", "sun"):
        rows = [row for row in answer["rows"] if row["series"] == kind]
        assert {row["method"] for row in rows} == methods
        assert all(0 < row["relative_mae_hour"] < 3 and 0 < row["mase_hour"] < 3 for row in rows)
        assert all(row["pinball_day"] > 0 and 0 < row["band_80"] <= 1 for row in rows)
    assert answer["weather"] is False and answer["seconds"]["predict"] > 0
    assert len(answer["means"]) == 16

    monkeypatch.setattr(
        forecast_command, "measure", lambda *_: ([Skill(**r) for r in answer["rows"]], answer["seconds"])
    )
    run = CliRunner().invoke(forecast_command.forecast, ["--home", "home-02"])
    assert run.exit_code == 0, run.output
    assert "load: what was chosen, by month" in run.output and "2016-11" in run.output
    chosen = next(row for row in answer["means"] if row["series"] == "sun" and row["method"] == "chosen")
    assert all(f"{chosen[name]:.3f}" in run.output for name in ("relative_mae_hour", "mase_hour", "mase_day"))


def test_a_home_that_is_not_there_is_refused() -> None:
    run = CliRunner().invoke(forecast_command.forecast, ["--home", "home-99"])
    assert run.exit_code == 1 and "no-such-home" in run.output


def test_baselines_and_ridge_do_without_scikit_learn_and_pvlib() -> None:
    code = (
        "import sys, broker.commands, broker.forecast.baselines, broker.forecast.sun\n"
        "from broker.forecast.choose import Chooser; from broker.forecast.prior import StandardLoad\n"
        "Chooser('load', StandardLoad(), boosted=False)\n"
        "assert not {'sklearn', 'pvlib', 'pandas'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
