"""Files of orders: what is read, and what is refused with the row named."""

from decimal import Decimal
from pathlib import Path

import pytest

from chaincode.market_bulk import MAX_BULK
from cli.slots import Slot
from cli.wallet_bulk import Wanted, order_args, read_orders
from node.errors import RefusedError


def write(tmp_path: Path, name: str, text: str) -> Path:
    file = tmp_path / name
    file.write_text(text)
    return file


CSV = """\
side,energy,slot,price,until,renewable,reference
buy,1.5kWh,2017-06-16T14:00,0.65,gate,yes,tonight
buy,200,830901,0.6,auction,,
"""
JSON = """[
  {"side": "buy", "energy": "1.5kWh", "slot": "2017-06-16T14:00", "price": 0.65, "renewable": true,
   "reference": "tonight"},
  {"side": "buy", "energy": 200, "slot": 830901, "price": "0.6", "until": "auction"}
]"""
ROWS = [
    Wanted("buy", 1_500, Slot(None, 1_497_621_600), Decimal("0.65"), "gate", True, b"tonight"),
    Wanted("buy", 200, Slot(830_901, 0), Decimal("0.6"), "auction", False, b""),
]


@pytest.mark.parametrize(
    ("name", "text"), [("orders.csv", CSV), ("orders.csv", "\ufeff" + CSV), ("orders.json", JSON), ("orders", JSON)]
)
def test_orders_are_written_as_for_a_single_one(tmp_path: Path, name: str, text: str) -> None:
    file = write(tmp_path, name, text)
    assert list(read_orders(file, b"")) == ROWS
    assert [row.reference for row in read_orders(file, b"plan")] == [b"tonight", b"plan/2"]


def test_in_the_ledgers_units() -> None:
    assert order_args(ROWS[0], 9, 1_800) == {
        "side": "buy", "slot": 832_012, "energy_wh": 1_500, "price": 650_000, "until": "gate", "renewable": True,
        "reference": b"tonight",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "", "0 orders"),
        ("a.csv", "side,energy,slot,price\n" + "buy,100,1,1\n" * (MAX_BULK + 1), "97 orders"),
        ("a.csv", "side,energy,slot\nbuy,100,1\n", "order 1: there is no price"),
        ("a.csv", "side,energy,slot,price\nbuy,100,1,1\nlend,100,1,1\n", "order 2: side is buy or sell"),
        ("a.csv", "side,energy,slot,price,until\nbuy,100,1,1,later\n", "until is gate or auction"),
        ("a.csv", "side,energy,slot,price,renewable\nbuy,100,1,1,maybe\n", "renewable is yes or no"),
        ("a.csv", "side,energy,slot,price,color\nbuy,100,1,1,red\n", "'color' is no name of a column"),
        ("a.csv", "side,energy,slot,price\nbuy,100,1,1,extra\n", "order 1: more cells than columns"),
        ("a.csv", "side,energy,slot,price\nbuy,much,1,1\n", "order 1: 'much'"),
        ("a.csv", "side,energy,slot,price\nbuy,100,1,-1\n", "order 1: less than 0"),
        ("a.csv", f"side,energy,slot,price,reference\nbuy,100,1,1,{'r' * 33}\n", "longer than 32 bytes"),
        ("a.csv", 'side,energy,slot,price\nbuy,"100,1,1\n', "a.csv"),
        ("a.json", "{}", "no array of objects"),
        ("a.json", "[1]", "no array of objects"),
        ("a.json", "[" * 100_000, "a.json"),
        ("a.json", "[{", "a.json"),
        ("a.json", '[{"side": "buy", "energy": 1e400, "slot": 1, "price": 1}]', "order 1: "),
        ("a", '[{"side": "buy"}]', "order 1: there is no energy"),
        ("a.csv", "x" * (1 << 20) + "x", "more than 1048576 bytes"),
    ],
)
def test_a_bad_file_is_refused_with_the_row_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        list(read_orders(write(tmp_path, name, text), b""))
    assert refusal.value.code == "bad-file"
    assert words in refusal.value.message


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as refusal:
        list(read_orders(tmp_path / "none.csv", b""))
    assert refusal.value.code == "bad-file"
    assert refusal.value.message.endswith("none.csv: No such file or directory")
    (tmp_path / "latin.csv").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(RefusedError):
        list(read_orders(tmp_path / "latin.csv", b""))
