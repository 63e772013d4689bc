"""Lists of orders, replacements and a car that moves, by the command on a real network."""

from decimal import Decimal
from pathlib import Path

import pytest

from testnet.cluster import Cluster
from testnet.neighbourhood import PERIOD_SLOTS
from tests.functional.test_people import Watt

CAR, KEY = "home-3/ev", "home-3.ev"
HEADER = "side,energy,slot,price,until,renewable"


@pytest.fixture
def watt(network: Cluster) -> Watt:
    return Watt(network)


def test_a_list_is_placed_once_replaced_in_part_and_cancelled_by_a_move(watt: Watt, tmp_path: Path) -> None:
    slots = [watt.slot(ahead) for ahead in (20, 21, 22)]
    tariffs = {str(row["slot"]): row for row in watt.json("market", "products")}
    prices = [str(tariffs[slot]["feed_in"] / 1_000_000) for slot in slots]  # so low that nobody sells
    rows = [
        f"buy,{energy},{slot},{price},gate,yes"
        for energy, slot, price in zip(("1.5kWh", "200Wh", "300"), slots, prices, strict=True)
    ]
    file = tmp_path / "night.csv"
    file.write_text("\n".join([HEADER, *rows]))
    bulk = ("wallet", "bulk", CAR, str(file), "--reference", f"night {slots[0]}")
    placed = watt.json(*bulk, key=KEY)["orders"]
    assert len(placed) == 3
    again = watt.run(*bulk, key=KEY)
    assert again.exit_code != 0
    assert "duplicate" in again.output and "order 1 of the list" in again.output
    file.write_text("\n".join([HEADER, *rows, f"buy,1kWh,1,{prices[0]},gate,no"]))
    refused = watt.run("wallet", "bulk", CAR, str(file), key=KEY)
    assert "closed-product" in refused.output and "order 4 of the list" in refused.output

    order = ("buy", "1kWh", "--slot", slots[0], "--price", prices[0])
    new = watt.json("wallet", "replace", placed[0], CAR, *order, "--reference", "less", key=KEY)["order"]
    repeated = watt.run("wallet", "order", CAR, *order, "--reference", "less", key=KEY)
    assert "duplicate" in repeated.output
    assert states(watt, slots[0]) == {new: "ACCEPTED", placed[0]: "CANCELLED"}

    bus = watt.json("wallet", "orders", CAR, "--slot", slots[1])[0]["bus"]
    elsewhere = "bus-1" if bus != "bus-1" else "bus-2"
    moved = watt.json("wallet", "connect", CAR, "--bus", elsewhere, "--slot", slots[1], key=KEY)
    assert str(moved["slot"]) == slots[1]
    assert states(watt, slots[0])[new] == "ACCEPTED", "until then it stays"
    assert states(watt, slots[1]) == {placed[1]: "CANCELLED"}
    assert states(watt, slots[2]) == {placed[2]: "CANCELLED"}
    gone = watt.run("wallet", "disconnect", CAR, "--slot", slots[2], key=KEY)
    assert f"disconnected from slot {slots[2]} (" in gone.output
    refused = watt.run("wallet", "order", CAR, "buy", "1kWh", "--slot", slots[2], "--price", prices[2], key=KEY)
    assert "not-connected" in refused.output
    watt.json("wallet", "connect", CAR, "--bus", bus, "--slot", slots[0], key=KEY)
    watt.json("wallet", "order", CAR, "buy", "1kWh", "--slot", slots[2], "--price", prices[2], key=KEY)


def states(watt: Watt, slot: str) -> dict[str, str]:
    """Order -> state, of the car in a slot."""
    return {row["id"]: row["state"] for row in watt.json("wallet", "orders", CAR, "--slot", slot)}


def test_an_order_that_nobody_can_pay_for_is_refused_in_words(watt: Watt, tmp_path: Path) -> None:
    """Its transaction is well, and the block that it is in rejects it. A list is rejected as a whole."""
    home, slots = "home-3", [watt.slot(15), watt.slot(16)]
    periods = sorted({str(int(slot) // PERIOD_SLOTS) for slot in slots})  # two, on the last day of one
    taken = {period: held(watt, home, period) for period in periods}
    device, *others = [name for name in taken[periods[0]] if not name.endswith("/pv")]
    for period, books in taken.items():
        amounts = [f"{name}={amount}" for name, amount in books.items() if amount]
        assert watt.run("admin", "take-back", home, *amounts, "--period", period, key=home).exit_code == 0
    order = ["buy", "1kWh", "--price", "0.5"]
    file = tmp_path / "one.csv"
    file.write_text("\n".join([HEADER, *(f"buy,1kWh,{slot},0.5,gate,no" for slot in slots)]))
    for words in (["order", device, *order, "--slot", slots[0]], ["bulk", others[0], str(file)]):
        refused = watt.run("wallet", *words, key=words[1].replace("/", "."))
        assert refused.exit_code == 1 and "watt: over-budget: the device's tokens do not" in refused.stderr, (
            refused.output
        )
        assert "REJECTED" in refused.stderr and refused.stdout
    assert watt.json("wallet", "orders", device, "--slot", slots[0])[0]["state"] == "REJECTED"
    for period, books in taken.items():
        amounts = [f"{name}={amount}" for name, amount in books.items() if amount]
        assert watt.run("admin", "allocate", home, *amounts, "--period", period, key=home).exit_code == 0


def held(watt: Watt, home: str, period: str) -> dict[str, Decimal]:
    """Device -> tokens that it may spend in a billing period."""
    rows = watt.json("admin", "devices", home, "--period", period)["devices"]
    return {row["device"]: Decimal(row["available"]).scaleb(-9) for row in rows}
