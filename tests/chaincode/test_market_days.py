"""Random days on small grids: the market's invariants hold after whatever happens.

Homes order one by one and in bulk, replace, cancel and move; meters report, late, wrongly, through a collector or not
at all, and correct themselves; no block is made for hours; rules and grids change; periods end, and what is final is
forgotten. After every step: the auditor (orders, auctions, limits, certificates), and a bookkeeping of our own from
what was told alone, which has to agree with every account, every settlement and all rent. ``make random`` tries more.
"""

from typing import Any, cast

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaincode import budget_state, settlement_readings
from chaincode.ballot import NOTICE
from chaincode.contract import ContractError, Value
from chaincode.market_book import entries
from chaincode.market_products import Settings
from node.model.codec import sha256
from tests.at_length import examples
from tests.chaincode import day, meters
from tests.chaincode.bookkeeper import Bookkeeper, Terms
from tests.chaincode.day import (
    BUSES,
    DEVICES,
    NETWORKS,
    PERIOD_SLOTS,
    changes,
    energies,
    limits,
    lines,
    orders,
    references,
    untils,
)
from tests.chaincode.market_auditor import Auditor
from tests.chaincode.marketplace import FEED_IN, RETAIL, SLOT_S, TICK_S, UTILITY, key_of
from tests.chaincode.town import admin
from tests.chaincode.world import World

RETENTION_AT = Settings._fields.index("retention_s")
REFUSALS = {
    "over-capacity", "own-cross", "in-arrears", "over-budget", "closed-product", "bad-energy", "not-connected",
    "not-open", "has-fills", "slot-over", "duplicate", "late", "too-early", "register-mismatch", "out-of-limit",
    "no-product", "too-many", "conflict", "insufficient-funds", "bad-price", "unmetered", "unknown-order", "pruned",
    "negative", "bad-signature", "unknown-device", "no-change", "change-pending", "bad-settings", "wrong-key",
    "period-closed", "toll-too-high",
}  # fmt: skip
MISTAKES = ("market-parked", "settlement-parked", "origin-parked", "gap-failed", "needs-refused", "hook-failed")


class Days(RuleBasedStateMachine):
    """Homes that order, cancel, move, meter and forget to; a clock that jumps."""

    world: World

    @initialize(
        grid=lines,
        buses=st.lists(st.sampled_from(BUSES), min_size=6, max_size=6),
        allocated=st.sampled_from([10_000, 30_000, 10_000_000, 10_000_000]),
        market=day.markets,
        seed=st.integers(0, 2**32),
    )
    def begin(self, grid: tuple[Any, ...], buses: list[str], allocated: int, market: dict[str, Any], seed: int) -> None:
        self.world = day.street(buses, grid, market, allocated)
        self.auditor = Auditor(self.world, DEVICES)
        places = {device: (device[:2], bus) for device, bus in zip(DEVICES, buses, strict=True)}
        self.books = Bookkeeper(places, self._terms, self._auction)
        self.seen = 0
        self.grid = grid
        self.seed = seed
        self.ids: list[tuple[str, bytes]] = []
        self.moved: dict[tuple[str, int], int] = {}  # Wh of import that a meter counted in a slot for the next one

    def _terms(self, slot: int) -> Terms:
        row = cast("tuple[Any, ...]", self.world.query("market", "product", slot=slot))
        return Terms(row[9], row[10], row[13], row[11])

    def _auction(self, slot: int, number: int) -> tuple[int, Any]:
        record, _, trades = cast(
            "tuple[Any, Any, Any]", self.world.query("market", "auction", slot=slot, number=number)
        )
        return record[8], trades

    @property
    def slot(self) -> int:
        return self.world.time // SLOT_S

    def attempt(self, sender: bytes, contract: str, method: str, **args: Value) -> Value:
        """Call; a refusal by the rules is as good."""
        try:
            return self.world.call(sender, contract, method, **args)
        except ContractError as error:
            assert error.code in REFUSALS, error
            note(error.code)
            return None

    @rule(data=st.data(), ahead=st.sampled_from([1, 1, 1, 2, 0]), until=untils, reference=references)
    def order(self, data: st.DataObject, ahead: int, until: str, reference: bytes) -> None:
        """Orders that wait for whatever comes."""
        self.order_round(data, ahead, until, reference)

    def order_round(self, data: st.DataObject, ahead: int, until: str, reference: bytes) -> None:
        """A round of orders for one product; mostly each network is on one side."""
        side_of = {network: data.draw(st.sampled_from(["buy", "sell"])) for network in NETWORKS}
        for device, wh, limit, wish, turn in data.draw(st.lists(orders, min_size=3, max_size=10)):
            side = side_of[device[:2]]
            if turn == 0:
                side = "sell" if side == "buy" else "buy"
            price = limit if side == "buy" or turn == 1 else FEED_IN + (RETAIL - limit) // 2
            what: dict[str, Any] = {"energy_wh": wh, "price": price, "until": until, "renewable": wish}
            where: dict[str, Any] = {"device": device, "side": side, "slot": self.slot + ahead}
            placed = self.attempt(key_of(device), "market", "place", **where, **what, reference=reference)
            if placed is not None:
                self.ids.append((device, cast("bytes", placed)))

    @rule(data=st.data(), ahead=st.sampled_from([1, 1, 2]), until=untils)
    def trade(self, data: st.DataObject, ahead: int, until: str) -> None:
        """Orders, and the block that clears them."""
        self.order_round(data, ahead, until, b"")
        self.world.next_block(self.world.time + TICK_S)

    @rule(data=st.data(), ahead=st.sampled_from([1, 1, 2]))
    def trade_on(self, data: st.DataObject, ahead: int) -> None:
        """The same again, and the slot after it: half of what happens in a day is trade."""
        self.trade(data, ahead, "gate")
        self.trade(data, ahead + 1, "gate")

    @rule(data=st.data(), side=st.sampled_from(["buy", "sell"]), device=st.sampled_from(DEVICES))
    def bulk(self, data: st.DataObject, side: str, device: str) -> None:
        """Several orders of one device at once, all or none."""
        rows = data.draw(st.lists(st.tuples(st.integers(0, 2), energies, limits, untils, references), max_size=5))
        wanted = tuple((side, self.slot + ahead, wh, limit, until, False, tag) for ahead, wh, limit, until, tag in rows)
        if not wanted:
            return
        placed = self.attempt(key_of(device), "market", "place_many", device=device, orders=wanted)
        if placed is not None:
            self.ids += [(device, each) for each in cast("tuple[bytes, ...]", placed)]

    @rule(data=st.data(), side=st.sampled_from(["buy", "sell"]), ahead=st.integers(0, 2), wh=energies, limit=limits)
    def replace(self, data: st.DataObject, side: str, ahead: int, wh: int, limit: int) -> None:
        if self.ids:
            device, old = data.draw(st.sampled_from(self.ids))
            what: dict[str, Any] = {"device": device, "side": side, "slot": self.slot + ahead}
            placed = self.attempt(key_of(device), "market", "replace", order=old, **what, energy_wh=wh, price=limit)
            if placed is not None:
                self.ids.append((device, cast("bytes", placed)))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.ids:
            device, order_id = data.draw(st.sampled_from(self.ids))
            self.attempt(key_of(device), "market", "cancel", order=order_id)

    @precondition(lambda self: self.world.height % 4 == 0)
    @rule(data=st.data(), ahead=st.integers(0, 3), bus=st.one_of(st.none(), st.sampled_from(BUSES)))
    def move(self, data: st.DataObject, ahead: int, bus: str | None) -> None:
        device = f"{data.draw(st.sampled_from(NETWORKS))}/ev"
        if bus is None:
            self.attempt(key_of(device), "identity", "disconnect", device=device, slot=self.slot + ahead)
        else:
            self.attempt(key_of(device), "identity", "connect", device=device, bus=bus, slot=self.slot + ahead)

    def metered(self, device: str, slot: int) -> tuple[int, int, int, int]:
        """What the meter says of a slot: Wh and registers. Some of what it imported may count for the slot before."""
        imported = exported = 0
        for each in range(slot + 1):
            figure = sha256(b"%d %d" % (self.seed, each), device.encode())
            wh = (figure[0] * 3, figure[1] * 3) if self.books.place_of(device, each) is not None else (0, 0)
            imported, exported = imported + wh[0], exported + wh[1]
        after, before = self.moved.get((device, slot), 0), self.moved.get((device, slot - 1), 0)
        return wh[0] + after - before, wh[1], imported + after, exported

    @rule(leave_out=st.sampled_from([None, None, *DEVICES]))
    def next_slot(self, leave_out: str | None) -> None:
        """The next slot begins, and the meters tell of the last one, but for one now and then."""
        self.world.next_block((self.slot + 1) * SLOT_S)
        for device in DEVICES:
            if device != leave_out:
                self.report_day(device, 1, 1)

    @rule(data=st.data(), back=st.sampled_from([1, 1, 1, 2, 3]))
    def report(self, data: st.DataObject, back: int) -> None:
        """Some meters report a slot, the last one or an earlier one."""
        slot = self.slot - back
        for device in data.draw(st.lists(st.sampled_from(DEVICES), unique=True)) if slot >= 0 else ():
            names = ("import_wh", "export_wh", "import_register", "export_register")
            args: dict[str, Any] = dict(zip(names, self.metered(device, slot), strict=True))
            if data.draw(st.integers(0, 9)) == 0:
                wrong = data.draw(st.sampled_from([{"import_wh": -1}, {"export_wh": 10**6}, {"import_register": -5}]))
                code = self.world.refused(
                    meters.meter(device).public_key, "settlement", "report", device=device, slot=slot, **args | wrong
                )
                assert code in REFUSALS
            self.attempt(meters.meter(device).public_key, "settlement", "report", device=device, slot=slot, **args)

    @rule(device=st.sampled_from(DEVICES), back=st.integers(1, 8), count=st.integers(1, 6))
    def day_of_a_meter(self, device: str, back: int, count: int) -> None:
        self.report_day(device, back, count)

    def report_day(self, device: str, back: int, count: int) -> None:
        first = max(self.slot - back, 0)
        rows = tuple(self.metered(device, slot) for slot in range(first, first + count))
        sender = meters.meter(device).public_key
        self.attempt(sender, "settlement", "report_day", device=device, first_slot=first, rows=rows)

    @rule(data=st.data())
    def collect(self, data: st.DataObject) -> None:
        """A collector brings many meters' rows, now and then one that none has signed."""
        wanted = st.tuples(st.sampled_from(DEVICES), st.integers(1, 4))
        rows = []
        for device, back in data.draw(st.lists(wanted, min_size=1, max_size=8, unique=True)):
            slot = self.slot - back
            if slot >= 0:
                figures = self.metered(device, slot)
                rows.append(meters.signed(device, slot, figures[:2], figures[2:]))
        if rows and data.draw(st.integers(0, 9)) == 0:
            rows[-1] = (*rows[-1][:-1], bytes(64))
        if rows:
            self.attempt(meters.COLLECTOR, "settlement", "collect", rows=tuple(rows))

    @rule(device=st.sampled_from(DEVICES), back=st.integers(1, 7), count=st.integers(1, 3), shift=st.integers(-60, 60))
    def correct(self, device: str, back: int, count: int, shift: int) -> None:
        """A meter says it all again, late; or that what it counted in one slot belonged to the next."""
        first = max(self.slot - back, 0)
        before = dict(self.moved)
        if count > 1 and all(self.metered(device, slot)[0] >= 60 for slot in (first, first + 1)):
            self.moved[device, first] = self.moved.get((device, first), 0) + shift
        rows = tuple(self.metered(device, slot) for slot in range(first, first + count))
        sender = meters.meter(device).public_key
        if min(min(row) for row in rows) < 0:
            self.moved = before
            return
        done = self.attempt(sender, "settlement", "correct", device=device, first_slot=first, rows=rows)
        if done is None:
            self.moved = before

    @rule(slots=st.integers(1, 3), wh=st.integers(0, 5_000))
    def feeder(self, slots: int, wh: int) -> None:
        slot = self.slot - slots
        if slot >= 0:
            figures = {"import_wh": wh, "export_wh": 0, "import_register": slot * 5_000 + wh, "export_register": 0}
            self.attempt(meters.FEEDER_KEY, "settlement", "report_feeder", slot=slot, **figures)

    @rule(seconds=st.sampled_from([1, TICK_S, TICK_S, TICK_S, TICK_S, 600, SLOT_S]))
    def go_on(self, seconds: int) -> None:
        self.world.next_block(self.world.time + seconds)

    @rule()
    def next_event(self) -> None:
        due = self.world.next_event()
        assert due is not None
        self.world.next_block(max(due, self.world.time))

    @rule(seconds=st.sampled_from([400, SLOT_S + 100, 3 * SLOT_S, 7 * SLOT_S]))
    def outage(self, seconds: int) -> None:
        """No block for a while after something was due."""
        due = self.world.next_event()
        assert due is not None
        self.world.next_block(max(due, self.world.time) + seconds)

    @precondition(lambda self: self.world.height % 5 == 0)
    @rule(change=changes)
    def vote(self, change: dict[str, Any]) -> None:
        """Other rules."""
        named = dict(change)
        tariffs = named.pop("tariffs", ())
        self.decide("rules", "propose", settings=tuple(named.items()), tariffs=tariffs)

    def decide(self, contract: str, method: str, **proposal: Value) -> None:
        """Three of four admins decide it, and it comes into force."""
        first = self.world.height + NOTICE
        answer = self.attempt(admin("ada"), contract, method, first_height=first, **proposal)
        if answer is None:
            return
        number, digest, _ = cast("tuple[int, bytes, int]", answer)
        for name in ("bob", "cyd"):
            self.attempt(admin(name), contract, "approve", proposal=number, digest=digest)
        self.world.height = first - 1
        self.world.next_block(self.world.time + 1)

    @precondition(lambda self: self.world.height % 5 == 2)
    @rule(
        network=st.sampled_from(NETWORKS),
        proceeds=st.sampled_from(["pool", "device"]),
        gives=st.booleans(),
        floor=st.sampled_from([0, 5_000]),
    )
    def policy(self, network: str, proceeds: str, gives: bool, floor: int) -> None:
        """Where a home's proceeds go, and which of its devices help the others."""
        terms = floor if gives else 0, gives, None, 0, 0
        rows = tuple((device, rank, *terms) for rank, device in enumerate(DEVICES) if device[:2] == network)
        what: dict[str, Any] = {"network": network, "proceeds": proceeds, "devices": rows}
        self.attempt(key_of(network), "budget", "set_policy", **what)

    @precondition(lambda self: self.world.height % 5 == 1)
    @rule(grid=lines, rate=st.sampled_from([0, 0, 1]))
    def publish(self, grid: tuple[Any, ...], rate: int) -> None:
        """The grid operator changes tolls, limits, and where the buses hang; a vote lets it raise tolls."""
        lines = tuple((*row[:2], 3, *row[3:]) for row in grid)
        if self.attempt(UTILITY, "grid", "publish", root="t", lines=lines, rate=rate) is None:
            steps = {row[1]: row[3] for row in grid}
            _, _, _, now = cast("tuple[int, str, int, Any]", self.world.query("grid", "tree"))
            self.decide("motions", "propose_tolls", rate=rate, steps=tuple((*row[:2], steps[row[1]]) for row in now))
            assert self.world.call(UTILITY, "grid", "publish", root="t", lines=lines, rate=rate)

    @invariant()
    def sound(self) -> None:
        if hasattr(self, "books"):
            new = self.world.events[self.seen :]
            self.seen = len(self.world.events)
            mistakes = [event for event in new if event.topic in MISTAKES]
            assert not mistakes, mistakes
            self.books.read(new)
            self.auditor.check()
            self._compare()

    def _compare(self) -> None:
        """What our books say is what the ledger says."""
        issued, redeemed, whole = cast("tuple[int, int, int]", self.world.query("accounts", "audit"))
        assert (issued, redeemed) == (self.books.issued, self.books.redeemed)
        assert whole == sum(self.books.balances.values()), "there are accounts that nobody told of"
        for account, balance in self.books.balances.items():
            assert self.world.query("accounts", "account", account=account) == balance, account
        stand: dict[tuple[str, int], int] = {}
        for (device, slot), (_, _, estimated) in self.books.rows.items():
            of = device, slot // PERIOD_SLOTS
            stand[of] = stand.get(of, 0) + estimated
        with self.world.transaction() as ctx:
            for network in NETWORKS:
                assert budget_state.owed_of(ctx, network)[0] == self.books.owed.get(network, 0)
            for (device, period), count in stand.items():
                assert settlement_readings.estimates(ctx, device, period) == count
        for (device, slot), (import_wh, export_wh, estimated) in self.books.rows.items():
            if slot not in self.books.pruned:
                row = cast("tuple[Any, ...]", self.world.query("settlement", "reading", device=device, slot=slot))
                assert (row[0], row[1], row[4]) == (import_wh, export_wh, estimated)

    def teardown(self) -> None:
        """Let everything become final: no money stays in escrow, no order in the book, rent has gone back."""
        if not hasattr(self, "books"):
            return
        last = self.slot + 4
        for _ in range(3_000):
            states = {self.books.states.get(slot, ["FINAL"])[-1] for slot in range(last + 1)}
            if last in self.books.states and states == {"FINAL"}:
                break
            self.next_event()
            self.sound()
        else:
            raise AssertionError(f"slot {last} never becomes final: {self.books.states.get(last)}")
        for _ in range(3):  # rent is divided in one turn and paid in the next
            self.next_event()
            self.sound()
        for slot in range(last + 1):
            assert self.books.states.get(slot, ["FINAL"])[-1] == "FINAL"
            self.auditor.settled(slot)
            with self.world.transaction() as ctx:
                assert list(entries(ctx, slot)) == []
        for period in range((last + 1) // PERIOD_SLOTS):
            left = period not in self.books.closed and self.books.tolls_of(period)
            assert not left, f"rent of {period}: {self.world.query('settlement', 'rent', period=period)!r}"
        self._forget(last)
        for _, order_id in self.ids:
            try:
                row = cast("tuple[Any, ...]", self.world.query("market", "order", order=order_id))
            except ContractError as error:
                assert error.code in ("unknown-order", "pruned")
                continue
            assert row[12] in ("FILLED", "CANCELLED", "EXPIRED", "REJECTED") or row[3] > last
        for device in DEVICES:
            for period in range((last + 1) // PERIOD_SLOTS):
                assert self.world.query("accounts", "account", account=f"reserved:{device}:{period}") == 0

    def _forget(self, last: int) -> None:
        """A week later, if the rules say so, the details of the first slots go, and nothing else changes."""
        settings = cast("tuple[Any, ...]", self.world.query("market", "settings"))
        if not settings[RETENTION_AT] or not self.auditor.auctions:
            return
        for _ in range(9):
            self.world.next_block(self.world.time + 86_400)
            self.sound()
        for _ in range(400):
            if last in self.books.pruned:
                return
            self.next_event()
        self.sound()
        assert self.books.pruned, "nothing is ever pruned"


# No shrinking: a day of thirty steps takes minutes to shrink. Add Phase.shrink when one fails.
Days.TestCase.settings = settings(
    max_examples=examples(20),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
TestDays = Days.TestCase
