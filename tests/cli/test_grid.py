"""`watt admin grid check`, and what it shows of a grid; no node is asked."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from chaincode import grid
from chaincode.grid import LineSettings
from cli.grid import BusView, as_version, dearest_way, views
from cli.grid_file import GridVersion
from cli.main import main
from node.errors import RefusedError

TABLE = """root,t
rate,0.001
from,to,metres,step,limit_down_w,limit_up_w
t,a,10,0.02,5000,
a,b,30,,,
a,c,20,,,4000
"""
VERSION = GridVersion(
    "t", 1_000, (("t", "a", 10, 20_000, 5_000, None), ("a", "b", 30, 0, None, None), ("a", "c", 20, 0, None, 4_000))
)


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["admin", "grid", *words])


def test_a_good_file_is_shown_as_the_ledger_would_see_it(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text(TABLE)
    shown = json.loads(run("check", str(tmp_path / "grid.csv"), "--json").stdout)
    assert shown["dearest"] == {"from": "b", "to": "t", "toll": 60_000}
    assert {name: shown[name] for name in ("root", "rate", "lines", "metres", "depth")} == {
        "root": "t", "rate": 1_000, "lines": 3, "metres": 60, "depth": 2,
    }  # fmt: skip
    assert [BusView(**row) for row in shown["buses"]] == views(VERSION)
    table = run("check", str(tmp_path / "grid.csv"))
    assert table.exit_code == 0 and "3 lines of 60 m below t, at most 2 deep" in table.stdout
    assert "0.0600 tokens per kWh, is from b to t" in table.stderr
    assert json.loads(run("check", str(tmp_path / "grid.csv"), "--json", "--decimals", "6").stdout)["rate"] == 1


def test_a_bad_file_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text(TABLE + "b,c,1,,,\n")
    refused = run("check", str(path))
    assert refused.exit_code == 1 and refused.stdout == ""
    assert refused.stderr == f"watt: two-parents: {path}:7: line b -> c: c already hangs on a\n"
    assert run("check", str(tmp_path / "none.csv")).exit_code == 2
    assert run("show", "--csv", "--json").exit_code == 2
    assert run("feeder-meter", "12", "--key", "k").exit_code == 2


def test_every_bus_as_seen_from_the_root() -> None:
    assert views(VERSION) == [
        BusView("t", None, 0, 0, 0, None, None),
        BusView("a", "t", 1, 10, 30_000, 5_000, None),
        BusView("b", "a", 2, 40, 60_000, None, None),
        BusView("c", "a", 2, 30, 50_000, None, 4_000),
    ]
    assert views(GridVersion("t", 0, ())) == [BusView("t", None, 0, 0, 0, None, None)]


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9), st.integers(0, 9)), max_size=12), st.integers(0, 3))
def test_the_dearest_way_is_the_dearest_of_all(shape: list[tuple[int, int, int]], rate: int) -> None:
    lines: list[LineSettings] = []
    for number, (parent, metres, step) in enumerate(shape, start=1):
        lines.append((f"b{parent % number}", f"b{number}", metres, step, None, None))
    version = GridVersion("b0", rate, tuple(lines))
    tree = grid.check(*version).tree
    up = [0] * len(tree.buses)  # the toll to the root
    ancestors: list[list[int]] = [[0]]
    for bus in range(1, len(tree.buses)):
        up[bus] = up[tree.parent[bus]] + tree.toll[bus]
        ancestors.append([*ancestors[tree.parent[bus]], bus])

    def toll(one: int, other: int) -> int:
        joint = max(bus for bus in ancestors[one] if bus in ancestors[other])
        return up[one] + up[other] - 2 * up[joint]

    one, other, found = dearest_way(version)
    index_of = tree.index_of()
    buses = range(len(tree.buses))
    assert found == toll(index_of[one], index_of[other]) == max(toll(a, b) for a in buses for b in buses)
    assert {row.bus: row.toll for row in views(version)} == dict(zip(tree.buses, up, strict=True))


@pytest.mark.parametrize(
    "answer",
    [
        None,
        (),
        (1, "t", ()),
        (1, "t", 0, (("t", "a", 1),)),
        (1, "t", 0, None),
        (1, "t", 0, (("u", "a", 1, 1, None, None),)),
    ],
)
def test_an_answer_that_is_no_grid(answer: object) -> None:
    with pytest.raises(RefusedError, match="bad-answer"):
        as_version(answer)  # type: ignore[arg-type]
