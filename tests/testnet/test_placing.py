"""The street's homes on grids of files and of SimBench, without a process."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from node.errors import ConfigError, RefusedError
from testnet.neighbourhood import STREET, build_neighbourhood
from testnet.placing import place_on

TABLE = "root,t\nrate,0.0001\nfrom,to,metres,step,limit_down_w\nt,a,100,,9000\na,b-1,20\na,b-10,20\na,b-2,20\na,c,30\n"


def up(*words: str) -> Result:
    return CliRunner().invoke(main, ["testnet", "up", *words])


def test_the_homes_hang_where_no_line_leads_on(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text(TABLE)
    place = place_on(str(tmp_path / "grid.csv"))
    assert place.buses == ("b-1", "b-2", "b-10")
    contracts = build_neighbourhood(tmp_path / "net", nodes=4, base_port=None, place=place).genesis.contracts
    assert contracts["grid"] == {"root": "t", "rate": 100, "lines": [list(line) for line in place.grid.lines]}
    assert [row[3] for row in contracts["identity"]["networks"]] == list(place.buses)
    assert {row[0]: row[5] for row in contracts["identity"]["devices"]}["home-2/battery"] == "b-2"


def test_a_grid_of_one_bus_holds_them_all(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text("root,t\nfrom,to,metres\n")
    assert place_on(str(tmp_path / "grid.csv")).buses == ("t", "t", "t")


def test_a_network_that_exists_keeps_its_grid(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text(TABLE)
    build_neighbourhood(tmp_path / "net", nodes=4, base_port=None, place=STREET)
    refused = up("--dir", str(tmp_path / "net"), "--grid", str(tmp_path / "grid.csv"))
    assert refused.exit_code == 1 and refused.stderr.startswith("watt: testnet-exists: ")
    assert "on another grid: leave --grid out" in refused.stderr


def test_what_is_no_grid_makes_no_network(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text(TABLE + "c,b-1,5\n")
    refused = up("--dir", str(tmp_path / "net"), "--grid", str(path))
    assert refused.stderr == f"watt: two-parents: {path}:9: line c -> b-1: b-1 already hangs on a\n"
    assert up("--dir", str(tmp_path / "net"), "--grid", "none.csv").stderr.startswith("watt: cannot-read: none.csv: ")
    assert up("--grid", str(path), "--genesis", str(path)).exit_code == 2
    with pytest.raises(RefusedError, match="cannot-read"):
        place_on("")
    assert not (tmp_path / "net").exists()


def test_the_homes_on_the_real_subnet() -> None:
    try:
        place = place_on("simbench")
    except ConfigError:
        pytest.skip("simbench is not installed")
    assert len(place.grid.lines) == 128 and place.buses == ("LV3.101-Bus-1", "LV3.101-Bus-47", "LV3.101-Bus-91")
