"""A stranger's homes: what is read, and what is refused with which words."""

import datetime
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.data.homes_file import COLUMNS, MAX_FILE_BYTES, read_homes_file
from node.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "docs" / "homes-example.csv"
HEADER = "home,slot,load_wh,sun_wh,price\n"
TWO = (
    HEADER
    + "elm-1,2024-05-01T00:00Z,312,0,0.21\n"
    + "elm-2,2024-05-01T00:00Z,100,5,0.21\n"
    + "elm-1,2024-05-01T01:00Z,300,0,0.215\n"
    + "elm-2,2024-05-01T01:00Z,90.6,700,0.215\n"
)


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "homes.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_example_is_read() -> None:
    homes = read_homes_file(EXAMPLE)
    assert [home.name for home in homes.homes] == ["elm-1", "elm-2", "elm-3"]
    assert (homes.count, homes.slot_seconds) == (240, 3600)
    assert homes.slot_of(datetime.date(2024, 5, 1)) == homes.first_slot
    first, second, _ = homes.homes
    assert first.battery is not None and first.battery.capacity_wh == 8_000 and first.battery.charge_w == 4_000
    assert first.panels_w == int(first.sun_wh.max())
    assert second.battery is None and second.panels_w == 0
    assert second.site("elm-2", 3600).devices == ("elm-2/load",)
    assert set(np.unique(homes.retail)) == {210_000, 320_000}
    assert set(np.unique(homes.feed_in)) == {80_000}


def test_figures_are_rounded_and_a_missing_feed_in_is_assumed(tmp_path: Path) -> None:
    homes = read_homes_file(write(tmp_path, TWO))
    assert list(homes.homes[1].load_wh) == [100, 91]
    assert list(homes.retail) == [210_000, 215_000]
    assert list(homes.feed_in) == [80_000, 80_000]


@pytest.mark.parametrize("change", ["bom", "crlf", "order", "numbers", "comments", "offset", "quarters", "columns"])
def test_files_as_programs_write_them(tmp_path: Path, change: str) -> None:
    lines = TWO.splitlines(keepends=True)
    other = {
        "bom": b"\xef\xbb\xbf" + TWO.encode(),
        "crlf": TWO.replace("\n", "\r\n").encode(),
        "order": "".join([lines[0], *reversed(lines[1:])]).encode(),
        "numbers": TWO.replace("2024-05-01T00:00Z", "476256").replace("2024-05-01T01:00Z", "476257").encode(),
        "comments": ("# of ours\n\n" + "".join(lines[:2]) + "\n# more\n" + "".join(lines[2:])).encode(),
        "offset": TWO.replace("T00:00Z", "T02:00+02:00").replace("T01:00Z", " 01:00").encode(),
        "quarters": TWO.replace("T01:00", "T00:15").encode(),
        "columns": "".join([",".join(reversed(line.strip().split(","))) + "\n" for line in lines]).encode(),
    }[change]
    homes = read_homes_file(write(tmp_path, other))
    by_name = {home.name: home for home in homes.homes}
    assert list(by_name["elm-1"].load_wh) == [312, 300]
    assert list(by_name["elm-2"].sun_wh) == [5, 700]
    assert homes.slot_seconds == (900 if change == "quarters" else 3600)
    assert homes.first_slot * homes.slot_seconds == 476256 * 3600


def test_one_home_is_enough(tmp_path: Path) -> None:
    homes = read_homes_file(write(tmp_path, HEADER + "only,10,1,0,0.2\nonly,11,2,0,0.2\n"))
    assert [home.name for home in homes.homes] == ["only"]


ROW = "elm-1,2024-05-01T00:00Z,312,0,0.21\n"
NEXT = "elm-1,2024-05-01T01:00Z,312,0,0.21\n"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "no-homes", "homes.csv: the file is empty"),
        (HEADER, "no-homes", "homes.csv: there is no row"),
        ("home,slot,load_wh,price\n", "missing-column", ":1: there is no column sun_wh"),
        ("home;slot;load_wh;sun_wh;price\n", "unknown-column", "the separator is a comma"),
        (HEADER.replace("price", "prize"), "unknown-column", ":1: 'prize' is none of"),
        (HEADER.strip() + ",home\n", "duplicate-column", ":1: home stands there twice"),
        (HEADER + ROW.replace("312", "-312"), "bad-number", ":2: column load_wh: '-312' is no number"),
        (HEADER + ROW + NEXT.replace(",0,", ",nan,"), "bad-number", ":3: column sun_wh: 'nan'"),
        (HEADER + ROW.replace("312", "a lot"), "bad-number", ":2: column load_wh: 'a lot'"),
        (HEADER + ROW.replace("312", ""), "bad-number", ":2: column load_wh: ''"),
        (HEADER + ROW.replace("312", "1e300"), "bad-number", ":2: column load_wh"),
        (HEADER + ROW.replace("312", "100000001"), "bad-number", "more than 100000000 Wh"),
        (HEADER + ROW.replace("312", "9" * 5_000), "bad-number", ":2: column load_wh"),
        (HEADER + ROW.replace("0.21", "-0.01"), "bad-number", ":2: column price: '-0.01'"),
        (HEADER + ROW.replace("0.21", "1000.5"), "bad-price", ":2: column price: more than"),
        ("feed_in," + HEADER + "0.3," + ROW, "bad-price", ":2: column feed_in: more than the price"),
        (HEADER + ROW.replace("elm-1", "Elm 1"), "bad-name", ":2: column home: 'Elm 1'"),
        (HEADER + ROW.replace("2024-05-01T00:00Z", "yesterday"), "bad-slot", ":2: column slot: 'yesterday'"),
        (HEADER + ROW.replace("2024-05-01T00:00Z", "-5"), "bad-slot", ":2: column slot: '-5'"),
        (HEADER + ROW.replace("2024", "1924"), "bad-slot", ":2: column slot"),
        (HEADER + ROW.replace("2024-05-01T00:00Z", "9" * 12), "bad-slot", ":2: column slot"),
        (HEADER + ROW + NEXT.replace("2024-05-01T01:00Z", "7"), "bad-slot", ":3: column slot: '7': all"),
        (HEADER + ROW + ROW, "duplicate-slot", ":3: elm-1 has slot 476256 in line 2 already"),
        (
            HEADER + ROW + NEXT + ROW.replace("T00", "T04"),
            "missing-slot",
            ":4: before it elm-1 lacks slot 476258 (2024-05-01T02:00Z)",
        ),
        (HEADER + ROW + NEXT + ROW.replace("T00:00", "T02:10"), "uneven-slots", ":4: column slot"),
        (HEADER + ROW + ROW.replace("T00:00", "T00:07"), "uneven-slots", "slots of 420 s"),
        ("slot_seconds," + HEADER + "7000," + ROW, "uneven-slots", "slots of 7000 s"),
        ("slot_seconds," + HEADER + "86400," + ROW, "uneven-slots", "slots of 86400 s"),
        (HEADER + ROW + NEXT + ROW.replace("elm-1", "elm-2"), "different-spans", "elm-1 has slots 476256 to 476257"),
        (
            HEADER + ROW + ROW.replace("elm-1", "elm-2").replace("0.21", "0.22"),
            "different-prices",
            ":3: column price: another home",
        ),
        ("battery_wh,battery_w," + HEADER + "9,9," + ROW + "9,8," + NEXT, "changing-column", ":3: battery_wh"),
        ("battery_wh,battery_w," + HEADER + "9,," + ROW, "bad-number", ":2: columns battery_wh and battery_w"),
        (HEADER + "elm-1,1\n", "bad-csv", ":2: 2 cells, the header has 5"),
        (HEADER + '"elm-1,1,1,1,1\n', "bad-csv", ":2: "),
        (HEADER.encode() + b"elm-1,\xff\xfe,1,1,1\n", "bad-csv", "not UTF-8"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_column(tmp_path: Path, text: str | bytes, code: str, said: str) -> None:
    """Checklist 6: a stranger's file that is wrong is refused with a place and a stable code."""
    with pytest.raises(ConfigError) as caught:
        read_homes_file(write(tmp_path, text))
    assert caught.value.code == code
    assert said in caught.value.message
    assert len(caught.value.message) < 400 + len(str(tmp_path))


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_homes_file(tmp_path / "nowhere.csv")
    assert caught.value.code == "cannot-read"
    path = tmp_path / "large.csv"
    path.touch()
    os.truncate(path, MAX_FILE_BYTES + 1)  # sparse: it takes no room
    with pytest.raises(ConfigError) as caught:
        read_homes_file(path)
    assert caught.value.code == "too-large"


def test_every_code_and_column_is_in_the_documentation() -> None:
    page = (EXAMPLE.parent / "homes-file.md").read_text()
    source = (EXAMPLE.parents[1] / "broker" / "data" / "homes_file.py").read_text()
    promised = source.split("Raises ConfigError: ")[1].split('"""')[0].replace("\n", " ").strip(" .")
    for name in [*COLUMNS, *[code.strip() for code in promised.split(",")]]:
        assert f"`{name}`" in page, name


def test_a_large_file_is_read_in_reasonable_time(tmp_path: Path) -> None:
    """A fiftieth of the largest: what a row takes does not depend on how many there are."""
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    times = [(start + datetime.timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%MZ") for hour in range(5_000)]
    rows = [f"home-{home},{at},{home * 7 + place % 90},{place % 300},0.{20 + place % 9}\n"
            for home in range(10) for place, at in enumerate(times)]  # fmt: skip
    path = write(tmp_path, HEADER + "".join(rows))
    began = time.process_time()
    homes = read_homes_file(path)
    took = time.process_time() - began
    assert homes.count == 5_000 and len(homes.homes) == 10
    assert took < 3, f"{took:.1f} s for {path.stat().st_size} bytes"


@settings(max_examples=200, deadline=None)
@given(noise=st.text(alphabet=st.characters(codec="utf-8"), max_size=200), at=st.integers(0, len(TWO)))
def test_whatever_stands_in_a_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: str, at: int
) -> None:
    path = write(tmp_path_factory.getbasetemp(), TWO[:at] + noise + TWO[at:])
    try:
        homes = read_homes_file(path)
    except ConfigError as error:
        assert "\n" not in error.message
    else:
        assert homes.count >= 1 and all(len(home.load_wh) == homes.count for home in homes.homes)
