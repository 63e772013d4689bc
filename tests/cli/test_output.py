"""What is printed is what it says: no markup, no escapes, whole ids where there is room, and no traceback without."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.output import count, print_table, refusals_to_exit_codes
from node.errors import RefusedError


def test_text_is_not_read_as_markup_or_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("of [bold]\x1b[2J", ("Order",), [("[/red]",), ("\x1b[31mred\a",), (":smile:",)])
    shown = capsys.readouterr().out
    assert "of [bold]\\x1b[2J\n" in shown
    assert "[/red]" in shown and "\\x1b[31mred\\x07" in shown and ":smile:" in shown


def test_refusals_are_one_line_without_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    @refusals_to_exit_codes
    def command() -> None:
        raise RefusedError("bad-id", "a\nb\x1b[2J")

    with pytest.raises(SystemExit):
        command()
    assert capsys.readouterr().err == "watt: bad-id: a b\\x1b[2J\n"


def test_a_narrow_terminal_gets_short_ids_and_fewer_columns(capsys: pytest.CaptureFixture[str]) -> None:
    columns, rows = ("Order", "State", "?Placed", "?>kWh"), [(b"\xab" * 32, "OPEN", "2017-06-16 12:30:00", "1.500")]
    print_table("Orders of a home with a long name", columns, rows, width=110)
    whole = capsys.readouterr().out
    assert "ab" * 32 in whole and "Placed" in whole and "without" not in whole
    print_table("Orders of a home with a long name", columns, rows, width=50)
    short = capsys.readouterr().out
    assert "ab" * 6 + " " in short and "2017-06-16 12:30:00" in short and "1.500" in short
    print_table("Orders of a home with a long name", columns, rows, width=30)
    least = capsys.readouterr().out.splitlines()
    assert least[0] == "Orders of a home with a long name"
    assert least[-1].startswith("without Placed, kWh: ") and any("OPEN" in line for line in least)


def test_counts() -> None:
    assert count(1, "auction") == "1 auction" and count(0, "auction") == "0 auctions"


@pytest.mark.parametrize("words", [["--help"], ["market", "clear", "--input", "FILE", "--json"]])
def test_output_that_cannot_be_written(words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "orders.json"
    file.write_text('{"grid": {"root": "t", "lines": []}, "orders": []}')
    command = [sys.executable, "-m", "cli.main", *(str(file) if word == "FILE" else word for word in words)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "watt: cannot-write: No space left on device\n"


def test_a_trace_that_nobody_reads_on_is_no_failure() -> None:
    command = f"{sys.executable} -m cli.main sim small-scope --history 0-222-999-3a7"
    shell = ["bash", "-c", f"{command} | head -1"]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
    assert len(done.stdout.splitlines()) == 1 and done.stderr == ""


def test_figures_stay_whole_beside_words_that_wrap(capsys: pytest.CaptureFixture[str]) -> None:
    columns = ("Device", ">Taken back", ">Allocated for the period")
    print_table("Devices", columns, [("home-1/battery of the cellar", "149.000", "150.000")], width=40)
    shown = capsys.readouterr().out
    assert "149.000" in shown and "150.000" in shown
    assert "Taken back" not in shown and "Taken" in shown, "headings go into lines"
    assert max(len(line) for line in shown.splitlines()) <= 40
