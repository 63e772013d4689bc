"""What people type becomes the ledger's integers exactly, or not at all."""

from decimal import Decimal

import click
import pytest

from cli.slots import SLOT, slot_shown, slot_words
from cli.units import ENERGY, TOKENS, Count, base_units, base_units_per_wh, clock, kwh, per_kwh


@pytest.mark.parametrize(("text", "wh"), [("1.5kWh", 1500), ("1500Wh", 1500), ("1500", 1500), ("0.001KWH", 1)])
def test_energy(text: str, wh: int) -> None:
    assert ENERGY.convert(text, None, None) == wh


@pytest.mark.parametrize(
    "text", ["", "kWh", "1.5", "0.0001kWh", "nan", "inf", "1e99999999999999999999999999999", "much"]
)
def test_energy_that_is_none(text: str) -> None:
    with pytest.raises(click.BadParameter):
        ENERGY.convert(text, None, None)


def test_money() -> None:
    assert base_units(TOKENS.convert("2.5", None, None), 9) == 2_500_000_000
    assert base_units_per_wh(TOKENS.convert("0.85", None, None), 9) == 850_000
    with pytest.raises(click.BadParameter, match="finer"):
        base_units(Decimal("0.0000000001"), 9)
    with pytest.raises(click.BadParameter, match="finer"):
        base_units_per_wh(Decimal("0.0000001"), 9)
    assert per_kwh(850_000) == "0.8500"
    assert kwh(1_234_567) == "1,234.567"


def test_slots() -> None:
    assert slot_at("832032") == 832032
    assert slot_at("2017-06-16T12:30") * 1800 == 1497616200
    assert slot_at("2017-06-16T14:30+02:00") == slot_at("2017-06-16 12:59")
    assert clock(1497616200) == "2017-06-16 12:30:00"
    assert clock(2**63) == clock(10**15 * 900) == "9999-12-31 23:59:59", "no end in sight: somebody said so"
    assert slot_shown(10**15 - 1, 900) == "999999999999999 9999-12-31 23:59"
    assert slot_shown(832009, 1800) == "832009 2017-06-16 12:30"
    assert slot_words(832009, 1800) == "slot 832009 (2017-06-16 12:30 UTC)"
    for text in ("noon", "٣", "-1", "1" * 16, "0001-01-01", "0001-01-01T00:00+23:59", "1969-12-31T23:59"):
        with pytest.raises(click.BadParameter):
            slot_at(text)


def slot_at(text: str) -> int:
    return SLOT.convert(text, None, None).at(1800)


@pytest.mark.parametrize(
    "text", ["1e30", "1e30kWh", "1e999999999", "-1", "-3kWh", "٣", "nan", "9223372036854775808", "1" * 29]
)
def test_what_the_ledger_cannot_count_is_wrong_usage(text: str) -> None:
    with pytest.raises(click.BadParameter):
        ENERGY.convert(text, None, None)
    with pytest.raises(click.BadParameter):
        TOKENS.convert(text, None, None)
    with pytest.raises(click.BadParameter):
        Count().convert(text, None, None)


def test_amounts_out_of_range_in_base_units() -> None:
    with pytest.raises(click.BadParameter):
        base_units(TOKENS.convert("1e18", None, None), 9)
    with pytest.raises(click.BadParameter):
        base_units(TOKENS.convert("1e-999999", None, None), 9)
    for amount in ("1e999999999", "1e-999999999", "1." + 35 * "0" + "1"):  # arithmetic would overflow, or round
        for convert in (base_units, base_units_per_wh):
            with pytest.raises(click.BadParameter):
                convert(Decimal(amount), 9)
    with pytest.raises(click.BadParameter):
        ENERGY.convert("1e-999999999kWh", None, None)
    assert Count().convert("9223372036854775807", None, None) == 2**63 - 1
