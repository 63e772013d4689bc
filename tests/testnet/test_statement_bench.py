"""The benchmark of bills, on a day: what is read proven is what is read plainly, and asks the same questions."""

import json

from click.testing import CliRunner

from bench.commands import bench


def test_a_bill_is_the_same_plainly_and_proven() -> None:
    result = CliRunner().invoke(bench, ["statement", "--days", "1", "--homes", "2", "--json"])
    assert result.exit_code == 0, result.output
    early, early_proven, late, late_proven = json.loads(result.stdout)
    for plain, proven in ((early, early_proven), (late, late_proven)):
        for name in ("slots_final", "items", "queries"):
            assert plain[name] == proven[name]
        assert plain["bytes"] < proven["bytes"]
    assert (early["slots_final"], late["slots_final"]) == (0, 48)
    assert late["items"] > 48 * 4 and late["queries"] < early["queries"], "origins are known for good by then"
