"""Grids from CSV files: what is read, and that all else is refused by name of the file and number of the line."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaincode import grid
from chaincode.grid import MAX_LINES, LineSettings
from cli.grid_file import COLUMNS, MAX_FILE_BYTES, GridVersion, format_grid, parse_grid, read_grid
from node.errors import RefusedError

TABLE = """root,transformer
rate,0.0002
from,to,metres,step,limit_down_w,limit_up_w
transformer,busbar,0,0.02,400000,400000
busbar,bus-1,120,,60000,
"""
READ = GridVersion(
    "transformer",
    200,
    (("transformer", "busbar", 0, 20_000, 400_000, 400_000), ("busbar", "bus-1", 120, 0, 60_000, None)),
)
HEAD = "root,t\nfrom,to,metres\n"


def refusal(text: str | bytes) -> str:
    """Code and message."""
    with pytest.raises(RefusedError) as caught:
        parse_grid(text if isinstance(text, bytes) else text.encode(), "grid.csv")
    return f"{caught.value.code}: {caught.value.message}"


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        "\ufeff" + TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        TABLE.rstrip("\n"),
        "# a street\n\n" + TABLE.replace("transformer,busbar", " transformer , busbar"),
        TABLE.replace("root,transformer", "root,transformer,,,,").replace("busbar", '"busbar"'),
        "rate,0.000200000\n" + TABLE.replace("rate,0.0002\n", ""),
        "root,transformer\nrate,0.0002\nlimit_down_w,to,from,metres,limit_up_w,step\n"
        "400000,busbar,transformer,0,400000,0.02\n60000,bus-1,busbar,120\n",
    ],
)
def test_the_same_grid_however_it_was_saved(text: str) -> None:
    assert parse_grid(text.encode(), "grid.csv") == READ


def test_figures_follow_the_decimals_of_the_token() -> None:
    assert parse_grid(TABLE.encode(), "grid.csv", decimals=8).rate == 20
    assert parse_grid(TABLE.encode(), "grid.csv", decimals=8).lines[0][3] == 2_000
    with pytest.raises(RefusedError, match=r"bad-number.*grid.csv:2: rate `0.0002` is finer than one base unit"):
        parse_grid(TABLE.encode(), "grid.csv", decimals=6)


def test_a_grid_of_one_bus() -> None:
    assert parse_grid(b"root,t\nfrom,to,metres\n", "grid.csv") == GridVersion("t", 0, ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no-root: grid.csv: "),
        ("\ufeff", "no-root: grid.csv: "),
        ("from,to,metres\nt,a,1\n", "no-root: grid.csv: "),
        ("root,t\n", "no-header: grid.csv: "),
        ("root\nfrom,to,metres\n", "bad-csv: grid.csv:1: "),
        ("root,t\nroot,u\n", "duplicate-setting: grid.csv:2: the root stands in line 1"),
        ("root,t\nfrom;to;metres\n", "unknown-column: grid.csv:2: `from;to;metres` is none of "),
        ("root,t\nfrom,to,metres,colour\n", "unknown-column: grid.csv:2: `colour` is none of "),
        ("root,t\nfrom,to,from,metres\n", "duplicate-column: grid.csv:2: "),
        ("root,t\nfrom,to\n", "missing-column: grid.csv:2: there is no column metres"),
        ("root,t\n\nt,a,1\n", "unknown-column: grid.csv:3: `t`"),
        (HEAD + "t,a,1,2\n", "bad-csv: grid.csv:3: 4 cells, the header has 3"),
        (HEAD + 't,"a\n', "bad-csv: grid.csv:3: "),
        (HEAD + "t,a\n", "bad-number: grid.csv:3: metres is a whole number, not ``"),
        (HEAD + "t,a,1.5\n", "bad-number: grid.csv:3: metres"),
        (HEAD + "t,a,1e3\n", "bad-number: grid.csv:3: metres"),
        (HEAD + "t,a,\u0663\n", "bad-number: grid.csv:3: metres"),
        (HEAD + "t,a,\x1b[2J\n", "bad-number: grid.csv:3: metres is a whole number, not `\\x1b[2J`"),
        (HEAD + "t,a,1\nt,b,-1\n", "bad-metres: grid.csv:4: line t -> b: "),
        (HEAD + "t,a,1\na,t,1\n", "duplicate-line: grid.csv:4: `a` and `t` are joined in line 3"),
        (HEAD + "t,a,1\nt,a,2\n", "duplicate-line: grid.csv:4: "),
        (HEAD + "t,a,1\nt,b,1\n\nb,a,1\n", "two-parents: grid.csv:6: line b -> a: a already hangs on t"),
        (HEAD + "t,a,1\nb,c,1\nc,d,1\nd,b,1\n", "cyclic-grid: grid.csv:6: line d -> b: it closes a ring"),
        (HEAD + "t,a,1\na,b,1\nb,t,1\n", "cyclic-grid: grid.csv:5: line b -> t: "),
        (HEAD + "t,a,1\nc,d,1\n", "disconnected-grid: grid.csv:4: line c -> d: no line leads from the root t to c"),
        (HEAD + "t,t,1\n", "self-loop: grid.csv:3: "),
        (HEAD + "t,b\u00e4ckerei,1\n", "bad-bus: grid.csv:3: 'b\u00e4ckerei': 1 to 48 of "),
        (HEAD + "t,,1\n", "bad-bus: grid.csv:3: "),
        (HEAD + '"t",a,1\r\nt,"b\nc",1\n', "bad-bus: grid.csv:4: "),
        ("# x\nroot,a b\nfrom,to,metres\n", "bad-bus: grid.csv:2: "),
        ("root,t\nfrom,to,metres,step\nt,a,1,-0.1\n", "bad-step: grid.csv:3: "),
        ("root,t\nfrom,to,metres,step\nt,a,1,0.0000001\n", "bad-number: grid.csv:3: step `0.0000001` is finer"),
        ("root,t\nfrom,to,metres,step\nt,a,1,nan\n", "bad-number: grid.csv:3: step"),
        ("root,t\nfrom,to,metres,limit_up_w\nt,a,1,-5\n", "bad-limit: grid.csv:3: "),
        ("root,t\nfrom,to,metres,limit_down_w\nt,a,1,5kW\n", "bad-number: grid.csv:3: limit_down_w"),
        ("root,t\nrate,-1\nfrom,to,metres\n", "bad-rate: grid.csv:2: "),
        ("root,t\nrate,1000000\nfrom,to,metres\nt,a,1000000\n", "bad-toll: grid.csv: the tolls"),
        (b"root,t\nfrom,to,metres\nt,b\xe4,1\n", "bad-csv: grid.csv:3: not UTF-8 text"),
        (HEAD.encode("utf-16"), "bad-csv: grid.csv:1: not UTF-8 text"),
        (HEAD + "".join(f"t,b{i},1\n" for i in range(100_000)), f"too-many-buses: grid.csv:{MAX_LINES + 3}: "),
        (HEAD + "x" * 200_000, "bad-csv: grid.csv:3: "),
        (b"\n" * (MAX_FILE_BYTES + 1), "too-large: grid.csv: "),
    ],
)  # fmt: skip
def test_what_is_refused(text: str | bytes, told: str) -> None:
    assert refusal(text).startswith(told)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text(TABLE)
    assert read_grid(tmp_path / "grid.csv") == READ
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(RefusedError, match="cannot-read"):
            read_grid(path)


@st.composite
def versions(draw: st.DrawFn) -> GridVersion:
    """A radial grid of up to 30 buses, its lines in any order."""
    names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,47}", fullmatch=True)
    buses = draw(st.lists(names, min_size=1, max_size=30, unique=True))
    limits = st.none() | st.integers(0, grid.MAX_LIMIT_W)
    lines: list[LineSettings] = []
    for index, bus in enumerate(buses[1:], start=1):
        parent = buses[draw(st.integers(0, index - 1))]
        figures = draw(st.tuples(st.integers(0, grid.MAX_METRES), st.integers(0, 2**40), limits, limits))
        lines.append((parent, bus, *figures))
    return GridVersion(buses[0], draw(st.integers(0, 2**20)), tuple(draw(st.permutations(lines))))


@given(versions(), st.integers(0, 12))
@example(GridVersion("t", 0, (("t", "a", 0, grid.MAX_TOLLS, None, None),)), 0)
@example(GridVersion("t", grid.MAX_TOLLS, (("t", "a", 1, 0, grid.MAX_LIMIT_W, None),)), 18)
def test_what_is_written_is_read_again(version: GridVersion, decimals: int) -> None:
    assert parse_grid(format_grid(version, decimals).encode(), "grid.csv", decimals) == version


CELLS = st.sampled_from(
    ["t", "a", "b", "c", "d", "1", "0", "-1", "7.5", "", "#", "root", "rate", '"', '""', "\n", "9" * 30, *COLUMNS]
) | st.text(max_size=5)


@given(st.lists(st.lists(CELLS, max_size=8), max_size=12), st.sampled_from(["", HEAD, TABLE]))
def test_any_table_is_a_grid_or_refused_with_its_line(rows: list[list[str]], head: str) -> None:
    text = head + "\n".join(",".join(row) for row in rows)
    _is_grid_or_refused(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200), st.sampled_from([b"", HEAD.encode(), TABLE.encode()]))
def test_any_bytes_are_a_grid_or_refused(data: bytes, head: bytes) -> None:
    _is_grid_or_refused(head + data)


@given(versions(), st.data())
def test_a_damaged_grid_is_another_or_refused(version: GridVersion, data: st.DataObject) -> None:
    """One row is left out, doubled, or gets another row's cell."""
    head, *rows = format_grid(version, 9).split("from,to", 1)[0], *format_grid(version, 9).splitlines()[2:]
    index = data.draw(st.integers(0, len(rows) - 1))
    other = data.draw(st.integers(0, len(rows) - 1))
    match data.draw(st.sampled_from(["drop", "double", "swap"])):
        case "drop":
            del rows[index]
        case "double":
            rows.insert(other, rows[index])
        case _:
            column = data.draw(st.integers(0, 5))
            cells, others = rows[index].split(","), rows[other].split(",")
            cells[column] = others[column]
            rows[index] = ",".join(cells)
    _is_grid_or_refused((head + "\n".join(rows)).encode())


def _is_grid_or_refused(data: bytes) -> None:
    try:
        version = parse_grid(data, "grid.csv")
    except RefusedError as error:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.code)
        place = re.match(r"grid\.csv(?::([0-9]+))?: ", error.message)
        assert place is not None, error.message
        lines = len(re.findall(rb"\r\n|\r|\n", data)) + 1
        assert place[1] is None or 1 <= int(place[1]) <= lines
    else:
        assert len(grid.check(*version).buses) == len(version.lines) + 1
