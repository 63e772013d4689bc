"""The company's report fails loudly: each of its claims is wrong of some report."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaincode.account_books import NetworkBook
from cli.answers import NETWORK_BUDGET
from testnet.company_money import due
from testnet.company_plan import CHARGERS, HVAC, REFRIGERATION, DevicePlan, NetworkPlan
from testnet.company_report import BETWEEN, CompanyReport, NetworkResult, Shared, faults
from testnet.company_text import print_company
from testnet.report import ChainResult


def books(**change: int | str) -> dict[str, Any]:
    return {**dict.fromkeys(NETWORK_BUDGET, 0), "status": "closed", **change}


LATER = [books(status="active", carried_in=5, pool=5)]
HELPED = NetworkResult(
    1, HVAC, books(received=95, issued=10, spent=100, carried_out=5), LATER, {BETWEEN: Shared(1, 95, 0)}, {}, 50, 100,
    trades=False,
)  # fmt: skip
GIVER = replace(
    HELPED, kind=REFRIGERATION, books=books(issued=200, sent=95, spent=100, carried_out=5), shares={}, metered_wh=30
)
TRADER = replace(GIVER, kind=CHARGERS, books=books(issued=95, spent=90, carried_out=5), due=100, trades=True)
GOOD = CompanyReport(
    days=3,
    day_seconds=20,
    seconds=1.0,
    cores=2,
    devices=3,
    readings=9,
    orders=1,
    late_s=0,
    transactions={"ok": 9},
    refused={},
    refused_readings={},
    traded={"energy_wh": 5, "trades": 1, "paid": 3},
    networks={"shop-1/hvac": HELPED, "shop-1/cold": GIVER, "shop-1/cars": TRADER},
    company=dict.fromkeys(NetworkBook._fields, 0),
    sales=[],
    bought=0,
    worst=[],
    planned_wh=110,
    supply=(305, 290, 15),
    chain=ChainResult(9, "00", 4, True, 9, 20, {"ok": 20}, 10.0, 2.0, 5),
)


def changed(name: str, **change: Any) -> CompanyReport:
    return replace(GOOD, networks={**GOOD.networks, name: replace(GOOD.networks[name], **change)})


def of_books(name: str, **change: int | str) -> CompanyReport:
    return changed(name, books={**GOOD.networks[name].books, **change})


def test_a_good_report_has_no_faults() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (replace(GOOD, chain=replace(GOOD.chain, agree=False)), "disagree"),
        (replace(GOOD, supply=(305, 290, 16)), "not conserved"),
        (of_books("shop-1/cold", sent=94), "is not what was received"),
        (of_books("shop-1/cold", sold=1), "is not what was bought"),
        (replace(GOOD, company={**GOOD.company, "pool": 1}), "own book"),
        (replace(GOOD, refused_readings={"late": 1}), "reading was refused"),
        (replace(GOOD, refused={"orders: expired": 1}), "refused"),
        (replace(GOOD, planned_wh=111), "energy of the data"),
        (replace(GOOD, traded={"energy_wh": 0}), "nothing was traded"),
        (of_books("shop-1/hvac", pool=1), "shop-1/hvac does not add up"),
        (changed("shop-1/hvac", later=[books(carried_in=5)]), "shop-1/hvac does not add up"),
        (of_books("shop-1/hvac", carried_out=4), "carried over"),
        (of_books("shop-1/hvac", status="closing"), "is closing"),
        (changed("shop-1/hvac", shares={BETWEEN: Shared(1, 95, 95)}), "without help"),
        (changed("shop-1/hvac", due=50), "not charged what the data cost"),  # everybody pays double
        (changed("shop-1/cold", due=101), "not charged what the data cost"),
        (changed("shop-1/cars", due=89), "not charged what the data cost"),
    ],
)
def test_a_wrong_report_fails_loudly(bad: CompanyReport, says: str) -> None:
    assert any(says in claim for claim in faults(bad)), faults(bad)


def test_what_data_cost_at_the_tariffs() -> None:
    """An hour at night, one of sun, which costs nothing, one by day, one in the evening, and the next night."""
    wh = {0: 10, 6: -5, 7: 3, 16: 2, 24: 1}
    device = DevicePlan("shop-1/x", "load", False, tuple(wh.get(hour, 0) for hour in range(48)), ())
    assert due(NetworkPlan("shop-1/cold", 1, REFRIGERATION, "bus", (device,))) == (8 * 11 + 10 * 3 + 15 * 2) * 100_000


def test_on_a_narrow_terminal_no_figure_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns that have no room are left out, and named; what is left shows whole figures that add up."""
    monkeypatch.setattr("cli.output.PIPE_WIDTH", 80)
    large = books(received=9_000 * 10**9, earned=434 * 10**9, spent=8_377 * 10**9, sent=1_057 * 10**9)
    print_company(changed("shop-1/hvac", books=large), Path("x"), [])
    wide = capsys.readouterr().out
    assert "9,000.000" in wide and "8,377.000" in wide and "…" not in wide and "without " in wide
    monkeypatch.setattr("cli.output.PIPE_WIDTH", 200)
    print_company(changed("shop-1/hvac", books=large), Path("x"), [])
    assert "1,057.000" in capsys.readouterr().out
