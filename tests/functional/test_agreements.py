"""Agreements between networks on real nodes: two-sided, help in settlement and for an order, a sale, the graph."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.metered import SLOT_S, VALIDATOR, Street, started_street

DEVICES = ("home-1/load", "home-2/load", "home-3/load")
TOKEN = 10**9


class Federation(Street):
    """`watt admin agreement` and `sale` on the network."""

    def agreement(self, *words: str, by: str | None = None) -> Any:
        return self.json("admin", "agreement", *words, by=by)

    def refusal(self, *words: str, by: str | None = None) -> str:
        result = self.run("admin", *words, by=by)
        assert result.exit_code == 1, result.output
        return result.stderr

    def pool(self, network: str) -> int:
        return int(self.json("wallet", "balance", network)["network"]["pool"])

    def until(self, found: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 60
        while not (answer := found()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return answer


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    for street in started_street(Federation, tmp_path_factory.mktemp("agreements"), DEVICES, 4 * SLOT_S):
        street.json("admin", "issue", "home-1", "100", "--reference", "first", by="utility")
        yield street


def test_two_owners_agree_and_settlement_and_orders_are_helped(street: Federation, tmp_path: Path) -> None:
    made = street.agreement("propose", "home-1", "home-2", "--cap", "40", "--automatic", by="home-1")
    number = str(made["agreement"])
    assert "duplicate-agreement: " in street.refusal(
        "agreement", "propose", "home-1", "home-2", "--cap", "1", by="home-2"
    )
    assert street.refusal("agreement", "accept", number, by="home-3").startswith("watt: wrong-key: ")
    assert street.agreement("list", "home-2")[0]["state"] == "proposed"
    street.agreement("accept", number, by="home-2")
    assert street.agreement("list", "home-2")[0]["in_force"]

    opened = street.until(
        lambda: [row["slot"] for row in street.json("market", "products") if row["state"] == "DELIVERED"]
    )
    slot = max(opened)
    path = street.file("readings.csv", [(slot, 400, 0, 400, 0)])
    assert street.run("meter", "day", "home-2/load", path, by="home-2/load.meter").exit_code == 0
    shares = street.until(lambda: street.agreement("show", number)["shares"])
    assert [(row["receiver"], row["amount"], row["why"], row["rule"]) for row in shares] == [
        ("home-2/load", 400 * 100, "retail", f"agreement {number}")
    ]
    assert street.pool("home-1") == 100 * TOKEN - 40_000 and street.pool("home-2") == 0
    assert "retail" in street.run("admin", "agreement", "show", number).stdout

    ahead = max(row["slot"] for row in street.json("market", "products") if row["state"] == "OPEN")
    buy = ["wallet", "order", "home-2/load", "buy", "1kWh", "--slot", str(ahead), "--price", "0.0001"]
    order = street.json(*buy, by="home-2/load")["order"]
    street.until(lambda: street.pool("home-1") == 100 * TOKEN - 140_000)
    street.agreement("end", number, by="home-2")
    street.run("wallet", "cancel", order, by="home-2/load")
    street.until(lambda: street.pool("home-1") == 100 * TOKEN - 40_000)
    shown = street.agreement("show", number)
    assert (shown["state"], shown["used"], shown["shares"][1]["returned"]) == ("ended", 40_000, 100_000)
    assert street.refusal("agreement", "share", number, "1", by="home-1").startswith("watt: not-in-force: ")


def test_shares_by_hand_within_one_company(street: Federation) -> None:
    number = str(street.agreement("propose", "home-1", "home-3", "--cap", "5", by="club")["agreement"])
    before = street.pool("home-1")
    street.agreement("share", number, "3", by="club")
    assert (street.pool("home-1"), street.pool("home-3")) == (before - 3 * TOKEN, 3 * TOKEN)
    refused = street.refusal("agreement", "share", number, "2.5", by="home-1")
    assert refused.startswith(f"watt: over-cap: 2.000 tokens are left of the cap of agreement {number}")
    assert street.agreement("show", number)["shares"][0]["receiver"] == ""


def test_a_sale_from_offer_to_payment(street: Federation) -> None:
    terms = ["--cap", "10", "--sale", "90.5%"]
    number = str(street.agreement("propose", "home-1", "home-2", *terms, by="home-1")["agreement"])
    street.agreement("accept", number, by="home-2")
    before = street.pool("home-1")
    sale = str(street.json("admin", "sale", "offer", number, "4", by="home-1")["sale"])
    assert street.refusal("sale", "accept", sale, "--payment", "x", by="home-3").startswith("watt: wrong-key: ")
    street.json("admin", "sale", "accept", sale, "--payment", "bank 118", by="home-2")
    assert (street.pool("home-1"), street.pool("home-2")) == (before - 4 * TOKEN, 4 * TOKEN)
    street.json("admin", "sale", "confirm", sale, by="home-1")
    (row,) = street.json("admin", "sale", "list", "home-2")
    assert (row["state"], row["due"], bytes.fromhex(row["payment"])) == ("paid", 3_620_000_000, b"bank 118")
    assert "bank 118" in street.run("admin", "sale", "list", "home-1").stdout
    assert street.refusal("sale", "withdraw", sale, by="home-1").startswith("watt: not-offered: ")


def test_the_graph_and_what_it_tells(street: Federation, tmp_path: Path) -> None:
    for giver, taker in (("home-1", "home-2"), ("home-2", "home-3")):
        street.agreement("propose", giver, taker, "--cap", "20", "--automatic", by="club")
    found = {(row["kind"], *row["networks"]) for row in street.agreement("check", by=VALIDATOR)}
    assert ("path", "home-1", "home-2", "home-3") in found and ("nobody-helps", "home-1") in found
    assert ("one-helper", "home-2") in found
    assert (
        "is no agreement: home-1 helps home-3 by hand only"
        in street.run("admin", "agreement", "check", by=VALIDATOR).stdout
    )
    assert street.refusal("agreement", "check").startswith("watt: not-allowed: "), "of all networks"
    assert street.agreement("check", "--company", "club") == street.agreement("check", by=VALIDATOR)
    dot = tmp_path / "agreements.dot"
    shown = street.agreement("graph", "home-3", "--dot", str(dot))
    assert shown["networks"] == ["home-1", "home-2", "home-3"]
    assert '"home-2" -> "home-3"' in dot.read_text()
    assert "home-1 (at most 20.000)" in street.run("admin", "agreement", "graph", by=VALIDATOR).stdout
    nobodys = ("agreement", "graph", "--company", "nobody"), ("agreement", "graph", "home-9")
    for words, code in zip(nobodys, ("unknown-member", "unknown-network"), strict=True):
        assert street.refusal(*words, by=VALIDATOR).startswith(f"watt: {code}: ")
        assert street.refusal(*words).startswith("watt: not-allowed: ")
