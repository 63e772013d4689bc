"""Wrong usage is exit 2 before any node is asked; `market clear` needs none at all."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.admin_budgets import DEVICE_AMOUNT
from cli.answers import ORDER, event_fields, record, records
from cli.clearing_file import clear_file
from cli.main import main
from cli.units import PUBLIC_KEY
from node.errors import RefusedError

NOWHERE = ["--node", "127.0.0.1:1"]
KEY = "ab" * 32


@pytest.mark.parametrize(
    "words",
    [
        ["wallet", "order", "home-1/pv", "sell", "1.5", "--slot", "1", "--price", "1", "--key", "k"],
        ["wallet", "order", "home-1/pv", "lend", "1kWh", "--slot", "1", "--price", "1", "--key", "k"],
        ["wallet", "order", "home-1/pv", "sell", "1kWh", "--slot", "1", "--key", "k"],
        ["wallet", "order", "home-1/pv", "sell", "1kWh", "--slot", "1", "--price", "much", "--key", "k"],
        [
            "wallet",
            "order",
            "home-1/pv",
            "sell",
            "1kWh",
            "--slot",
            "1",
            "--price",
            "1",
            "--key",
            "k",
            "--receipt",
            "no/",
        ],
        ["wallet", "cancel", "zz", "--key", "k"],
        ["wallet", "cancel", "ab", "--key", "k"],
        ["wallet", "status", "ab"],
        ["wallet", "watch", "--from-height", "99999999999999999999"],
        ["wallet", "balance", "home-1", "--period", "99999999999999999999999"],
        ["wallet", "order", "home-1/pv", "sell", "1e30kWh", "--slot", "1", "--price", "1", "--key", "k"],
        ["wallet", "order", "home-1/pv", "sell", "1kWh", "--slot", "1", "--price", "1e30", "--key", "k"],
        ["wallet", "share", "home-1/pv", "home-1/load", "1e25", "--key", "k"],
        ["wallet", "share", "home-1/pv", "home-1/load", "3", "--list", "home-1"],
        ["wallet", "share", "home-1/pv", "home-1/load"],
        ["admin", "issue", "home-1", "1e28", "--reference", "x", "--key", "k"],
        ["admin", "policy", "apply", "home-1.toml", "more.toml", "--key", "k"],
        ["admin", "allocate", "home-1", "--by-policy", "--by-history", "3", "--key", "k"],
        ["admin", "allocate", "home-1", "--by-policy", "--device", "home-1/pv", "--key", "k"],
        ["admin", "take-back", "home-1", "--key", "k"],
        ["admin", "take-back", "home-1", "home-1/pv=1", "home-1/pv=1", "--key", "k"],
        ["admin", "allocate", "home-1", "home-1/pv=1", "home-1/ev=1", "home-1/pv=2", "--key", "k"],
        ["wallet", "forecast", "home-1/pv", "-1", "--key", "k"],
        ["admin", "allocate", "home-1", "home-1/pv=1", "--by-history", "3", "--key", "k"],
        ["admin", "allocate", "home-1", "--key", "k"],
        ["admin", "allocate", "home-1", "home-1/pv", "--key", "k"],
        ["admin", "policy", "check"],
        ["admin", "period", "plan", "home-1", "--first", "2017-07-03", "--days", "7", "--count", "5", "--key", "k"],
        ["admin", "member", "add", "x", "--public-key", "12", "--key", "k"],
        ["broker", "run"],
    ],
)
def test_wrong_usage(words: list[str]) -> None:
    nodes = [] if words[0] == "broker" else NOWHERE
    result = CliRunner().invoke(main, [*words, *nodes])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""


@pytest.mark.parametrize(
    "words",
    [
        ["admin", "policy", "show", "home-\udcff"],
        ["admin", "return", "home-1", "1", "--reference", "\udcff", "--key", "k"],
        ["admin", "redeem", "home-1", "1", "--reference", "\udcff", "--key", "k"],
        ["admin", "redemption", "credit", "1", "--bill", "\udcff", "--key", "k"],
        ["admin", "sale", "accept", "1", "--payment", "\udcff", "--key", "k"],
        ["admin", "allocate", "home-1", "home-1/\udcff=1", "--key", "k"],
        ["admin", "allocate", "home-1", "--by-history", "3", "--device", "\udcff", "--key", "k"],
        ["wallet", "request", "home-1/load", "1", "--reason", "\udcff", "--key", "k"],
        ["wallet", "order", "home-1/pv", "sell", "1kWh", "--slot", "1", "--price", "1", "--reference", "\udcff",
         "--key", "k"],
    ],
)  # fmt: skip
def test_what_is_no_text_is_wrong_usage(words: list[str]) -> None:
    """As a shell hands over bytes that are not UTF-8."""
    result = CliRunner().invoke(main, [*words, *NOWHERE])
    assert result.exit_code == 2 and "\\udcff' is not UTF-8 text" in result.output, result.output


def test_what_admins_type() -> None:
    assert PUBLIC_KEY.convert(KEY, None, None) == bytes.fromhex(KEY)
    assert DEVICE_AMOUNT.convert("home-1/pv=2.5", None, None) == ("home-1/pv", Decimal("2.5"))


def test_answers_of_another_shape_are_refused() -> None:
    assert record((1, 2), ("a", "b")) == {"a": 1, "b": 2}
    for answer in (None, 5, (1,), ((1, 2, 3),)):
        with pytest.raises(RefusedError, match="bad-answer"):
            record(answer, ("a", "b"))
    with pytest.raises(RefusedError, match="bad-answer"):
        records(((1, 2),), ORDER)


@pytest.mark.parametrize(("field", "value"), [("price", -1), ("price", 2**63), ("energy_wh", 0), ("age", -1)])
def test_a_figure_out_of_bounds_in_a_file(field: str, value: int) -> None:
    order = {"id": "b1", "bus": "t", "side": "buy", "price": 100, "energy_wh": 500, field: value}
    with pytest.raises(RefusedError, match=f"bad-order: order 'b1': {field} is [01] to 2.63-1, not {value}"):
        clear_file(json.dumps({"grid": {"root": "t", "lines": []}, "orders": [order]}).encode())


def test_events_have_named_fields() -> None:
    assert event_fields("product", (5, "OPEN")) == {"slot": 5, "state": "OPEN"}
    assert event_fields("curtail", 3) == {"period": 3}
    assert event_fields("member-registered", ("grid", "utility")) == {"roles": ("grid", "utility")}
    assert event_fields("product", (5,)) is None and event_fields("of-another-version", (5,)) is None


def test_clearing_a_file(tmp_path: Path) -> None:
    grid = {"root": "t", "lines": [{"from": "t", "to": "a", "toll": 10, "limit_down_wh": None, "limit_up_wh": None}]}
    orders = [
        {"id": "b1", "bus": "a", "side": "buy", "price": 100, "energy_wh": 500},
        {"id": "s1", "bus": "t", "side": "sell", "price": 50, "energy_wh": 300},
    ]
    (tmp_path / "orders.json").write_text(json.dumps({"grid": grid, "orders": orders}))
    result = CliRunner().invoke(main, ["market", "clear", "--input", str(tmp_path / "orders.json"), "--json"])
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["welfare"] == 300 * (100 - 10 - 50)
    assert answer["flows"] == [{"from": "t", "to": "a", "energy_wh": 300}]
    table = CliRunner().invoke(main, ["market", "clear", "--input", str(tmp_path / "orders.json")])
    assert table.exit_code == 0 and "b1" in table.stdout
    missing = CliRunner().invoke(main, ["market", "clear", "--input", str(tmp_path / "none.json")])
    assert missing.exit_code == 1 and missing.stderr.startswith("watt: no-input: ")
