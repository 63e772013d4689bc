"""Readings in bulk: a meter's day, and many meters' rows by a collector."""

from typing import Any

import pytest

from chaincode.contract import Value
from chaincode.settlement_messages import TAG_READING, reading_message
from chaincode.settlement_metering import MAX_COLLECTED_ROWS, MAX_DAY_ROWS
from node.model import keys
from tests.chaincode.marketplace import SLOT_S, key_of
from tests.chaincode.meters import collect, day, energy, meter, row, running, signed, street, told
from tests.chaincode.world import CHAIN, World

LOAD, BATTERY, PV = "home-1/load", "home-1/battery", "home-2/pv"


@pytest.fixture
def evening() -> World:
    """Four slots are over, and their metering windows open."""
    world = street(metering_window_s=8 * SLOT_S)
    world.next_block(4 * SLOT_S)
    return world


def test_a_meters_day_is_one_transaction(evening: World) -> None:
    assert day(evening, BATTERY, 0, [(300, 0), (0, 200), (50, 50), (0, 0)], start=(1_000, 70)) == ()
    last = row(evening, BATTERY, 3)
    assert last is not None and last[:5] == (0, 0, 1_350, 320, False)
    assert told(evening, "reading") == [
        (0, 300, 0, 1_300, 70),
        (1, 0, 200, 1_300, 270),
        (2, 50, 50, 1_350, 320),
        (3, 0, 0, 1_350, 320),
    ]


def test_of_a_day_each_row_counts_by_itself(evening: World) -> None:
    assert day(evening, LOAD, 1, [(200, 0)], start=(100, 0)) == ()
    # Slot 0 fits; 1 is known, with other figures; 2 draws too much; 3 is fine; 4 is not over.
    rows = (*running([(100, 0), (201, 0), (5_001, 0)], (0, 0)), (40, 0, 5_341, 0), (0, 0, 5_341, 0))
    args = {"device": LOAD, "first_slot": 0, "rows": rows}
    refused = evening.call(meter(LOAD).public_key, "settlement", "report_day", **args)
    assert refused == ((1, "conflict"), (2, "out-of-limit"), (4, "too-early"))
    assert [energy(evening, LOAD, slot) for slot in (0, 1, 3)] == [(100, 0), (200, 0), (40, 0)]
    assert row(evening, LOAD, 2) is None
    # The same once more: nothing is left to be taken, so the transaction is refused, with the first row's code.
    assert evening.refused(meter(LOAD).public_key, "settlement", "report_day", **args) == "duplicate"


def test_only_the_meter_reports_its_day_and_not_too_much_of_it(evening: World) -> None:
    args: dict[str, Any] = {"device": LOAD, "first_slot": 0, "rows": running([(1, 0)], (0, 0))}
    assert evening.refused(key_of(LOAD), "settlement", "report_day", **args) == "wrong-key"
    assert evening.refused(meter(BATTERY).public_key, "settlement", "report_day", **args) == "wrong-key"
    sender = meter(LOAD).public_key
    assert evening.refused(sender, "settlement", "report_day", **{**args, "device": "home-9/x"}) == "unknown-device"
    for rows in ((), running([(0, 0)] * (MAX_DAY_ROWS + 1), (0, 0))):
        assert evening.refused(sender, "settlement", "report_day", **{**args, "rows": rows}) == "bad-rows"


def test_a_collector_brings_what_meters_have_signed(evening: World) -> None:
    rows = [
        signed(LOAD, 0, (100, 0), (100, 0)),
        signed(BATTERY, 0, (0, 30), (500, 40)),
        signed(LOAD, 1, (7, 0), (107, 0)),
        signed(PV, 3, (0, 900), (0, 900)),
    ]
    assert collect(evening, rows) == ()
    assert energy(evening, BATTERY, 0) == (0, 30) and energy(evening, LOAD, 1) == (7, 0)
    assert len(told(evening, "reading")) == 4
    assert collect(evening, rows) == "duplicate"


def test_of_collected_rows_each_counts_by_itself(evening: World) -> None:
    good = signed(LOAD, 0, (100, 0), (100, 0))
    rows = [
        signed("nobody/load", 0, (1, 0), (1, 0), meter(LOAD)),
        good,
        good,
        signed(LOAD, 0, (101, 0), (101, 0)),
        signed(LOAD, 1, (100, 0), (201, 0)),
        signed(LOAD, 4, (0, 0), (200, 0)),
        signed(LOAD, 999, (0, 0), (200, 0)),
        (LOAD, 1, -1, 0, 99, 0, bytes(64)),
        signed(PV, 0, (1, 0), (1, 0)),
    ]
    assert collect(evening, rows) == (
        (0, "unknown-device"),
        (2, "duplicate"),
        (3, "conflict"),
        (4, "register-mismatch"),
        (5, "too-early"),
        (6, "no-product"),
        (7, "negative"),
        (8, "out-of-limit"),
    )
    assert energy(evening, LOAD, 0) == (100, 0)
    assert collect(evening, [rows[8], rows[4]]) == "out-of-limit"
    evening.next_block(9 * SLOT_S)
    assert collect(evening, [signed(BATTERY, 0, (0, 0), (0, 0)), signed(BATTERY, 8, (0, 0), (0, 0))]) == ((0, "late"),)


def test_a_forged_row_refuses_the_whole_transaction(evening: World) -> None:
    good = signed(LOAD, 0, (100, 0), (100, 0))
    others_signature = signed(BATTERY, 0, (10, 0), (10, 0), meter(LOAD))
    assert collect(evening, [good, others_signature]) == "bad-signature"
    changes: tuple[Value, ...] = (BATTERY, 1, 99, 1, 101, 1, bytes(64))
    for part, value in enumerate(changes):
        code = collect(evening, [(*good[:part], value, *good[part + 1 :])])
        assert code == ("out-of-limit" if part == 3 else "bad-signature"), part
    message = reading_message(bytes([1]) * 32, LOAD, 0, (100, 0), (100, 0))
    assert collect(evening, [(*good[:6], meter(LOAD).sign(message))]) == "bad-signature", "another chain's"
    assert row(evening, LOAD, 0) is None


def test_only_an_aggregator_collects_and_not_too_much(evening: World) -> None:
    rows = [signed(LOAD, 0, (100, 0), (100, 0))]
    for sender in (key_of("home-1"), key_of("utility"), meter(LOAD).public_key):
        assert collect(evening, rows, sender) == "not-allowed"
    assert collect(evening, []) == "bad-rows"
    assert collect(evening, rows * (MAX_COLLECTED_ROWS + 1)) == "bad-rows"


def test_the_signed_message_is_like_no_other() -> None:
    tags = [value for name, value in vars(keys).items() if name.startswith("TAG_")]
    assert TAG_READING not in tags and not any(tag.startswith(TAG_READING) for tag in tags)
    message = reading_message(CHAIN, LOAD, 1, (2, 3), (4, 5))
    assert message == TAG_READING + CHAIN + b"home-1/load\0" + b"".join(n.to_bytes(8, "big") for n in (1, 2, 3, 4, 5))
