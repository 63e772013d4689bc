"""The benchmark of budgets, on a few devices: the ledger takes what it does, and every figure is there."""

import json

from click.testing import CliRunner

from bench.commands import bench


def test_it_measures_all_that_budgets_cost() -> None:
    result = CliRunner().invoke(bench, ["budgets", "--devices", "20", "--rollover", "40", "--days", "1", "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.output)
    assert figures["spend"]["spend_us"] > figures["spend"]["hold_us"] > 0
    assert figures["reading"]["devices"] == 20 and figures["reading"]["settle_us"] > 0
    assert [row["donors"] for row in figures["share"]] == [1, 10, 100]
    assert figures["needs"]["devices"] == figures["needs"]["met"] == 20
    assert figures["rollover"]["devices"] == 40 and figures["rollover"]["networks"] == 2
    assert all(figures["ledger"][f"{family}_bytes"] > 0 for family in ("blocks", "index", "state"))
