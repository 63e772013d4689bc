"""Retention: what is FINAL for long enough goes, what a later rule needs stays, and a digest says what it was."""

import re
from pathlib import Path
from typing import Any, cast

import pytest

from chaincode import market_calendar, market_products, market_retention, pruned, settlement_readings
from chaincode.contract import ContractError
from chaincode.keys import text, uint
from chaincode.market_products import DAY_S
from node.model.codec import encode
from tests.chaincode.marketplace import DEVICES, audit, balance, key_of, marketplace, order, tick
from tests.chaincode.world import World

SLOT_S = 14_400
SLOTS_PER_DAY = DAY_S // SLOT_S
RETENTION_S = 7_200
TABLES = tuple(name for name, _ in market_retention._TABLES)


def town(retention_s: int = RETENTION_S, **settings: Any) -> World:
    """Slots of four hours; a slot is FINAL 45 minutes after its end."""
    return marketplace(slot_seconds=SLOT_S, open_before_s=2 * SLOT_S, retention_s=retention_s, **settings)


def go_to(world: World, time: int) -> None:
    """All that the calendar asks for until ``time``, and a block then."""
    while (due := world.next_event()) is not None and due <= time:
        world.next_block(max(due, world.time))
    world.next_block(time)


def report(world: World, device: str, slot: int, import_wh: int, export_wh: int) -> None:
    """A reading of a meter that runs evenly."""
    registers = {"import_register": (slot + 1) * import_wh, "export_register": (slot + 1) * export_wh}
    world.call(
        key_of(f"meter {device}"), "settlement", "report",
        device=device, slot=slot, import_wh=import_wh, export_wh=export_wh, **registers,
    )  # fmt: skip


def trade(world: World, slot: int) -> None:
    """Two auctions with trades in ``slot``, and one order that expires."""
    order(world, "home-2/pv", "sell", slot=slot, wh=900, price=30)
    order(world, "home-1/load", "buy", slot=slot, wh=600, price=80)
    tick(world)
    order(world, "home-3/ev", "buy", slot=slot, wh=2_000, price=25)
    order(world, "home-1/battery", "buy", slot=slot, wh=200, price=90)
    tick(world)


def details(world: World, slot: int) -> dict[bytes, Any]:
    """All entries of the state that are details of a slot, found by looking at every entry there is."""
    with world.transaction() as ctx:
        found: dict[bytes, Any] = {}
        for name in TABLES:
            for key, value in ctx.scan(name.encode() + b"/"):
                if _slot_of(name, key, value) == slot:
                    found[key] = value
        return found


def _slot_of(name: str, key: bytes, value: Any) -> int:
    rest = key[len(name) + 1 :]
    if name == "order":
        return cast("int", value[2])
    if dict(market_retention._TABLES)[name] != market_retention.SLOT:
        rest = rest[rest.index(b"\0") + 1 :]
    return int.from_bytes(rest[:8], "big")


def parts(world: World, slot: int) -> dict[str, pruned.Part] | None:
    value = world.query("market", "pruned", slot=slot)
    return None if value is None else {row[0]: pruned.Part(*row) for row in cast("Any", value)}


KEPT = {
    "accounts, rights, devices": "acc-company acc-device acc-named acc-network acc-supply device device-fills "
    "device-moves member-networks network network-devices network-list role-admins role-key role-member role-single",
    "budgets, which follow periods": "bud-alerts bud-calendar bud-donor bud-hold bud-length bud-need "
    "bud-owed bud-policy bud-settings bud-share bud-watch bud-arrears bud-secured bud-cut bud-cut-end bud-paid "
    "bud-since carry-lots period-closing period-settled",
    "supply and companies": "company-given company-limit sup-cap sup-issue sup-open sup-price "
    "sup-redeemed sup-redemption sup-reference tariff tariff-next net-class request request-of",
    "what owners agreed on": "agr-agreement agr-asks agr-gift agr-gives agr-helped agr-live agr-movement agr-of "
    "agr-taken agr-takes agr-used bud-past sale sale-of sale-open",
    "rules and members": "gov-admin gov-epoch gov-seat grid grid-bus grid-draft grid-feeder market market-rules slots",
    "sums": "cleared estimates metered origin origin-period origin-store product pruned rent rent-part rent-period "
    "rent-toll settled-period settled-rent",
    "calendars, and what waits": "bulk calendar gap meter meter-gap outage outage-moves parked parked-slot period-due "
    "period-queue period-work releasing request-open settling",
    "with the readings that they were": "reading-was",
    "what owners have erased": "erased erasing",
    "deleted whole, with the last of its slot": "flows",
    "who may read": "grant grant-to role-auditors",
    "keys to come, and those that were": "key-enrolment role-admin-was role-one-time",
    "what else is voted on": "grid-voted motion-place motion-scheduled motions upgrades",
}
"""Tables that are not emptied, and why."""


def test_every_table_is_either_kept_for_a_reason_or_emptied() -> None:
    sources = (path.read_text() for path in Path(market_retention.__file__).parent.glob("*.py"))
    named = {name for source in sources for name in re.findall(r'= b"([a-z-]+)/[a-z]*"', source)}
    named |= {table[:-1].decode() for table in settlement_readings.READING_TABLES}
    kept = {name for names in KEPT.values() for name in names.split()}
    assert not kept & set(TABLES)
    assert named == kept | set(TABLES)


def test_details_go_and_a_digest_of_them_stays() -> None:
    world = town()
    trade(world, 1)
    go_to(world, 2 * SLOT_S)
    for device in DEVICES:
        report(world, device, 1, 300 if device.endswith("load") else 0, 0)
    go_to(world, 2 * SLOT_S + 2_700)
    product = cast("tuple[Any, ...]", world.query("market", "product", slot=1))
    assert product[1] == "FINAL" and parts(world, 1) is None
    before = details(world, 1)
    assert {key.split(b"/")[0] for key in before} >= {b"auction", b"auction-trade", b"order", b"position", b"reading"}
    go_to(world, 2 * SLOT_S + 2_700 + RETENTION_S)
    after = details(world, 1)
    assert {key.split(b"/")[0] for key in after} == {b"reading"}, "estimates of the week after need the readings"
    go_to(world, 2 * SLOT_S + 2_700 + 7 * DAY_S + DAY_S)
    left = details(world, 1)
    assert set(left) == {b"reading/" + text(device) + uint(1) for device in DEVICES}, "the last readings of all meters"
    kept = parts(world, 1)
    assert kept is not None and "reading" not in kept
    for name, part in kept.items():
        gone = {key: value for key, value in before.items() if key.startswith(name.encode() + b"/")}
        assert part.entries == len(gone) > 0
    for name in ("auction", "auction-order", "auction-trade"):
        digest = pruned.NO_ENTRIES
        for key in sorted(key for key in before if key.startswith(name.encode() + b"/")):
            digest = pruned.chained(digest, key, encode(before[key]))
        assert kept[name].digest == digest
    assert cast("Any", world.query("market", "product", slot=1)) == product
    audit(world)


def test_readings_go_when_no_estimate_is_made_of_them_any_more() -> None:
    world = town()
    for slot in range(10 * SLOTS_PER_DAY):
        go_to(world, (slot + 1) * SLOT_S)
        for device in ("home-1/load", "home-2/load"):
            if device == "home-1/load" or slot < 3:
                report(world, device, slot, 300, 0)
        final = slot - 7 * SLOTS_PER_DAY - 2
        with world.transaction() as ctx:
            assert settlement_readings.find(ctx, "home-1/load", max(final + 2, 0)) is not None
            if final > SLOTS_PER_DAY:
                assert settlement_readings.find(ctx, "home-1/load", final - SLOTS_PER_DAY) is None
    with world.transaction() as ctx:
        assert settlement_readings.find(ctx, "home-2/load", 1) is None
        kept = settlement_readings.find(ctx, "home-2/load", 2)
        assert kept is not None and kept.is_read, "the registers of the next reading must join it"
        assert settlement_readings.find(ctx, "home-2/load", 3) is not None, "a gap that a later register may explain"
        assert settlement_readings.find(ctx, "home-3/pv", 3) is None
    report(world, "home-2/load", 10 * SLOTS_PER_DAY - 1, 300, 0)
    audit(world)


def test_pruned_details_are_asked_for_in_vain_and_with_a_clear_code() -> None:
    world = town()
    trade(world, 1)
    args: dict[str, dict[str, Any]] = {
        "auction": {"slot": 1, "number": 0},
        "auctions": {"slot": 1},
        "trades": {"slot": 1},
        "device_trades": {"slot": 1, "device": "home-1/load"},
        "position": {"slot": 1, "device": "home-1/load"},
        "orders": {"slot": 1, "device": "home-1/load"},
        "prices": {"slot": 1},
    }
    for method, arguments in args.items():
        world.query("market", method, **arguments)
    go_to(world, 2 * SLOT_S + 2_700 + RETENTION_S)
    for method, arguments in args.items():
        with pytest.raises(ContractError) as refused:
            world.query("market", method, **arguments)
        assert refused.value.code == "pruned", method
    of_slot: dict[str, dict[str, Any]] = {"settled": {"slot": 1}, "bill": {"first_slot": 0, "last_slot": 2}}
    for method, arguments in of_slot.items():
        with pytest.raises(ContractError) as refused:
            world.query("settlement", method, network="home-1", **arguments)
        assert refused.value.code == "pruned", method
    assert cast("Any", world.query("market", "product", slot=1))[15] == 2
    assert world.query("market", "pruned", slot=2) is None


def test_nothing_is_pruned_without_a_retention() -> None:
    world = town(0)
    trade(world, 1)
    before = details(world, 1)
    go_to(world, 9 * DAY_S)
    assert parts(world, 1) is None and before.keys() <= details(world, 1).keys() | {
        key for key in before if key.split(b"/")[0] in (b"book", b"side", b"pending", b"acc-escrow")
    }


@pytest.mark.parametrize(("first", "then"), [(0, RETENTION_S), (RETENTION_S, 0)])
def test_a_slot_keeps_the_retention_under_which_it_became_final(first: int, then: int) -> None:
    """Whatever is voted later: neither goes what was to stay, nor stays what was to go."""
    world = town(first)
    trade(world, 1)
    go_to(world, 2 * SLOT_S + 2_700)
    with world.transaction() as ctx:
        assert market_products.is_final(ctx, 1) and not market_products.is_final(ctx, 2)
        market_products.put_settings(ctx, market_products.settings_of(ctx)._replace(retention_s=then))
    trade(world, 3)
    go_to(world, 9 * DAY_S)
    assert [parts(world, slot) is not None for slot in (1, 3)] == [first > 0, then > 0]


def test_a_slot_with_money_left_in_escrow_is_kept() -> None:
    world = town()
    trade(world, 1)
    with world.transaction() as ctx:
        key = b"acc-escrow/" + uint(1)
        held = cast("int", ctx.get(key))
        ctx.put(key, held + 1)  # what nobody can ever claim: the slot's end fails, and is parked
    go_to(world, 2 * SLOT_S + 2_700 + RETENTION_S + 3 * DAY_S)
    assert balance(world, "escrow:1") > 0
    assert parts(world, 1) is None and details(world, 1)


def test_a_block_deletes_a_bounded_part(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, piecemeal = town(), town()
    for world in (whole, piecemeal):
        trade(world, 1)
        go_to(world, 2 * SLOT_S + 2_700)
    due = 2 * SLOT_S + 2_700 + RETENTION_S
    go_to(whole, due)
    monkeypatch.setattr("chaincode.settlement_events.WORK_PER_BLOCK", 3)
    blocks = 0
    while (soon := piecemeal.next_event()) is not None and soon <= due:
        before = details(piecemeal, 1)
        piecemeal.next_block(max(soon, piecemeal.time))
        blocks += 1
        assert len(before) - len(details(piecemeal, 1)) <= 3 + 2, "a unit of one device may pass the bound"
    assert blocks > 5
    assert parts(piecemeal, 1) == parts(whole, 1)


def test_readings_stay_while_an_older_slot_is_open() -> None:
    """Slots need not become FINAL in their order when rules change; a correction must still find its neighbours."""
    world = town()
    go_to(world, 2 * SLOT_S + 900)
    final_at = 2 * SLOT_S + 2_700
    with world.transaction() as ctx:  # it stays open, as by rules that gave it longer
        market_calendar.remove(ctx, market_calendar.SETTLEMENT, final_at, market_calendar.FINAL, 1)
    go_to(world, 10 * DAY_S)
    with world.transaction() as ctx:
        assert market_products.oldest_unfinished(ctx) == 1
        assert settlement_readings.find(ctx, "home-3/pv", 0) is None
        assert settlement_readings.find(ctx, "home-3/pv", 2) is not None
        entry = market_calendar.Entry(ctx.time, market_calendar.FINAL, 1, ())
        market_calendar.put(ctx, market_calendar.SETTLEMENT, entry)
    go_to(world, 10 * DAY_S + 2 * 3_600)
    with world.transaction() as ctx:
        assert settlement_readings.find(ctx, "home-3/pv", 2) is None


def test_a_gap_stays_while_one_of_its_slots_may_be_corrected() -> None:
    world = town(retention_s=1, dispute_window_s=7 * DAY_S)
    meter, load = key_of("meter home-1/load"), "home-1/load"
    last = 13 * SLOTS_PER_DAY
    go_to(world, SLOT_S)
    report(world, load, 0, 0, 0)
    go_to(world, (last + 1) * SLOT_S)
    rows = ((0, 0, 10_000, 0),)
    world.call(meter, "settlement", "report_day", device=load, first_slot=last, rows=rows)
    go_to(world, 15 * DAY_S)
    assert reading(world, "home-2/load", 0) is None and reading(world, load, 0) is not None
    # In the end nothing had flowed before the last slot but one.
    world.call(meter, "settlement", "correct", device=load, first_slot=last - 2, rows=((0, 0, 0, 0),))
    go_to(world, world.time + 1)
    with world.transaction() as ctx:
        still_open = [slot for slot in range(last - 2) if not market_products.is_final(ctx, slot)]
    assert len(still_open) > SLOTS_PER_DAY
    for slot in still_open:
        row = reading(world, load, slot)
        assert row is not None and row[0] == 0, "divided anew from the reading before the gap"
    assert cast("Any", reading(world, load, last - 1))[0] == 10_000


def reading(world: World, device: str, slot: int) -> Any:
    """What is kept of a device in a slot, whatever has been deleted."""
    with world.transaction() as ctx:
        return settlement_readings.find(ctx, device, slot)
