"""Bills add up, twice: by what was settled, and by what all balances on the ledger have changed."""

from collections.abc import Sequence
from random import Random
from typing import cast

import pytest

from broker.bills import Accounts, Bill
from broker.data.homes import Homes
from broker.exchange import Answer, Call
from broker.local_exchange import LocalExchange
from broker.office import Office
from broker.world import DAY_S, DEFAULT_WINDOWS, SecretKeys, Windows, World
from chaincode.settlement_ledger import Settled
from tests.broker.exchange_worlds import LedgerExchange, make_world, some_homes

DAYS = 3


def play(world: World, exchange: LocalExchange | LedgerExchange, homes: Homes, accounts: Accounts, seed: int) -> None:
    """Every home orders about what it needs, at a price by chance, and meters what the data say."""
    random = Random(seed)
    office = Office(world, exchange)
    office.work()
    accounts.observe(exchange.advance(world.start))
    registers: dict[str, tuple[int, int]] = {}
    for index in range(homes.count + 1):
        slot = world.first_slot + index
        accounts.observe(exchange.advance(slot * world.slot_seconds))
        office.work()
        calls = []
        if index:
            rows = []
            for site, home in zip(world.sites, homes.homes, strict=True):
                flows = dict.fromkeys(site.devices, 0)
                flows[site.load] = int(home.load_wh[index - 1])
                flows[f"{site.network}/pv"] = -int(home.sun_wh[index - 1])
                flows[f"{site.network}/battery"] = random.randint(-900, 900)
                for device, wh in flows.items():
                    energy, before = (max(wh, 0), max(-wh, 0)), registers.get(device, (0, 0))
                    registers[device] = before[0] + energy[0], before[1] + energy[1]
                    rows.append((device, slot - 1, *energy, *registers[device], b""))
            calls.append(Call(world.keys.collector, "settlement", "collect", {"rows": tuple(rows)}))
        for site, home in zip(world.sites, homes.homes, strict=True):
            if index < homes.count:
                net = int(home.load_wh[index]) - int(home.sun_wh[index])
                order = {
                    "device": site.load if net > 0 else f"{site.network}/pv",
                    "side": "buy" if net > 0 else "sell",
                    "slot": slot,
                    "energy_wh": max(100, abs(net) * random.randint(500, 1_500) // 1_000),
                    "price": random.randint(int(homes.feed_in[index]), int(homes.retail[index])),
                }
                calls.append(Call(world.keys.brokers[site.network], "market", "place", order))
        for answer in exchange.submit(calls):
            assert answer.code in ("ok", "over-capacity")
    accounts.observe(exchange.advance(world.settled_at))


@pytest.mark.parametrize("seed", [1, 2])
def test_bills_are_what_all_balances_have_changed(seed: int) -> None:
    homes = some_homes(6, DAYS)
    world, _ = make_world(homes, {}, DEFAULT_WINDOWS)
    exchange = LocalExchange(world.settings(), world.time_origin)
    accounts = Accounts(world, exchange)
    play(world, exchange, homes, accounts, seed)
    span = world.first_slot, world.end_slot
    bills = {site.network: accounts.bill(site.network, *span) for site in world.sites}
    for site, home in zip(world.sites, homes.homes, strict=True):
        bill = bills[site.network]
        assert bill.slots == homes.count
        assert bill.cost == change_of_balances(world, exchange, site.network)
        assert bill.sums.owed == 0
        assert (
            accounts.bill(site.network, span[0], span[0] + 10).cost
            + accounts.bill(site.network, span[0] + 10, span[1]).cost
            == bill.cost
        )
        assert bill.sums.import_wh >= int(home.load_wh.sum())
        origin = accounts.origin(site.network, *span)
        assert origin.used_wh == bill.sums.import_wh
        assert 0 < origin.renewable_wh < origin.used_wh
    assert_everybody_is_paid(exchange, bills)
    assert sum([bill.sums.bought_wh for bill in bills.values()]) > 1_000


def change_of_balances(world: World, exchange: LocalExchange | LedgerExchange, network: str) -> int:
    """What went out of a network's accounts, in all of its periods, less what came in: by the ledger's own counters,
    and again by its balances and what was given to it."""
    spent = 0
    for period in world.periods:
        row = cast(
            "tuple[int, ...]", exchange.query("budget", "network_budget", {"network": network, "period": period.number})
        )
        (
            _,
            issued,
            earned,
            pool,
            available,
            reserved,
            out,
            owed,
            carried,
            received,
            sent,
            sold,
            returned,
            redeemed,
            on,
        ) = row
        assert owed == reserved == sold == redeemed == sent == received == 0
        assert issued + carried - returned - on - (pool + available) == out - earned
        spent += out - earned
    return spent


def assert_everybody_is_paid(exchange: LocalExchange, bills: dict[str, Bill]) -> None:
    """What the networks paid is what utility, grid operator and congestion account have."""
    issued, redeemed, balances = cast("tuple[int, int, int]", exchange.query("accounts", "audit", {}))
    assert issued - redeemed == balances
    total = Settled()
    for bill in bills.values():
        total = total.plus(bill.sums)
    tolls = exchange.query("accounts", "account", {"account": "grid-operator"})
    rent = exchange.query("accounts", "account", {"account": "congestion"})
    assert total.tolls == tolls
    assert total.bought - total.sold == rent
    assert total.bought_wh == total.sold_wh


def test_bills_are_the_same_on_a_real_ledger() -> None:
    homes = some_homes(3, 1)
    world, secret = make_world(homes, {}, Windows(retention_s=DAY_S))
    exchange = SignedReadings(world, secret)
    accounts = Accounts(world, exchange)
    play(world, exchange, homes, accounts, 3)
    for site in world.sites:
        bill = accounts.bill(site.network, world.first_slot, world.end_slot)
        period = {"network": site.network, "first_slot": world.first_slot, "last_slot": world.end_slot - 1}
        slots, cost, utility_only, *sums = cast("tuple[int, ...]", exchange.query("settlement", "bill", period))
        assert (slots, cost, utility_only, tuple(sums)) == (
            bill.slots,
            bill.sums.cost(),
            bill.sums.utility_only,
            tuple(bill.sums),
        )
        assert bill.cost == change_of_balances(world, exchange, site.network)


class SignedReadings(LedgerExchange):
    """A ledger whose meters sign what is handed in unsigned."""

    def __init__(self, world: World, secret: SecretKeys) -> None:
        super().__init__(world, secret)
        self._site_of = {device: site for site in world.sites for device in site.devices}

    def submit(self, calls: Sequence[Call]) -> list[Answer]:
        return super().submit([self._signed(call) for call in calls])

    def _signed(self, call: Call) -> Call:
        if call.method != "collect":
            return call
        rows = [
            self.signed_reading(self._site_of[device], device, slot, (taken, given), (first, second))
            for device, slot, taken, given, first, second, _ in call.args["rows"]
        ]
        return call._replace(args={"rows": tuple(rows)})
