"""Every code with which an order is refused, met by an order alone, by a replacement, and by one of a list."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from chaincode.contract import ContractError
from chaincode.market_products import DAY_S
from tests.chaincode.marketplace import ALLOCATED, FEED_IN, RETAIL, SLOT_S, key_of, marketplace, order, state_of
from tests.chaincode.world import World

LOAD, BATTERY = "home-1/load", "home-1/battery"


class Case(NamedTuple):
    """What is asked for (a buy by the battery of 1,000 Wh in slot 1 at 50, unless changed), by whom, and when."""

    code: str
    change: dict[str, Any]
    details: tuple[int, ...] = ()
    sender: str = "home-1"
    prepare: Callable[[World], None] = lambda world: None
    limit: tuple[str, int] | None = None
    """A bound of ``market_trading`` that is lowered for this case."""


def move_away(world: World) -> None:
    world.call(key_of("admin"), "identity", "disconnect", device=LOAD, slot=2)
    world.next_block(1)


def load_buys(world: World) -> None:
    order(world, LOAD, "buy", wh=100, price=30)


def refer(world: World) -> None:
    order(world, BATTERY, "buy", wh=100, price=30)
    args = {"device": BATTERY, "side": "buy", "slot": 1, "energy_wh": 1_000, "price": 50, "reference": b"once"}
    world.call(key_of(BATTERY), "market", "place", **args)


def take_without_money(world: World) -> None:
    """Home 1 has spent its budget, and owes."""
    for device in (LOAD, BATTERY):
        reading = {"import_wh": 1_000, "export_wh": 0, "import_register": 1_000, "export_register": 0}
        world.next_block(max(world.time, SLOT_S))
        world.call(key_of(f"meter {device}"), "settlement", "report", device=device, slot=0, **reading)
    world.next_block(2_700)


def never_metered(world: World) -> None:
    """Nobody has read the battery's meter, and no estimate may stand."""
    world.next_block(2_700)


CASES = {
    case.code + number: case
    for number, case in [
        ("", Case("unknown-device", {"device": "home-1/none"})),
        ("", Case("wrong-key", {}, sender="home-2")),
        (" of another device", Case("wrong-key", {}, sender=LOAD)),
        ("", Case("closed-product", {"slot": 99})),
        (" past its gate", Case("closed-product", {"slot": 0}, prepare=lambda world: world.next_block(1_200))),
        (" above", Case("bad-price", {"price": RETAIL + 1}, (FEED_IN, RETAIL))),
        (" below", Case("bad-price", {"price": FEED_IN - 1}, (FEED_IN, RETAIL))),
        ("", Case("bad-energy", {"energy_wh": 99}, (100,))),
        (" negative", Case("bad-energy", {"energy_wh": -1}, (100,))),
        ("", Case("bad-args", {"side": "lend"})),
        (" until", Case("bad-args", {"until": "later"})),
        ("", Case("bad-reference", {"reference": bytes(33)})),
        ("", Case("duplicate", {"reference": b"once"}, prepare=refer)),
        ("", Case("not-connected", {"device": LOAD, "slot": 2}, prepare=move_away)),
        ("", Case("over-capacity", {"energy_wh": 2_501}, (2_500, 2_501))),
        (" to sell", Case("over-capacity", {"side": "sell", "energy_wh": 2_501}, (2_500, 2_501))),
        ("", Case("own-cross", {"side": "sell"}, prepare=load_buys)),
        ("", Case("too-many", {}, prepare=load_buys, limit=("MAX_ORDERS", 0))),
        (" open", Case("too-many", {}, prepare=load_buys, limit=("MAX_OPEN_ORDERS", 0))),
        ("", Case("in-arrears", {"side": "sell", "slot": 2}, prepare=take_without_money)),
        ("", Case("over-budget", {"slot": 2}, prepare=take_without_money)),
        ("", Case("unmetered", {"side": "sell", "slot": 2}, prepare=never_metered)),
    ]
}


@pytest.mark.parametrize("way", ["place", "replace", "place_many"])
@pytest.mark.parametrize("name", CASES)
def test_every_refusal(monkeypatch: pytest.MonkeyPatch, name: str, way: str) -> None:
    code, change, details, sender, prepare, limit = CASES[name]
    world = marketplace(allocated=0 if prepare is take_without_money else ALLOCATED, max_estimates=0, outage_s=DAY_S)
    standing = order(world, BATTERY, "sell", slot=3, wh=100, price=RETAIL)
    prepare(world)
    if limit is not None:
        monkeypatch.setattr(f"chaincode.market_trading.{limit[0]}", limit[1])
    wanted = {"device": BATTERY, "side": "buy", "slot": 1, "energy_wh": 1_000, "price": 50, "until": "gate"}
    wanted |= {"renewable": False, "reference": b"", **change}
    before = dict(world.state.changes())
    key = key_of(sender)
    with pytest.raises(ContractError) as refusal:
        if way == "place":
            world.call(key, "market", "place", **wanted)
        elif way == "replace":
            world.call(key, "market", "replace", order=standing, **wanted)
        else:
            device, *row = wanted.values()
            world.call(key, "market", "place_many", device=device, orders=(tuple(row),))
    assert refusal.value.code == code
    if way == "place_many" and code not in ("unknown-device", "wrong-key"):
        assert refusal.value.details == (0, *details)
    else:
        assert refusal.value.details == details
    assert state_of(world, standing) == "ACCEPTED"
    assert dict(world.state.changes()) == before, "a refused order leaves a trace"
