"""Very many that run out in one block: decided at once, in bounded work, the same wherever each stands in the block."""

from random import Random

import pytest

from chaincode import accounts, budget, budget_charge, budget_needs, budget_share, budget_state
from chaincode.budget import Charge
from chaincode.budget_needs import MAX_NEEDS
from chaincode.budget_share import MAX_DONORS
from chaincode.contract import Context
from chaincode.identity_records import Device, Network, add_device, add_network
from node.executor import TRANSACTION_STEPS, TRANSACTION_VALUE_BYTES
from node.model.receipt import encode_event
from tests.chaincode.budget_steps import EV, LOAD, book, check_sum, hold
from tests.chaincode.neighbourhood import UTILITY, at_slot, fund, key_of, neighbourhood
from tests.chaincode.world import World

NAME = "d" * 38


def crowd(networks: int, each: int) -> tuple[World, dict[str, list[str]]]:
    """A world with so many networks more, of so many devices each."""
    world = neighbourhood()
    found: dict[str, list[str]] = {}
    with world.transaction() as ctx:
        for number in range(networks):
            network = f"net-{number:02d}"
            add_network(ctx, Network(network, "club", key_of(network), "b1", 0))
            found[network] = [add(ctx, network, f"{network}/{index:03d}") for index in range(each)]
    return world, found


def add(ctx: Context, network: str, device: str) -> str:
    """Put a device on record, connected nowhere; its name."""
    keys = key_of(device), key_of(f"meter of {device}")
    add_device(ctx, Device(device, network, "load", *keys, 10_000, 0, False, False, ()))
    return device


def give(world: World, network: str, amounts: dict[str, int]) -> None:
    issued = {"network": network, "period": 0, "amount": sum(amounts.values()), "reference": b"r"}
    world.call(UTILITY, "budget", "issue", **issued)
    world.call(key_of(network), "budget", "allocate", network=network, period=0, amounts=tuple(amounts.items()))


def thousand(seed: int) -> World:
    """A thousand devices of four networks run out in one block; a hundred others have something to spare."""
    world, networks = crowd(4, 256)
    for network, devices in networks.items():
        give(world, network, dict.fromkeys(devices[250:], 40_000))
    at_slot(world, 5)  # of which they spare 20,000 each
    wanted = [(device, 300 + number) for devices in networks.values() for number, device in enumerate(devices[:250])]
    Random(seed).shuffle(wanted)
    with world.transaction() as ctx:
        for device, amount in wanted:
            assert not budget.hold(ctx, device, 0, b"order of " + device.encode(), amount)
    with world.transaction() as ctx:
        decided = budget.resolve_needs(ctx)
        granted = dict(decided)
        assert len(granted) == 1_000
        for network, devices in networks.items():
            mine = [granted[b"order of " + device.encode()] for device in devices[:250]]
            # The smallest needs: 300, 301, ... as far as 6 times 20,000 go.
            assert mine == [number < 258 and sum(range(300, 301 + number)) <= 120_000 for number in range(250)], network
    check_sum(world)
    return world


def test_a_thousand_devices_in_one_block() -> None:
    """Shared out deterministically, in work that is bounded, wherever each stands in the block."""
    first, second = thousand(1), thousand(2)
    names = [f"net-{number:02d}/{index:03d}" for number in range(4) for index in range(256)]
    with first.transaction() as ctx, second.transaction() as other:
        for name in names:
            assert accounts.device_book(ctx, name, 0) == accounts.device_book(other, name, 0)
            mine, theirs = (budget.hold_of(each, b"order of " + name.encode()) for each in (ctx, other))
            assert (mine is None) == (theirs is None)
            if mine is not None and theirs is not None:
                assert [gift[:2] for gift in mine.gifts] == [gift[:2] for gift in theirs.gifts]


def test_of_more_needs_than_a_block_considers_the_smallest_are() -> None:
    for order in (1, -1):
        world = neighbourhood()
        fund(world, {LOAD: 2**40})
        at_slot(world, 9)
        numbers = list(range(MAX_NEEDS + 20))[::order]
        with world.transaction() as ctx:
            for number in numbers:
                assert not budget.hold(ctx, EV, 0, b"%06d" % number, 1_000 + number)
        with world.transaction() as ctx:
            decided = dict(budget.resolve_needs(ctx))
        assert [number for number in sorted(numbers) if decided[b"%06d" % number]] == list(range(MAX_NEEDS))
        assert [event.data for event in world.events if event.topic == "needs-refused"] == [(0, "too-many")]
        assert book(world, EV)["state"] != "limited", "it was not asked whether anybody could help"


def test_what_is_beyond_the_work_of_a_block_is_drawn_and_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_needs, "MAX_WORK", 20)  # the first networks, until 20 devices were looked at
    served: set[frozenset[bytes]] = set()
    for seed in range(4):
        world, networks = crowd(5, 10)
        for _ in range(seed):
            world.next_block()
        order = [device for devices in networks.values() for device in devices[:2]]
        order += [networks["net-04"][2]]
        Random(seed).shuffle(order)
        for network, devices in networks.items():
            give(world, network, {devices[9]: 1_000})
        at_slot(world, 9)
        with world.transaction() as ctx:
            for device in order:
                assert not budget.hold(ctx, device, 0, device.encode(), 10)
            decided = dict(budget.resolve_needs(ctx))
        granted = frozenset(reference[:6] for reference, done in decided.items() if done)
        assert len(granted) == 2 and b"net-04" not in granted, "who asks for more waits longer"
        refused = [event.keys[0] for event in world.events if event.topic == "needs-refused"]
        assert sorted([*refused, *(name.decode() for name in granted)]) == sorted(networks)
        for devices in networks.values():
            assert book(world, devices[0])["state"] != "limited"
        served.add(granted)
    assert len(served) > 1, "it is drawn anew in every block"


def test_an_order_that_as_many_help_as_may_can_be_taken_back_in_one_transaction() -> None:
    world = neighbourhood()
    with world.transaction() as ctx:
        names = [add(ctx, "home-1", f"home-1/{NAME}{index:03d}") for index in range(MAX_DONORS + 10)]
    fund(world, dict.fromkeys(names, 100))
    at_slot(world, 9)  # each can spare 90, and is low then
    reference = b"r" * 64
    hold(world, EV, reference, 90 * MAX_DONORS)
    with world.transaction() as ctx:
        assert dict(budget.resolve_needs(ctx)) == {reference: True}
    told = len(world.events)
    with world.transaction() as ctx:
        before = ctx._steps_left
        budget.release(ctx, reference, None)
        assert before - ctx._steps_left < TRANSACTION_STEPS
    assert sum(len(encode_event(event)) for event in world.events[told:]) < TRANSACTION_VALUE_BYTES
    assert all(book(world, name) | {"available": 100, "lent": 0} == book(world, name) for name in names)
    hold(world, EV, b"too many", 90 * MAX_DONORS + 1)
    with world.transaction() as ctx:
        assert dict(budget.resolve_needs(ctx)) == {b"too many": False}


def test_charges_of_a_whole_network_in_one_settlement() -> None:
    world, networks = crowd(1, 256)
    devices = networks["net-00"]
    give(world, "net-00", dict.fromkeys(devices[156:], 1_000))
    at_slot(world, 5)
    with world.transaction() as ctx:
        charges = [Charge(device, 1_000) for device in devices[:156]]
        paid = budget_charge.charge_all(ctx, "net-00", 0, charges, "utility", "retail", b"run")
        assert sum(paid) == 100 * 500, "what a hundred can spare"
        assert max(paid) - min(paid) <= 1, "in equal parts"
        total, claims = budget_state.owed_of(ctx, "net-00")
        assert (total, len(claims)) == (156_000 - 50_000, 156)
        shares = budget_share.shares_of(ctx, "net-00", 0, 0, 100_000)
        assert len(shares) < 256, "as many as givers and receivers at the most"
        assert accounts.balance(ctx, "utility") == 50_000
    check_sum(world)
