"""A grid out of SimBench's files: small ones of the same form, and where it is installed the real subnet."""

import datetime
from pathlib import Path

import pytest

from chaincode import grid
from node.errors import ConfigError
from testnet.simbench import RATE, STEP, find_data, load_profiles, load_subnet, natural

FILES = {
    "Node": """id;type;vmR;subnet
MV Bus 7;busbar;20;MV
MV Bus 7_1;auxiliary;20;MV
Bus 1;busbar;0.4;LV
Bus 1_1;auxiliary;0.4;LV
Bus 2;busbar;0.4;LV
Bus 10;busbar;0.4;LV
Bus 10_1;auxiliary;0.4;LV
Bus 10_2;auxiliary;0.4;LV
Bus 11;busbar;0.4;LV
Elsewhere;busbar;0.4;LV2
""",
    "Switch": """id;nodeA;nodeB;type;cond;subnet
S1;MV Bus 7;MV Bus 7_1;CB;1;LV
S2;Bus 1;Bus 1_1;LS;1;LV
S3;Bus 10;Bus 10_1;LS;1;LV
S4;Bus 10_1;Bus 10_2;LS;1;LV
S5;Bus 10_2;Bus 11;LS;0;LV
S6;Bus 2;Elsewhere;LS;1;LV2
""",
    "Line": """id;nodeA;nodeB;type;length;loadingMax;subnet
L1;Bus 10_1;Bus 1_1;thin;0.0126;100;LV
L2;Bus 1;Bus 2;thick;0.3;50;LV
L3;Bus 11;Bus 2;thick;0.0004;100;LV
L4;Elsewhere;Bus 2;thick;1;100;LV2
""",
    "LineType": "id;r;iMax\nthin;1;270\nthick;1;100.5\n",
    "Transformer": "id;nodeHV;nodeLV;type;loadingMax;subnet\nT1;MV Bus 7_1;Bus 1;T;80;LV\n",
    "TransformerType": "id;sR\nT;0.25\n",
    "Load": "id;node;profile;pLoad;subnet\nA;Bus 10;H0-A;0.0035;LV\nB;Bus 2;H0-B;0.002;LV\nC;Bus 2;H0-A;1;LV\n"
    "D;Elsewhere;H0-A;1;LV2\n",
}


def write_data(directory: Path, *changes: tuple[str, str, str]) -> Path:
    """The files; each change: in this table, this text for that."""
    texts = dict(FILES)
    for table, old, new in changes:
        assert old in texts[table]
        texts[table] = texts[table].replace(old, new)
    for table, text in texts.items():
        (directory / f"{table}.csv").write_text(text)
    return directory


def refusal(directory: Path, subnet: str = "LV") -> str:
    with pytest.raises(ConfigError) as caught:
        load_subnet(directory, subnet)
    return f"{caught.value.code}: {caught.value.message}"


def test_nodes_that_closed_switches_join_are_one_bus(tmp_path: Path) -> None:
    subnet = load_subnet(write_data(tmp_path), "LV")
    assert subnet.version == (
        "MV-Bus-7",
        RATE,
        (
            ("MV-Bus-7", "Bus-1", 0, STEP, 200_000, 200_000),
            ("Bus-1", "Bus-2", 300, 0, 34_814, 34_814),  # sqrt(3) x 400 V x 100.5 A x 50 %, rounded down
            ("Bus-1", "Bus-10", 13, 0, 187_061, 187_061),
            ("Bus-2", "Bus-11", 0, 0, 69_628, 69_628),
        ),
    )
    assert subnet.load_buses == ("Bus-2", "Bus-10")
    assert subnet.loads == (("Bus-10", "H0-A", 3_500), ("Bus-2", "H0-B", 2_000), ("Bus-2", "H0-A", 1_000_000))


def test_the_order_of_lines_and_ends_changes_nothing(tmp_path: Path) -> None:
    as_it_is = load_subnet(write_data(tmp_path), "LV")
    head, *rows = FILES["Line"].splitlines()
    turned = ["{0};{2};{1};{3};{4};{5};{6}".format(*row.split(";")) for row in reversed(rows)]
    assert load_subnet(write_data(tmp_path, ("Line", FILES["Line"], "\n".join([head, *turned]))), "LV") == as_it_is


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("Switch", "LS;0;LV", "LS;1;LV"), "cyclic-grid: L3 closes a ring: Bus-10 and Bus-2 are joined already"),
        (("Line", "L1;Bus 10_1;Bus 1_1", "L1;Bus 10_1;Bus 10_2"), "cyclic-grid: L1 closes a ring"),
        (("Line", "L2;Bus 1;Bus 2", "L2;Bus 11;Elsewhere"), "disconnected-grid: L2: nothing leads from MV-Bus-7 to"),
        (("Line", "0.0126", "-0.0126"), "bad-metres: subnet LV: line Bus-1 -> Bus-10: "),
        (("LineType", "270", "-270"), "bad-simbench: "),
        (("LineType", "270", "Infinity"), "bad-simbench: "),
        (("TransformerType", "0.25", "-0.25"), "bad-limit: subnet LV: line MV-Bus-7 -> Bus-1: "),
        (("LineType", "thin", "thinner"), "bad-simbench: "),
        (("Line", "0.0126", "far"), "bad-simbench: "),
        (("Line", ";length", ";width"), "bad-simbench: "),
        (("Transformer", "T1;", "T0;MV Bus 7;Bus 2;T;100;LV\nT1;"), "bad-simbench: subnet LV has 2 transformers"),
        (("Node", "Bus 2;", "Bus\u00e4;"), "bad-simbench: "),
    ],
)
def test_what_is_no_radial_grid(tmp_path: Path, change: tuple[str, str, str], told: str) -> None:
    assert refusal(write_data(tmp_path, change)).startswith(told)


def test_files_and_subnets_that_are_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith("no-simbench: ")
    assert refusal(write_data(tmp_path), "LV9").startswith("bad-simbench: subnet LV9 has 0 transformers")


def test_profiles_are_half_hours_of_whole_days(tmp_path: Path) -> None:
    day, second = datetime.date(2016, 5, 16), datetime.timedelta(days=1)
    rows = [
        f"{day + number * second:%d.%m.%Y} {quarter // 4:02}:{quarter % 4 * 15:02};{quarter};{number}"
        for number in range(3)
        for quarter in range(96)
    ]
    (tmp_path / "LoadProfile.csv").write_text("\n".join(["time;A_pload;B_pload", *rows]))
    profiles = load_profiles(tmp_path, "LoadProfile", ["B_pload", "A_pload"], day + second, 2)
    assert profiles == {
        "A_pload": tuple(2 * half + 0.5 for half in range(48)) * 2,
        "B_pload": (1.0,) * 48 + (2.0,) * 48,
    }
    for name, first, days in (("A_pload", day, 4), ("A_pload", day - second, 1), ("C_pload", day, 1)):
        with pytest.raises(ConfigError, match="bad-simbench"):
            load_profiles(tmp_path, "LoadProfile", [name], first, days)
    with pytest.raises(ConfigError, match="no-simbench"):
        load_profiles(tmp_path, "RESProfile", ["A"], day, 1)


def test_names_sort_as_people_count() -> None:
    assert sorted(["Bus 10", "Bus 9", "Bus 9_1", "Bus"], key=natural) == ["Bus", "Bus 9", "Bus 9_1", "Bus 10"]


def test_the_real_subnet() -> None:
    """Lines and closed switches of LV3.101 are a tree over 118 load buses."""
    try:
        data = find_data()
    except ConfigError:
        pytest.skip("simbench is not installed")
    subnet = load_subnet(data)
    root, rate, lines = subnet.version
    assert (root, rate, len(lines), len(subnet.loads), len(subnet.load_buses)) == ("MV1.101-Bus-12", 200, 128, 118, 118)
    assert lines[0] == ("MV1.101-Bus-12", "LV3.101-Bus-16", 0, STEP, 400_000, 400_000)
    assert {limits for *_, limits, _ in lines[1:]} == {187_061} and sum(line[2] for line in lines) == 2_353
    tree = grid.check(*subnet.version).tree
    assert len(tree.buses) == 129 and set(subnet.load_buses) <= set(tree.buses)
    week = load_profiles(data, "LoadProfile", ["H0-A_pload"], datetime.date(2016, 5, 16), 7)["H0-A_pload"]
    sun = load_profiles(data, "RESProfile", ["PV1"], datetime.date(2016, 5, 16), 7)["PV1"]
    assert len(week) == len(sun) == 7 * 48 and 0 < max(week) <= 1 and 0 < max(sun) <= 1 and min(*week, *sun) >= 0
