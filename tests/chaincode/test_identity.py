"""Who is who, who may do what, and where devices are connected."""

import re
from pathlib import Path
from typing import Any, cast

import pytest

from chaincode import identity, roles
from chaincode.accounts import Accounts
from chaincode.budget import Budget
from chaincode.contract import ContractError
from chaincode.grid import Grid
from chaincode.identity import Identity
from chaincode.registry import default_registry
from tests.chaincode.keyed import NO_PROOF, agreed, signer
from tests.chaincode.marketplace import balance, marketplace, order, state_of, tick
from tests.chaincode.neighbourhood import (
    ADMIN,
    CLUB,
    DEVICES,
    OWNER_1,
    OWNER_2,
    SLOT_S,
    STRANGER,
    UTILITY,
    at_slot,
    device_row,
    key_of,
    neighbourhood,
    settings,
)
from tests.chaincode.world import World

NEW_DEVICE: dict[str, Any] = {
    "device": "home-2/ev",
    "network": "home-2",
    "kind": "ev",
    "key": signer("home-2/ev"),
    "meter_key": signer("meter"),
    "bus": None,
    "import_w": 7_000,
    "export_w": 0,
    "critical": False,
    "renewable": False,
}


def test_genesis_registers_as_transactions_would() -> None:
    world = neighbourhood()
    assert world.query("identity", "member", member="club") == ("club", CLUB, ("aggregator",))
    assert world.query("identity", "networks") == ("home-1", "home-2")
    assert world.query("identity", "networks", first=1) == ("home-2",)
    assert world.query("identity", "network", network="home-1") == ("home-1", "club", OWNER_1, "b1", 4)
    assert world.query("identity", "devices", network="home-1") == DEVICES
    pv = world.query("identity", "device", device="home-1/pv")
    meter = key_of("meter of home-1/pv")
    assert pv == ("home-1/pv", "home-1", "pv", key_of("home-1/pv"), meter, 10_000, 10_000, False, True, ((0, "b1"),))
    assert world.query("identity", "whoami", key=OWNER_1) == (("network", "home-1"),)
    assert world.query("identity", "whoami", key=meter) == (("meter", "home-1/pv"),)
    assert world.query("identity", "whoami", key=STRANGER) == ()


def test_registering_a_member_a_network_and_a_device() -> None:
    world = neighbourhood()
    shop, owner = signer("shop"), signer("owner")
    world.call(ADMIN, "identity", "register_member", **agreed(ADMIN, member="shop", key=shop, roles=()))
    key = shop.public_key
    for name in ("shop/a", "shop/b"):
        network = agreed(key, network=name, member="shop", owner_key=owner, bus="b2")
        world.call(key, "identity", "register_network", **network)
    at_slot(world, 5)
    device = agreed(key, **NEW_DEVICE | {"network": "shop/a", "bus": "b2"})
    world.call(key, "identity", "register_device", **device)
    assert world.query("identity", "devices", network="shop/a") == ("home-2/ev",)
    assert world.query("identity", "whoami", key=owner.public_key) == (("network", "shop/a"), ("network", "shop/b"))
    with world.transaction() as ctx:
        assert identity.bus_at(ctx, "home-2/ev", 4) is None
        assert identity.bus_at(ctx, "home-2/ev", 5) == "b2"
    topics = [event.topic for event in world.events if event.topic.endswith("-registered")]
    assert topics[-4:] == ["member-registered", "network-registered", "network-registered", "device-registered"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"device": "home-1/ev"}, "duplicate-id"),
        ({"device": ""}, "bad-id"),
        ({"device": "Home"}, "bad-id"),
        ({"device": "/x"}, "bad-id"),
        ({"device": "a" * 49}, "bad-id"),
        ({"device": "a b"}, "bad-id"),
        ({"device": "a\0b"}, "bad-id"),
        ({"device": "a:b"}, "bad-id"),
        ({"device": "ä"}, "bad-id"),
        ({"network": "home-9"}, "unknown-network"),
        ({"network": "x" * 256}, "unknown-network"),
        ({"kind": "toaster"}, "bad-kind"),
        ({"key": b""}, "bad-key"),
        ({"meter_key": bytes(33)}, "bad-key"),
        ({"bus": "b9"}, "unknown-bus"),
        ({"import_w": -1}, "bad-limit"),
        ({"export_w": 10**9 + 1}, "bad-limit"),
        ({"import_w": 2**64 - 1}, "bad-limit"),
        ({"import_w": 2**64}, "bad-args"),
        ({"critical": 1}, "bad-args"),
    ],
)
def test_bad_devices(change: dict[str, Any], code: str) -> None:
    world = neighbourhood()
    assert world.refused(ADMIN, "identity", "register_device", **agreed(ADMIN, **NEW_DEVICE) | change) == code
    assert world.query("identity", "devices", network="home-2") == ("home-2/load",)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"member": "club"}, "duplicate-id"),
        ({"member": "-"}, "bad-id"),
        ({"key": bytes(31)}, "bad-key"),
        ({"roles": ("king",)}, "bad-role"),
        ({"roles": ("validator", "validator")}, "bad-role"),
        ({"roles": ("utility",)}, "role-taken"),
    ],
)
def test_bad_members(change: dict[str, Any], code: str) -> None:
    world = neighbourhood()
    good: dict[str, Any] = {"member": "shop", "key": signer("shop"), "roles": ()}
    assert world.refused(ADMIN, "identity", "register_member", **agreed(ADMIN, **good) | change) == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"network": "home-1"}, "duplicate-id"),
        ({"network": "?"}, "bad-id"),
        ({"member": "nobody"}, "unknown-member"),
        ({"owner_key": b"x"}, "bad-key"),
        ({"bus": "moon"}, "unknown-bus"),
    ],
)
def test_bad_networks(change: dict[str, Any], code: str) -> None:
    world = neighbourhood()
    good: dict[str, Any] = {"network": "home-3", "member": "club", "owner_key": signer("owner"), "bus": "b1"}
    assert world.refused(ADMIN, "identity", "register_network", **agreed(ADMIN, **good) | change) == code


def test_who_may_register() -> None:
    world = neighbourhood()
    network: dict[str, Any] = {"network": "home-3", "member": "club", "owner_key": signer("owner"), "bus": "b1"}
    for sender in (OWNER_1, UTILITY, STRANGER, b""):
        assert world.refused(sender, "identity", "register_network", **agreed(sender, **network)) == "not-allowed"
        assert world.refused(sender, "identity", "register_device", **agreed(sender, **NEW_DEVICE)) == "not-allowed"
    for sender in (CLUB, UTILITY, STRANGER):
        member = agreed(sender, member="m", key=signer("m"), roles=())
        assert world.refused(sender, "identity", "register_member", **member) == "not-allowed"
    world.call(CLUB, "identity", "register_network", **agreed(CLUB, **network))
    world.call(CLUB, "identity", "register_device", **agreed(CLUB, **NEW_DEVICE))


def test_an_admin_can_make_admins() -> None:
    world = neighbourhood()
    boss = signer("boss")
    world.call(ADMIN, "identity", "register_member", **agreed(ADMIN, member="boss", key=boss, roles=("admin",)))
    member = agreed(boss.public_key, member="m", key=signer("m"), roles=())
    world.call(boss.public_key, "identity", "register_member", **member)


def test_nobodys_key_is_registered_without_its_holders_word() -> None:
    """What was signed for another name, another use, another registrar or another chain is no word for this one."""
    world, mine = neighbourhood(), signer("owner")
    rows: dict[str, dict[str, Any]] = {
        "register_member": {"member": "shop", "key": mine, "roles": ()},
        "register_network": {"network": "home-3", "member": "club", "owner_key": mine, "bus": "b1"},
        "register_device": NEW_DEVICE | {"key": mine, "meter_key": signer("meter")},
    }
    for method, row in rows.items():
        good = agreed(ADMIN, **row)
        subject = next(iter(row))
        wrong = [agreed(CLUB, **row)["proof"], agreed(ADMIN, **row | {subject: "another"})["proof"], NO_PROOF, b""]
        wrong += [agreed(ADMIN, **other)["proof"] for name, other in rows.items() if name != method]
        if method == "register_device":
            wrong += [good["meter_proof"], agreed(ADMIN, **row, enrol_until=9)["proof"]]
            meter = good | {"meter_proof": good["proof"]}
            assert world.refused(ADMIN, "identity", method, **meter) == "bad-signature"
        for signed in wrong:
            assert world.refused(ADMIN, "identity", method, **good | {"proof": signed}) == "bad-signature"
        world.call(ADMIN, "identity", method, **good)
    assert world.query("identity", "whoami", key=mine.public_key) == (
        ("member", "shop"),
        ("network", "home-3"),
        ("device", "home-2/ev"),
    )


def test_members_come_first_among_a_keys_uses_whatever_comes_and_goes() -> None:
    """So that what a key may do as a member costs the same, however many meters it serves."""
    world, key = neighbourhood(), key_of("busy")
    with world.transaction() as ctx:
        for number in range(50):
            roles.add_use(ctx, key, "meter", f"meter-{number}")
        assert roles.members_of(ctx, key) == ()
        for name in ("club", "operator", "utility"):
            roles.add_use(ctx, key, "member", name)
        assert roles.members_of(ctx, key) == ("club", "operator", "utility")
        assert roles.first_use(ctx, key) == ("member", "club")
        before = ctx._steps_left
        assert roles.has_role(ctx, key, "validator") and not roles.has_role(ctx, key, "admin")
        assert before - ctx._steps_left < 20
        roles.drop_use(ctx, key, "member", "club")
        roles.drop_use(ctx, key, "meter", "meter-7")
        assert set(roles.members_of(ctx, key)) == {"operator", "utility"}
        roles.drop_use(ctx, key, "member", "utility")
        assert roles.members_of(ctx, key) == ("operator",)
        left = {*(("meter", f"meter-{number}") for number in range(50) if number != 7), ("member", "operator")}
        uses = roles.uses_of(ctx, key)
        assert set(uses) == left and len(uses) == len(left)


def test_the_keys_of_a_device_are_told_apart() -> None:
    world = neighbourhood()
    load, meter = key_of("home-1/load"), key_of("meter of home-1/load")
    checks = {
        identity.require_device_key: (load, OWNER_1),
        identity.require_forecaster: (OWNER_1,),
        identity.require_meter: (meter,),
    }
    for check, allowed in checks.items():
        for sender in (load, meter, OWNER_1, OWNER_2, CLUB, UTILITY, ADMIN, STRANGER, b""):
            with world.transaction(sender) as ctx:
                if sender in allowed:
                    assert check(ctx, "home-1/load").network == "home-1"
                else:
                    with pytest.raises(ContractError, match="wrong-key"):
                        check(ctx, "home-1/load")
    with world.transaction(OWNER_1) as ctx:
        assert identity.require_owner(ctx, "home-1").devices == 4
        with pytest.raises(ContractError, match="wrong-key"):
            identity.require_owner(ctx, "home-2")
        with pytest.raises(ContractError, match="unknown-device"):
            identity.require_device_key(ctx, "home-1")


def test_every_right_names_roles_that_exist() -> None:
    others = {"member", "owner", "device", "meter", "validator-admin", "feeder-meter", "one-time-key"}
    for right, holders in roles.RIGHTS.items():
        assert holders and set(holders) <= others | set(roles.MEMBER_ROLES), right


def test_the_documented_table_of_rights_is_the_real_one_and_covers_every_transaction() -> None:
    page = (Path(__file__).parents[2] / "docs" / "budgets.md").read_text()
    rows = re.findall(r"^\| ([a-z-]+) \| ([a-z, -]+) \| (`.*`) \|$", page, flags=re.MULTILINE)
    assert {right: tuple(holders.split(", ")) for right, holders, _ in rows} == roles.RIGHTS
    documented = sorted(call for _, _, calls in rows for call in re.findall(r"`(.*?)`", calls))
    transactions = [
        f"{contract.name}.{name}"
        for contract in default_registry().contracts
        for name, method in vars(type(contract)).items()
        if getattr(method, "chaincode_kind", "") == "transaction"
    ]
    assert documented == sorted(transactions)


def test_an_ev_moves() -> None:
    world = neighbourhood()
    at_slot(world, 3)
    ev = key_of("home-1/ev")
    world.call(ev, "identity", "disconnect", device="home-1/ev", slot=5)
    world.call(OWNER_1, "identity", "connect", device="home-1/ev", bus="b2", slot=8)
    with world.transaction() as ctx:
        places = [identity.bus_at(ctx, "home-1/ev", slot) for slot in (4, 5, 7, 8, 99)]
        assert places == ["b1", None, None, "b2", "b2"]
        assert identity.take_moves(ctx) == (("home-1/ev", 5), ("home-1/ev", 8))
        assert identity.take_moves(ctx) == ()
    # A later word about an earlier slot replaces what was planned after it.
    world.call(ev, "identity", "connect", device="home-1/ev", bus="b1", slot=6)
    with world.transaction() as ctx:
        places = [identity.bus_at(ctx, "home-1/ev", slot) for slot in (4, 5, 6, 8)]
    assert places == ["b1", None, "b1", "b1"]


def test_where_an_ev_cannot_move() -> None:
    world = neighbourhood()
    at_slot(world, 3)
    with world.transaction() as ctx:
        identity.note_fill(ctx, "home-1/ev", 7)
        identity.note_fill(ctx, "home-1/ev", 6)
    ev = key_of("home-1/ev")
    cases: list[tuple[bytes, dict[str, Any], str]] = [
        (ev, {"bus": "b2", "slot": 7}, "has-fills"),
        (ev, {"bus": "b9", "slot": 8}, "unknown-bus"),
        (ev, {"bus": "b2", "slot": 2}, "slot-over"),
        (ev, {"bus": "b2", "slot": 3}, "slot-over"),
        (ev, {"bus": "b2", "slot": -1}, "slot-over"),
        (ev, {"bus": "b2", "slot": 2**63 - 1}, "slot-over"),
        (key_of("home-1/load"), {"bus": "b2", "slot": 8}, "wrong-key"),
        (OWNER_2, {"bus": "b2", "slot": 8}, "wrong-key"),
    ]
    for sender, args, code in cases:
        assert world.refused(sender, "identity", "connect", device="home-1/ev", **args) == code
    assert world.refused(ev, "identity", "disconnect", device="home-1/ev", slot=7) == "has-fills"
    assert world.refused(ev, "identity", "disconnect", device="home-1/bike", slot=8) == "unknown-device"
    world.call(ev, "identity", "disconnect", device="home-1/ev", slot=8)


def test_who_arrives_may_be_connected_at_once() -> None:
    world = neighbourhood()
    at_slot(world, 3)
    ev = {"device": "home-1/ev"}
    world.call(OWNER_1, "identity", "disconnect", **ev, slot=4)
    at_slot(world, 4)
    assert world.refused(OWNER_1, "identity", "connect", **ev, bus="b2", slot=3) == "slot-over"
    world.call(OWNER_1, "identity", "connect", **ev, bus="b2", slot=4)
    assert world.refused(OWNER_1, "identity", "disconnect", **ev, slot=4) == "slot-over", "what it drew is metered"


def test_what_does_not_move_is_connected_by_who_registers_it() -> None:
    world = neighbourhood()
    at_slot(world, 3)
    load: dict[str, Any] = {"device": "home-1/load", "slot": 5}
    for sender in (OWNER_1, key_of("home-1/load")):
        assert world.refused(sender, "identity", "disconnect", **load) == "not-allowed"
        assert world.refused(sender, "identity", "connect", **load, bus="b2") == "not-allowed"
    world.call(ADMIN, "identity", "connect", **load, bus="b2")
    with world.transaction() as ctx:
        assert [identity.bus_at(ctx, "home-1/load", slot) for slot in (4, 5)] == ["b1", "b2"]


NO_OUTAGE_S = 86_400 * 365


def test_places_are_forgotten_when_their_slots_are_final_and_bounded() -> None:
    world = marketplace(outage_s=NO_OUTAGE_S)
    ev = key_of("home-3/ev")
    for slot in range(1, identity.MAX_PLACES):
        world.call(ev, "identity", "connect", device="home-3/ev", bus="b2" if slot % 2 else "b1", slot=slot)
    later = identity.MAX_PLACES
    assert world.refused(ev, "identity", "disconnect", device="home-3/ev", slot=later) == "too-many"
    world.next_block(later * SLOT_S)
    for _ in range(10):  # what a block may settle is bounded
        world.next_block(world.time + 1)
    world.call(ev, "identity", "disconnect", device="home-3/ev", slot=later + 1)
    with world.transaction() as ctx:
        assert identity.bus_at(ctx, "home-3/ev", later) == "b2"
        places = identity.device_of(ctx, "home-3/ev").places
    state_of_slot = [cast("Any", world.query("market", "product", slot=slot))[1] for slot in range(later)]
    first = state_of_slot.index("SETTLED")
    assert set(state_of_slot[:first]) == {"FINAL"}
    assert [slot for slot, _ in places] == [*range(first, later), later + 1]


def test_places_are_kept_until_a_late_settlement_has_asked_for_them() -> None:
    """A metering window of more than a thousand slots, and an EV that moves on long before it ends."""
    windows: dict[str, Any] = {"metering_window_s": 86_400, "dispute_window_s": 60}
    world = marketplace(slot_seconds=60, open_before_s=600, gate_before_end_s=0, outage_s=NO_OUTAGE_S, **windows)
    bought = order(world, "home-1/load", "buy", slot=3, wh=100, price=80)
    order(world, "home-3/ev", "sell", slot=3, wh=100, price=30)
    tick(world)
    assert state_of(world, bought) == "FILLED"
    world.next_block(240)
    ev = key_of("home-3/ev")
    world.call(ev, "identity", "connect", device="home-3/ev", bus="b2", slot=5)
    world.next_block(1_100 * 60)
    world.call(ev, "identity", "connect", device="home-3/ev", bus="b1", slot=1_101)
    world.next_block(86_400 + 300)
    for _ in range(20):
        world.next_block(world.time + 1)
    assert cast("Any", world.query("market", "product", slot=3))[1] == "FINAL"
    assert balance(world, "escrow:3") == 0


@pytest.mark.parametrize(
    ("part", "value", "code"),
    [
        ("admins", ("xyz",), "bad-settings"),
        ("admins", (ADMIN.hex().upper(),), "bad-settings"),
        ("members", (("club", CLUB.hex()),), "bad-settings"),
        ("networks", (("home-1", "nobody", OWNER_1.hex(), "b1"),), "unknown-member"),
        ("networks", (("home-1", "club", OWNER_1.hex(), "b7"),), "unknown-bus"),
        ("devices", (device_row("home-7/load", "load"),), "unknown-network"),
        ("devices", (device_row("home-1/load", "load"),) * 2, "duplicate-id"),
    ],
)
def test_bad_settings(part: str, value: Any, code: str) -> None:
    given = settings()
    given["identity"] = given["identity"] | {part: value}
    with pytest.raises(ContractError) as caught:
        World([Accounts(), Grid(), Identity(), Budget()], given)
    assert caught.value.code == code


def test_one_key_acts_for_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "MAX_USES_OF_A_KEY", 2)
    world = neighbourhood()
    for number in range(3):
        args = agreed(ADMIN, network=f"shop-{number}", member="club", owner_key=signer("owner"), bus="b1")
        if number < 2:
            world.call(ADMIN, "identity", "register_network", **args)
    assert world.refused(ADMIN, "identity", "register_network", **args) == "too-many"
