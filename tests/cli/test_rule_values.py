"""The market's settings as people type them: every value is read as it is shown, and nothing is rounded."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode.market_products import Settings
from cli.rule_values import FIELDS, change, duration, read_tariffs, seconds, shown
from node.errors import RefusedError


@pytest.mark.parametrize(
    "text",
    ["", "from,retail\n00:00,1\n", "from,retail,feed_in\n24,1,1\n", "from,retail,feed_in\n00:00,dear,1\n",
     "from,retail,feed_in\n00:00,1\n", "from,retail,feed_in\n00:61,1,1\n", "from,retail,feed_in\n0_0:+0,1,1\n",
     "from,retail,feed_in\n00:00,1e-9,1\n", "from,retail,feed_in\n25:00,1,1\n", "from,retail,feed_in\n24:00,1,1\n"],
)  # fmt: skip
def test_a_file_of_tariffs_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tariffs.csv"
    path.write_text(text)
    with pytest.raises(RefusedError, match="bad-tariffs"):
        read_tariffs(path, 9)


def test_tariffs_are_read_as_spreadsheets_save_them(tmp_path: Path) -> None:
    path = tmp_path / "tariffs.csv"
    path.write_bytes(b"\xef\xbb\xbffrom,retail,feed_in\r\n00:00,0.9,0.1\r\n16:30,1,0.2\r\n")
    assert read_tariffs(path, 9) == ((0, 900_000, 100_000), (59_400, 1_000_000, 200_000))


@given(st.integers(0, 400 * 86_400))
def test_times_are_read_as_they_are_shown(number: int) -> None:
    parts = duration(number).split()
    assert sum(seconds(part) for part in parts) == number
    assert change("gate", str(number)).value == number


@given(st.integers(0, 1_000))
def test_shares_are_read_as_they_are_shown(permille: int) -> None:
    text = shown("mix_permille", permille)
    assert change("mix", text).value == permille == int(Decimal(text[:-1]) * 10)


@pytest.mark.parametrize("text", ["1day", "d", "", "-5", "1e3", "10 min"])
def test_what_is_no_time_is_told_how_times_look(text: str) -> None:
    with pytest.raises(ValueError, match="is no time: one is like 600, 600s, 10min, 24h, 7d"):
        seconds(text)


def test_every_setting_but_a_slots_length_has_a_name() -> None:
    assert set(FIELDS.values()) == set(Settings._fields) - {"slot_seconds", "tariffs"}
