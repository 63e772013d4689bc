"""A report that hides an error is worse than none: each claim that it makes is checked against the others."""

import json
from dataclasses import replace

import pytest

from testnet.community import SLOTS
from testnet.demo_day import Outage
from testnet.report import BILL, ChainResult, Report, SlotResult, faults, report_json

GOOD = Report(
    date="2017-06-16",
    seconds=190.0,
    cores=2,
    slots=[SlotResult(1, "SETTLED", 1, 1, 500, 400, 350, 40, 10, 1, 0, ())],
    homes={
        "home-01": dict.fromkeys(BILL, 0) | {"slots": SLOTS, "bought_wh": 500, "bought": 360, "tolls": 40, "cost": 400},
        "home-02": dict.fromkeys(BILL, 0) | {"slots": SLOTS, "sold_wh": 500, "sold": 350, "cost": -350},
    },
    shares=[],
    alerts=[],
    helped={"device": "home-01/ev", "borrowed": 5},
    supply=(100, 10, 90),
    chain=ChainResult(9, "00", 4, True, 9, 20, {"ok": 20}, 10.0, 2.0, 5),
    outage=Outage("node-0", 10, 2.0),
)


def test_a_good_report_has_no_faults() -> None:
    assert faults(GOOD) == []


def test_as_json() -> None:
    value = json.loads(report_json(replace(GOOD, shares=[{"giver": "home-01/load", "reference": b"\x0a"}])))
    assert (value["traded_wh"], value["cost"], value["chain"]["agree"]) == (500, 50, True)
    assert value["shares"][0]["reference"] == "0a"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (replace(GOOD, chain=replace(GOOD.chain, agree=False)), "disagree"),
        (replace(GOOD, supply=(100, 10, 91)), "not conserved"),
        (replace(GOOD, slots=[replace(GOOD.slots[0], received=351)]), "did not pay"),
        (replace(GOOD, slots=[replace(GOOD.slots[0], state="CLOSED")]), "not settled"),
        (replace(GOOD, slots=[replace(GOOD.slots[0], energy_wh=0)]), "nothing was traded"),
        (replace(GOOD, slots=[replace(GOOD.slots[0], energy_wh=501)]), "energy"),
        (replace(GOOD, slots=[replace(GOOD.slots[0], paid=401, rent=11)]), "money that was paid"),
        (replace(GOOD, homes={"home-01": GOOD.homes["home-01"] | {"slots": SLOTS - 1}}), "not settled"),
        (replace(GOOD, helped={"device": "home-01/ev", "borrowed": 0}), "nobody ran out"),
        (replace(GOOD, outage=None), "no node was killed"),
    ],
)
def test_a_wrong_report_fails_loudly(bad: Report, says: str) -> None:
    assert any(says in claim for claim in faults(bad)), faults(bad)
