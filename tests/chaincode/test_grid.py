"""The grid on the ledger: versions, pinning, and what is no grid."""

from typing import Any

import pytest

from chaincode import grid
from chaincode.contract import Context, ContractError
from chaincode.grid import Grid
from tests.chaincode.neighbourhood import OPERATOR, STRANGER, UTILITY, neighbourhood
from tests.chaincode.world import World

LINES = (("t", "b1", 100, 50, 7_000, None), ("t", "b2", 200, 100, None, 3_600))


def test_a_pinned_version_has_limits_per_slot() -> None:
    world = neighbourhood()
    with world.transaction() as ctx:
        assert grid.current_version(ctx) == 1
        tree, buses, index_of = grid.pinned(ctx, 1)
    assert buses == ("t", "b1", "b2") and index_of == {"t": 0, "b1": 1, "b2": 2}
    assert tree.toll == (0, 50, 100)
    assert tree.limit_down_wh == (None, 3_500, None) and tree.limit_up_wh == (None, None, 1_800)
    assert world.query("grid", "tree") == (1, "t", 0, LINES)


def test_a_new_version_leaves_the_old_one_as_it_was() -> None:
    world = neighbourhood()
    lines = (*LINES[:1], ("b1", "b2", 10, 7, None, None), ("b2", "b3", 10, 1, None, None))
    assert world.call(OPERATOR, "grid", "publish", root="t", lines=lines) == 2
    assert world.query("grid", "version") == 2
    assert world.query("grid", "tree", version=1) == (1, "t", 0, LINES)
    assert world.query("grid", "tree") == (2, "t", 0, lines)
    with world.transaction() as ctx:
        assert grid.has_bus(ctx, "b3") and not grid.has_bus(ctx, "b4")
        assert grid.pinned(ctx, 1).tree.parent == (-1, 0, 0)
        assert grid.pinned(ctx, 2).tree.parent == (-1, 0, 1, 2)
    assert [event.data for event in world.events if event.topic == "grid-published"] == [1, 2]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (LINES[:1], "missing-bus"),
        ((*LINES, ("b1", "b2", 1, 1, None, None)), "two-parents"),
        ((*LINES, ("b8", "b9", 1, 1, None, None)), "disconnected-grid"),
        ((*LINES, ("b2", "t", 1, 1, None, None)), "cyclic-grid"),
        ((*LINES, ("b2", "b2", 1, 1, None, None)), "self-loop"),
        ((*LINES, ("b2", "b3", -1, 1, None, None)), "bad-metres"),
        ((*LINES, ("b2", "b3", 1, -1, None, None)), "bad-step"),
        ((*LINES, ("b2", "b3", 1, 2**64 - 1, None, None)), "bad-step"),
        ((*LINES, ("b2", "b3", 1, grid.MAX_TOLLS, None, None)), "bad-toll"),
        ((*LINES, ("b2", "b3", 1, 1, -1, None)), "bad-limit"),
        ((*LINES, ("b2", "b3", 1, 1, None, 2**62)), "bad-limit"),
        ((*LINES, ("b2", "", 1, 1, None, None)), "bad-bus"),
        ((*LINES, ("b2", "b" * 49, 1, 1, None, None)), "bad-bus"),
        ((*LINES, ("b2", "b\0c", 1, 1, None, None)), "bad-bus"),
        ((*LINES, ("b2", "Bäckerei", 1, 1, None, None)), "bad-bus"),
        ((*LINES, ("b2", "\U0001f600" * 40, 1, 1, None, None)), "bad-bus"),
        ((*LINES, ("b2", "-b3", 1, 1, None, None)), "bad-bus"),
        (tuple(("t", f"b{i}", 1, 1, None, None) for i in range(1, 2_002)), "too-many-buses"),
        ((("t", "b1", 1, 1, None),), "bad-args"),
    ],
)
def test_what_is_no_grid(lines: Any, code: str) -> None:
    world = neighbourhood()
    assert world.refused(OPERATOR, "grid", "publish", root="t", lines=lines) == code
    assert world.query("grid", "version") == 1


def test_names_of_buses() -> None:
    world = neighbourhood()
    names = ("bus-n00", "feeder-a", "b0", "T_1/west.3", "b" * 48)
    lines = (*LINES, *((LINES[0][0], name, 1, 1, None, None) for name in names))
    world.call(OPERATOR, "grid", "publish", root="t", lines=lines)
    with pytest.raises(ContractError, match="bad-bus"):
        World([Grid()], {"grid": {"root": "t\0", "lines": ()}})


def test_only_the_grid_operator_publishes() -> None:
    world = neighbourhood()
    for sender in (UTILITY, STRANGER, b""):
        assert world.refused(sender, "grid", "publish", root="t", lines=LINES) == "not-allowed"


def test_versions_that_do_not_exist() -> None:
    world = neighbourhood()
    for version in (0, -1, 2, 2**40):
        with pytest.raises(ContractError, match="unknown-grid"):
            world.query("grid", "tree", version=version)


def test_a_toll_is_the_rate_times_the_metres_and_a_step() -> None:
    world = neighbourhood()
    assert world.call(OPERATOR, "grid", "publish", root="t", lines=LINES, rate=7) == 2
    assert world.query("grid", "tree") == (2, "t", 7, LINES)
    with world.transaction() as ctx:
        assert grid.pinned(ctx, 2).tree.toll == (0, 7 * 100 + 50, 7 * 200 + 100)
        assert grid.pinned(ctx, 1).tree.toll == (0, 50, 100)


@pytest.mark.parametrize(
    ("rate", "code"),
    [
        (-1, "bad-rate"),
        (2**64 - 1, "bad-rate"),
        (grid.MAX_RATE, "bad-toll"),  # times the metres more than 63 bits
        (grid.MAX_TOLLS // 300, "bad-toll"),  # each within 63 bits, together too much
        (True, "bad-args"),
    ],
)
def test_what_is_no_rate(rate: Any, code: str) -> None:
    world = neighbourhood()
    assert world.refused(OPERATOR, "grid", "publish", root="t", lines=LINES, rate=rate) == code


def test_a_large_grid_comes_back_line_by_line() -> None:
    world = neighbourhood()
    more = tuple((f"b{i // 2 or 1}", f"b{i}", i, i, None, i) for i in range(3, grid.MAX_LINES + 1))
    world.call(OPERATOR, "grid", "publish", root="t", lines=LINES + more)
    assert world.query("grid", "tree") == (2, "t", 0, LINES + more)


def test_a_grid_too_large_for_one_transaction_is_drafted_first() -> None:
    world = neighbourhood()
    first = tuple(("t", f"c{i}", 1, 0, None, None) for i in range(700))
    second = tuple(("t", f"d{i}", 1, 0, None, None) for i in range(300))
    assert world.call(OPERATOR, "grid", "draft", lines=second) == 300
    assert world.call(OPERATOR, "grid", "draft", lines=first) == 700, "an older draft is forgotten"
    assert world.refused(OPERATOR, "grid", "draft", lines=second, after=300) == "wrong-draft"
    assert world.refused(OPERATOR, "grid", "publish", root="t", lines=LINES, drafted=300) == "wrong-draft"
    assert world.call(OPERATOR, "grid", "draft", lines=second, after=700) == 1000
    assert world.query("grid", "drafted") == 1000
    assert world.call(OPERATOR, "grid", "publish", root="t", lines=LINES, drafted=1000) == 2
    assert world.query("grid", "tree") == (2, "t", 0, first + second + LINES)
    assert world.query("grid", "drafted") == 0
    with world.transaction() as ctx:
        assert not list(ctx.scan(b"grid-draft/"))
    assert world.refused(OPERATOR, "grid", "publish", root="t", lines=LINES, drafted=1000) == "wrong-draft"


def test_what_is_no_draft() -> None:
    world = neighbourhood()
    assert world.refused(UTILITY, "grid", "draft", lines=LINES) == "not-allowed"
    assert world.refused(OPERATOR, "grid", "draft", lines=(("t", "b3", -1, 0, None, None),)) == "bad-metres"
    lines = tuple(("t", f"c{i}", 1, 0, None, None) for i in range(1_500))
    world.call(OPERATOR, "grid", "draft", lines=lines)
    assert world.refused(OPERATOR, "grid", "draft", lines=lines, after=1_500) == "too-many-buses"
    assert world.refused(OPERATOR, "grid", "draft", lines=LINES, after=-1) == "wrong-draft"
    assert world.query("grid", "drafted") == 1_500 and world.query("grid", "version") == 1


def test_the_feeder_meter_is_named_by_the_grid_operator() -> None:
    world = neighbourhood()
    key = bytes(range(32))
    assert world.query("grid", "feeder") is None
    assert world.refused(UTILITY, "grid", "set_feeder_meter", key=key) == "not-allowed"
    assert world.refused(OPERATOR, "grid", "set_feeder_meter", key=key[1:]) == "bad-key"
    with world.transaction() as ctx:
        assert not world.registry.knows(ctx, key)
    world.call(OPERATOR, "grid", "set_feeder_meter", key=key)
    assert world.query("grid", "feeder") == key
    with world.transaction() as ctx:
        assert grid.feeder_meter(ctx) == key
        assert world.registry.knows(ctx, key) and world.registry.knows(ctx, OPERATOR)
        assert not world.registry.knows(ctx, STRANGER)


def test_the_genesis_may_name_rate_and_feeder_meter() -> None:
    world = World([Grid()], {"grid": {"root": "t", "rate": 3, "lines": LINES, "feeder_meter": "ab" * 32}})
    assert world.query("grid", "tree") == (1, "t", 3, LINES) and world.query("grid", "feeder") == b"\xab" * 32


@pytest.mark.parametrize(
    "settings",
    [
        {"root": "t", "lines": (("t", "b"),)},
        {"root": "t", "lines": (), "version": 0},
        {"root": "t", "lines": (), "rate": "3"},
        {"root": "t", "lines": (), "feeder_meter": "AB" * 32},
    ],
)
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match="bad-settings"):
        World([Grid()], {"grid": settings})


def test_without_settings_there_is_no_grid() -> None:
    world = World([Grid()])

    def version(ctx: Context) -> int:
        return grid.current_version(ctx)

    with world.transaction() as ctx, pytest.raises(ContractError, match="not-configured"):
        version(ctx)
