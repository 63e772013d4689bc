"""What a broker keeps on disk and reads there: journal, readings, histories and the state file, damaged or not."""

import logging
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import journal as journals
from broker.journal import Journal, entries, files_of
from broker.measured import Earlier, Measured, read_history
from broker.setpoints import Setpoints
from broker.site import Panels, Site
from broker.site_view import Reading
from broker.state_file import DeviceState, StateFile, parse_states
from node.errors import ConfigError

LOAD, SUN = "home-01/load", "home-01/pv"
SITE = Site("home-01", "bus-1", LOAD, Panels(SUN, 4000), None, None, 1800, {LOAD: 5000, SUN: 0}, {LOAD: 0, SUN: 4000})


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for number in range(3):
        journal.write("said", number, words=f"word {number}", tx=bytes([number]))
    journal.close()
    found = list(entries(tmp_path / "journal"))
    assert [(entry["time"], entry["words"], entry["tx"]) for entry in found] == [
        (0, "word 0", "00"), (1, "word 1", "01"), (2, "word 2", "02"),
    ]  # fmt: skip


def test_two_brokers_do_not_share_a_journal(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    with pytest.raises(ConfigError) as caught:
        Journal(tmp_path)
    assert caught.value.code == "already-running"
    first.close()
    Journal(tmp_path).close()


def test_a_damaged_journal_costs_the_damaged_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path)
    for number in range(4):
        journal.write("said", number)
    journal.close()
    (path,) = files_of(tmp_path)
    lines = path.read_bytes().split(b"\n")
    lines[1] = b"\xff\x00{" + lines[1]
    path.write_bytes(b"\n".join(lines)[:-8])  # and the tail is torn
    with caplog.at_level(logging.WARNING):
        assert [entry["time"] for entry in entries(tmp_path)] == [0, 2]
    assert "2 damaged lines are left out" in caplog.text
    again = Journal(tmp_path)
    again.write("said", 9)
    again.close()
    assert [entry["time"] for entry in entries(tmp_path)] == [0, 2, 9], "the torn tail swallows nothing new"


def test_the_journal_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "FILE_BYTES", 200)
    monkeypatch.setattr(journals, "FILES", 3)
    journal = Journal(tmp_path)
    for number in range(100):
        journal.write("said", number, words="x" * 40)
    journal.close()
    kept = [entry["time"] for entry in entries(tmp_path)]
    assert len(files_of(tmp_path)) == 3 and kept == list(range(100 - len(kept), 100)) and len(kept) < 12


def test_a_full_disk_is_said_once_and_does_not_stop_the_broker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The limit of a file's size stands in for a full disk: the operating system refuses the write."""
    journal = Journal(tmp_path)
    journal.write("said", 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with caplog.at_level(logging.INFO):
            journal.write("said", 1)
            journal.write("said", 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caplog.text.count("trading goes on") == 1
    journal.write("said", 3)
    journal.close()
    assert [entry["time"] for entry in entries(tmp_path)] == [0, 3]


def test_readings_outlive_a_restart_and_the_ledgers_word_counts_last(tmp_path: Path) -> None:
    measured = Measured(tmp_path, SITE, 1_000, [Earlier(998, 111, 50), Earlier(997, 100, 0)])
    measured.take(Reading(998, LOAD, 120, 0, True))
    measured.take(Reading(999, LOAD, 130, 0, False))
    measured.take(Reading(998, SUN, 0, 70, True))
    measured.take(Reading(998, LOAD, 125, 0, True))  # corrected
    for known in (measured, Measured(tmp_path, SITE, 1_000, [Earlier(998, 111, 50), Earlier(997, 100, 0)])):
        assert [known.load.value(slot) for slot in (997, 998, 999)] == [100, 125, None]
        assert known.sun is not None and known.sun.value(998) == 70
        assert known.newest == 999
    assert (tmp_path / "measured.csv").read_text().count("\n") == 3, "what was replaced is tidied away"


def test_damaged_readings_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "measured.csv").write_bytes(b"998,home-01/load,120,0,1\n\xff,,\n999,home-01/load,13")
    with caplog.at_level(logging.WARNING):
        measured = Measured(tmp_path, SITE, 1_000)
    assert measured.load.value(998) == 120 and measured.load.value(999) is None and "damaged" in caplog.text


def test_a_torn_line_does_not_make_a_site_blind(tmp_path: Path) -> None:
    """The next reading was appended to part of a line: the joined one is well-formed, and ages ahead."""
    lines = ["998,home-01/load,120,0,1", "99999,home-01/load,300,0,1", "999,home-01/load,130,0,", ""]
    (tmp_path / "measured.csv").write_text("\n".join(lines))
    measured = Measured(tmp_path, SITE, 1_000, [Earlier(997, 100, 0)])
    assert measured.newest == 998 and [measured.load.value(slot) for slot in (997, 998, 999)] == [100, 120, None]
    assert (tmp_path / "measured.csv").read_text() == lines[0] + "\n"


def test_after_a_full_disk_readings_are_all_written_behind_the_tear(tmp_path: Path) -> None:
    """The limit of a file's size tears a line within the slot's digits, as a disk does that fills up."""
    measured = Measured(tmp_path, SITE, 1_000)
    measured.take(Reading(997, LOAD, 120, 0, True))
    size = (tmp_path / "measured.csv").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 2, hard))
    try:
        measured.take(Reading(998, LOAD, 125, 0, True))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "measured.csv").stat().st_size == size + 2
    measured.take(Reading(999, LOAD, 130, 0, True))
    again = Measured(tmp_path, SITE, 1_000)
    assert [again.load.value(slot) for slot in (997, 998, 999)] == [120, 125, 130] and again.newest == 999


@pytest.mark.parametrize(
    "text", ["", "time,load\n", "time,load_wh,sun_wh\nnoon,1,2\n", "time,load_wh\n1800,a\n", "time,load_wh\n1800\n"]
)
def test_a_history_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_history(tmp_path / "history.csv", 1800)
    assert caught.value.code == "bad-history"


def test_a_history_in_either_kind_of_time(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("time,load_wh,sun_wh\n1800,5,6\n1970-01-01T01:00,7,8\n")
    assert read_history(tmp_path / "history.csv", 1800) == [Earlier(1, 5, 6), Earlier(2, 7, 8)]


def test_the_newest_state_counts() -> None:
    text = "time,device,level_wh,plugged,leaves\n60,a,5,,\n1970-01-01T00:02,a,7,yes,1970-01-01T08:00\n90,a,6,no,\n30,b,"
    states, faults = parse_states(text)
    assert states == {"a": DeviceState(120, 7, True, 28_800, None)} and faults == (), "the last line has no end yet"


def test_lines_that_are_no_states_are_told_of() -> None:
    states, faults = parse_states("time,device,level_wh\n60,a,5\nx,a,5\n70,a,many\n80,a\n90,a,9\n")
    assert states["a"].level_wh == 9 and faults == ("3 lines are no states, the first is line 3",)
    assert parse_states("when,what\n1,2\n")[0] == {}


def test_a_state_file_may_vanish_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "states.csv"
    states = StateFile(path)
    assert states.read()[0] == {} and "No such file" in states.read()[1][0]
    path.write_text("time,device,level_wh\n60,a,5\n")
    assert states.read()[0]["a"].level_wh == 5 and states.read()[1] == ()
    with path.open("a") as file:
        file.write("70,a,6\n")
    assert states.read()[0]["a"].level_wh == 6
    path.unlink()
    assert states.read()[0]["a"].level_wh == 6, "what was known stays"


@given(st.text(max_size=300) | st.text(alphabet='time,device\n0123-yesno"', max_size=300))
def test_no_state_file_does_harm(text: str) -> None:
    parse_states(text)
    parse_states("time,device,level_wh,plugged,leaves,need_wh\n" + text)


def test_setpoints_are_replaced_as_a_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "setpoints.json"
    Setpoints(path).write({"slot": 1})
    assert path.read_text() == '{"slot": 1}\n' and [each.name for each in tmp_path.iterdir()] == [path.name]
    Setpoints(tmp_path / "nowhere" / "setpoints.json").write({"slot": 2})
    assert "cannot be written" in caplog.text
