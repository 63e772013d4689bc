"""The experiment: who takes part where, what its figures are made of, and a page that stands by itself."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from broker.data.homes import load_homes
from node.errors import ConfigError
from testnet.experiment_page import page
from testnet.experiment_result import Figures
from testnet.experiment_table import BEGIN, END, table
from testnet.experiment_table import main as write_table
from testnet.experiment_world import RATE, SHOPS, Community, make_community
from testnet.simbench import find_data, load_subnet
from tests.testnet import experiment_study

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "bench" / "results" / "experiment.json"
DOCS = ROOT / "docs" / "experiment.md"


@pytest.fixture(scope="module")
def community() -> Community:
    try:
        find_data()
        return make_community(load_homes())
    except ConfigError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="module")
def html(community: Community) -> str:
    return page(experiment_study.material(community))


def test_homes_and_shops_hang_where_the_grid_has_panels_and_businesses(community: Community) -> None:
    """Shops at the five buses with a business profile, as large as its peak; every home at a bus with a load."""
    subnet = load_subnet(find_data())
    names = [home.name for home in community.homes.homes]
    assert names == [*(f"home-{n:02}" for n in range(1, 18)), *(f"shop-{n}" for n in range(1, 6))]
    assert set(community.buses) <= set(subnet.load_buses) and len(set(community.buses)) == len(names)
    businesses = {bus: peak_w for bus, profile, peak_w in subnet.loads if profile.startswith("G")}
    peaks = {bus: home.load_wh.max() for bus, home in zip(community.buses, community.homes.homes, strict=True)}
    assert {bus: peaks[bus] for bus in SHOPS} == businesses
    assert set(community.work_buses) == {*SHOPS, ""}
    assert all(len(home.load_wh) == len(home.sun_wh) == community.homes.count for home in community.homes.homes)
    assert all(home.load_wh.min() >= 0 and home.sun_wh.min() >= 0 for home in community.homes.homes)


def test_ways_are_as_long_as_the_lines(community: Community) -> None:
    places, buses = community.places, community.buses
    for one, other in pairwise(buses):
        way = community.metres(one, other)
        assert way == community.metres(other, one) <= places[one].metres + places[other].metres
        if places[one].feeder != places[other].feeder:
            assert way == places[one].metres + places[other].metres
    assert community.metres(buses[0], buses[0]) == 0
    assert community.grid.rate == RATE
    assert {place.feeder for place in places.values()} - {""} == {
        child for parent, child, *_ in community.grid.lines if parent == community.transformer
    }


def test_a_week_does_not_do(community: Community) -> None:
    homes = load_homes()
    with pytest.raises(ConfigError, match="whole year of the data set's homes") as refused:
        make_community(homes.part(homes.first_slot + 24, 24))
    assert refused.value.code == "bad-homes"


def test_figures_are_of_all_runs(community: Community) -> None:
    """Seeds spread, seasons add up, and the optimum is what the share of it says."""
    material = experiment_study.material(community)
    year, runs = material.figures.year, material.year.runs
    changes = [run.mean_bill_change_pct for run in runs]
    assert year.seeds == 3 and year.days == experiment_study.DAYS
    assert year.bill_pct.least == pytest.approx(min(changes), abs=0.01)
    assert year.bill_pct.largest == pytest.approx(max(changes), abs=0.01)
    assert year.optimum_bill_pct == pytest.approx(-25, abs=0.01)
    assert year.share_of_foresight_pct == pytest.approx(-100 * year.bill_pct.mean / 25, abs=0.2)
    assert (year.co2_pct, year.optimum_co2_pct) == (-10.0, -20.0)
    weeks = material.figures.strategies[0]
    assert weeks.days == 2 * experiment_study.DAYS and weeks.traded_kwh == 80.0
    assert weeks.feeder_pct is not None and weeks.feeder_pct > 100  # each bus there buys what it sells


def test_the_fullest_line_is_found(community: Community) -> None:
    material = experiment_study.material(community)
    largest = max(
        flow / limit
        for named in material.variants[:1]
        for run in named.results
        for line in run.lines
        for flow, limit in ((line.largest_down_wh, line.limit_down_wh), (line.largest_up_wh, line.limit_up_wh))
        if limit
    )
    assert material.figures.variants[0].line_pct == pytest.approx(100 * largest, abs=0.01)


class Elements(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else(html: str) -> None:
    """No script, no file, no address that a browser would fetch."""
    tags = Elements(html).tags
    assert not {"script", "link", "iframe", "object", "audio", "video", "embed"} & {tag for tag, _ in tags}
    for tag, attributes in tags:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "data", "poster"):
                assert (value or "").startswith(("#", "data:")), (tag, name, value)
            assert not name.startswith("on"), (tag, name)
    assert "@import" not in html and not re.search(r"url\((?!#|data:)", html)


def test_every_chart_says_what_it_shows(html: str) -> None:
    figures = re.findall(r"<figure>(.*?)</figure>", html, flags=re.DOTALL)
    assert len(figures) >= 12
    for figure in figures:
        title, says = re.findall(r"<h3>(.*?)</h3><p>(.*?)</p>", figure, flags=re.DOTALL)[0]
        assert title and says.endswith("."), title
        assert figure.count('role="img"') == 1
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)


def test_the_page_says_what_is_late(community: Community) -> None:
    good, late = (page(experiment_study.material(community, late=late)) for late in (0, 3))
    assert "44 of 44" in good and "No order missed its auction" in good
    assert "42 of 44" in late and "6 of 192 groups of orders" in late
    assert "busy machine: 6 of 192 orders late; bills differ for that reason" in late and "busy machine" not in good
    assert all("2 of 2" in each and "chains with one state root" in each for each in (good, late))


def test_short_rows_are_called_noise(community: Community, html: str) -> None:
    """Where a season is two days; not where it is a week."""
    figures = experiment_study.material(community).figures
    assert figures.noise_words.startswith("Rows of 2 days are noise") and figures.noise_words in html
    assert figures.noise_words in table(figures).split("| ---")[0]
    week = tuple(msgspec.structs.replace(case, days=7) for case in (figures.year, *figures.seasons))
    whole = msgspec.structs.replace(figures, year=week[0], seasons=week[1:])
    assert not whole.noise_words and "noise" not in table(whole)


def test_the_same_figures_make_the_same_page(community: Community, html: str) -> None:
    assert page(experiment_study.material(community)) == html


def test_the_table_in_the_documentation_is_that_of_the_run() -> None:
    if not RESULT.exists():
        pytest.skip("`make experiment` has not been run yet")
    figures = msgspec.json.decode(RESULT.read_bytes(), type=Figures)
    assert table(figures) in DOCS.read_text("utf-8")


def test_the_documentation_has_a_place_for_the_table(community: Community, tmp_path: Path) -> None:
    """What `make experiment` does at its end: nothing but the figures changes in the page."""
    figures, page_ = tmp_path / "experiment.json", tmp_path / "experiment.md"
    made = experiment_study.material(community).figures
    figures.write_bytes(msgspec.json.encode(made))
    old = DOCS.read_text("utf-8")
    page_.write_text(old, "utf-8")
    write_table(figures, page_)
    new = page_.read_text("utf-8")
    assert old.count(BEGIN) == old.count(END) == new.count(BEGIN) == new.count(END) == 1 and table(made) in new
    assert new.partition(BEGIN)[0] == old.partition(BEGIN)[0] and new.partition(END)[2] == old.partition(END)[2]


def test_a_new_table_takes_the_place_of_the_old(community: Community, tmp_path: Path) -> None:
    figures = experiment_study.material(community).figures
    file, page_ = tmp_path / "figures.json", tmp_path / "page.md"
    file.write_bytes(msgspec.json.encode(figures))
    page_.write_text(f"before\n{BEGIN}old\n{END}\nafter\n")
    for _ in range(2):
        write_table(file, page_)
    assert page_.read_text() == f"before\n{BEGIN}\n{table(figures)}\n{END}\nafter\n"
