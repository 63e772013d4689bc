"""Readings in files: tables, and rows that a meter has signed without a network."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from cli.meter_file import Row, SignedRow, read_signed, read_table, runs, sign_row
from node.errors import RefusedError
from node.keyfile import TESTNET, save_key
from node.model.genesis import Genesis, Member, Token, dump_genesis
from node.model.keys import SigningKey

METER = SigningKey(bytes([9]) * 32)
CHAIN = bytes([3]) * 32
TABLE = """slot,import,export,import_register,export_register
# a comment
7,0.4kWh,0,1204.6kWh,87kWh

1970-01-01T03:00,10,5Wh,1204200,87000
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "day.csv"
    path.write_text(TABLE)
    return path


def test_a_table_is_read_in_units_of_people_and_sorted(table: Path) -> None:
    rows = read_table(table, 1800)
    assert [row[:5] for row in rows] == [(6, 10, 5, 1_204_200, 87_000), (7, 400, 0, 1_204_600, 87_000)]
    assert [row.place.rpartition(":")[2] for row in rows] == ["5", "3"]


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("", "bad-csv", "columns"),
        ("slot,import,export,import_register,export_register\n", "bad-csv", "no readings"),
        ("slot,import,export,register\n1,1,1,1\n", "bad-csv", ":1: the columns are"),
        (TABLE + "7,0,0,0,0\n", "bad-csv", ":6: slot 7 stands in"),
        (TABLE + "8,0,0,0\n", "bad-csv", ":6: 4 cells"),
        (TABLE + "8,0,4kWh,0,1204.6kWh,87kWh\n", "bad-csv", ":6: 6 cells"),
        (TABLE + "8,1.5,0,0,0\n", "bad-csv", ":6: '1.5': finer than one Wh"),
        (TABLE + "8,-1,0,0,0\n", "bad-csv", ":6: '-1'"),
        (TABLE + "noon,1,0,0,0\n", "bad-csv", ":6: 'noon' is neither"),
        (TABLE + '8,"1,0,0,0\n', "bad-csv", "end of data"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_its_line(table: Path, text: str, code: str, told: str) -> None:
    table.write_text(text)
    with pytest.raises(RefusedError, match=code) as caught:
        read_table(table, 1800)
    assert told in caught.value.message and str(table) in caught.value.message


def test_a_table_that_is_no_text_or_too_long(table: Path) -> None:
    table.write_bytes(TABLE.encode() + b"\xff,1,1,1,1\n")
    with pytest.raises(RefusedError, match="not UTF-8") as caught:
        read_table(table, 1800)
    assert f"{table}:6" in caught.value.message
    table.write_bytes(b"\n" * 200_000)
    with pytest.raises(RefusedError, match="too-large"):
        read_table(table, 1800)
    with pytest.raises(RefusedError, match="cannot-read"):
        read_table(table.parent, 1800)


def test_slots_are_cut_where_they_do_not_follow_and_where_there_are_too_many() -> None:
    rows = [Row(slot, 0, 0, 0, 0, "") for slot in (1, 2, 3, 4, 7, 8)]
    assert [[row.slot for row in run] for run in runs(rows, 3)] == [[1, 2, 3], [4], [7, 8]]


def test_a_signed_row_holds_for_its_meter_and_figures_alone() -> None:
    row = sign_row(METER, CHAIN, "home-1/pv", Row(7, 0, 400, 0, 900, "x:1"))
    assert row.is_signed_by(METER.public_key) and not row.is_signed_by(bytes(32))
    fields = {name: getattr(row, name) for name in row.__struct_fields__}
    for name, value in (("device", "home-1/ev"), ("slot", 8), ("export_wh", 401), ("chain", "00" * 32), ("slot", -1)):
        assert not SignedRow(**{**fields, name: value}).is_signed_by(METER.public_key), name


@pytest.mark.parametrize("line", ["{}", "[1]", '{"chain":"00"}', "not json", '{"slot": 1e9}'])
def test_rows_that_no_meter_signed(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows"
    row = sign_row(METER, CHAIN, "home-1/pv", Row(7, 0, 400, 0, 900, ""))
    good = json.dumps({name: getattr(row, name) for name in row.__struct_fields__})
    path.write_text(f"{good}\n\n{line}\n")
    with pytest.raises(RefusedError, match="bad-row") as caught:
        read_signed(path)
    assert f"{path}:3" in caught.value.message
    for bad in (("home-1/pv", "h" * 49), (row.signature, "ab"), ('"slot": 7', '"slot": -7')):
        assert good.replace(*bad) != good
        path.write_text(good.replace(*bad) + "\n")
        with pytest.raises(RefusedError, match="bad-row"):
            read_signed(path)


def test_a_meter_signs_without_a_network(table: Path, tmp_path: Path) -> None:
    members = tuple(Member(f"m-{n}", SigningKey(bytes([n]) * 32).public_key.hex(), "") for n in range(4))
    genesis = Genesis(1, "street", Token("WATT", 9, 1), members, 0, 0, 1, {"market": {"slot_seconds": 1800}})
    document, key = tmp_path / "genesis.json", tmp_path / "meter.json"
    document.write_bytes(dump_genesis(genesis))
    save_key(key, METER, "secret", TESTNET)
    words = ["meter", "sign", "home-1/pv", str(table), "--genesis", str(document), "--key", str(key)]
    result = CliRunner().invoke(main, words, env={"WATT_PASSPHRASE": "secret"})
    assert result.exit_code == 0, result.output
    path = tmp_path / "today.signed"
    path.write_text(result.stdout)
    found = read_signed(path)
    assert [row.slot for row, _ in found] == [6, 7]
    assert all(row.is_signed_by(METER.public_key) and row.chain == genesis.chain.hex() for row, _ in found)


def test_a_collector_with_empty_hands_is_told(tmp_path: Path) -> None:
    empty = tmp_path / "today.signed"
    empty.touch()
    result = CliRunner().invoke(main, ["meter", "collect", str(empty), "--key", str(tmp_path / "key")])
    assert (result.exit_code, result.stderr) == (1, f"watt: bad-row: no readings in {empty}\n")
