"""site.toml: what is right is read, and everything wrong is told at once, where it stands."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.site_file import SiteFile, load_site, parse_site, seconds_of_day
from cli.policy_file import Problem
from node.errors import ConfigError

STRATEGIES = ("green", "truthful")
GOOD = f"""\
network = "home-03"
gateways = ["127.0.0.1:7401", "127.0.0.1:7402"]
chain = "{"ab" * 32}"
key_file = "home-03.key.json"
strategy = "green"

[panels]
peak_w = 4000
tilt = 35
latitude = 35.2

[battery]
capacity_wh = 6400

[vehicle]
capacity_wh = 40000
kind = "phev"
leaves = "06:45"
"""


def read(text: str) -> tuple[SiteFile | None, list[Problem]]:
    return parse_site(text.encode(), "site.toml", Path("/somewhere"), STRATEGIES)


def test_a_good_file() -> None:
    site, problems = read(GOOD)
    assert problems == [] and site is not None
    assert (site.network, site.strategy, site.decide_every) == ("home-03", "green", 300)
    assert site.panels is not None and (site.panels.tilt, site.panels.azimuth) == (35.0, 180.0)
    assert site.battery is not None and site.battery.level_wh is None
    assert site.vehicle is not None and site.vehicle.kind == "phev"
    assert site.path("a/b") == Path("/somewhere/a/b")
    assert seconds_of_day(site.vehicle.leaves) == 6 * 3600 + 45 * 60


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("network", "netwrk", ":1:1: unknown-key: there is no 'netwrk' here; did you mean \"network\"?"),
        ('network = "home-03"\n', "", ": missing-key: the file needs network"),
        ("capacity_wh = 6400", 'capacity_wh = "6400"', "13:1: wrong-type: capacity_wh: a whole number"),
        (
            "capacity_wh = 6400",
            "capacity_wh = -5",
            "13:1: out-of-range: capacity_wh is from 1 to 1,000,000,000, not -5",
        ),
        ('strategy = "green"', "first_slot = 10\nend_slot = 5", ":6:1: out-of-range: end_slot is not after first_slot"),
        ("tilt = 35", "tilt = 135", "9:1: out-of-range: tilt is from 0 to 90, not 135"),
        ('"phev"', '"hybrid"', "17:1: wrong-type: kind: one of 'bev', 'phev'"),
        ('"06:45"', '"6:45"', '18:1: out-of-range: leaves is a time of day such as "07:30", UTC'),
        ("green", "gren", "5:1: out-of-range: no strategy is called 'gren'; did you mean \"green\"?"),
        ("7402", "74020000", "2:1: out-of-range: "),
        ("abab", "ABAB", "3:1: out-of-range: a chain's id is 64 hex digits"),
        ("chain =", "genesis = 'g.json'\nchain =", "missing-key: say which network it is"),
        ("[panels]", "[panel]", "7:2: unknown-key: there is no 'panel' here; did you mean \"panels\"?"),
        ("[panels]", "panels = 4\n[load]", "7:1: wrong-type: panels is a table: [panels]"),
        ("[panels]", "[panels", "bad-toml"),
        ("home-03", "home\\xff", "bad-toml"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(old: str, new: str, said: str) -> None:
    site, problems = read(GOOD.replace(old, new, 1))
    assert site is None
    assert any(said in str(problem) for problem in problems), [str(problem) for problem in problems]


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = GOOD.replace("peak_w", "peek_w").replace("6400", "0").replace("06:45", "noon")
    _, problems = read(text)
    assert [(problem.line, problem.code) for problem in problems] == [
        (8, "unknown-key"), (13, "out-of-range"), (18, "out-of-range"),
    ]  # fmt: skip


def test_the_command_names_them_in_one_error(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(GOOD.replace("peak_w", "peek_w").replace("6400", "0"))
    with pytest.raises(ConfigError, match=r"site.toml:8:1: unknown-key.*; .*site.toml:13:1: out-of-range") as caught:
        load_site(tmp_path / "site.toml", STRATEGIES)
    assert caught.value.code == "bad-config"
    with pytest.raises(ConfigError) as missing:
        load_site(tmp_path / "nowhere.toml", STRATEGIES)
    assert missing.value.code == "no-config"


@given(st.text(max_size=200) | st.text(alphabet="abc=[]{}\"'.\n# 1", max_size=200))
def test_no_text_does_more_than_be_wrong(text: str) -> None:
    site, problems = read(text)
    assert site is None and problems
