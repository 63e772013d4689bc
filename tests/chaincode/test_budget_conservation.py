"""Whatever owners, orders, clearings and settlements do with budgets in whatever order: no token is lost or made."""

from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaincode import accounts, budget, budget_audit, budget_policy, budget_share, budget_state
from chaincode.budget import Charge
from chaincode.budget_hold import Hold
from chaincode.contract import ContractError
from tests.chaincode.neighbourhood import DEVICES, OWNER_1, UTILITY, at_slot, fund, neighbourhood
from tests.chaincode.world import World

PERIODS = (0, 1)
REFUSALS = ("insufficient-funds", "period-closing", "bad-account")

devices = st.sampled_from(DEVICES)
periods = st.sampled_from(PERIODS)
amounts = st.integers(1, 400)


class Budgets(RuleBasedStateMachine):
    """A home, its devices and the utility, at random; ``held`` remembers what holds should have."""

    @initialize(
        proceeds=st.sampled_from(["pool", "device"]),
        ranks=st.permutations(range(len(DEVICES))),
        funds=st.lists(st.integers(1, 400), min_size=len(DEVICES), max_size=len(DEVICES)),
        slot=st.integers(0, 9),
    )
    def begin(self, proceeds: str, ranks: list[int], funds: list[int], slot: int) -> None:
        self.world: World = neighbourhood()
        self.held: dict[bytes, tuple[str, int, int]] = {}
        self.waiting: dict[bytes, tuple[str, int, int]] = {}
        self.slot = slot
        self.count = 0
        at_slot(self.world, slot)
        fund(self.world, dict(zip(DEVICES, funds, strict=True)))
        donors = tuple(
            (device, rank, 5 * rank * (rank != 3), rank != 3, None, 0, 0)
            for device, rank in zip(DEVICES, ranks, strict=True)
        )
        self.world.call(OWNER_1, "budget", "set_policy", network="home-1", proceeds=proceeds, devices=donors)

    def reference(self) -> bytes:
        self.count += 1
        return self.count.to_bytes(4, "big")

    def attempt(self, sender: bytes, method: str, **args: Any) -> None:
        try:
            self.world.call(sender, "budget", method, **args)
        except ContractError as error:
            assert error.code in REFUSALS

    @rule(period=periods, amount=amounts)
    def issue(self, period: int, amount: int) -> None:
        reference = self.reference()
        self.attempt(UTILITY, "issue", network="home-1", period=period, amount=amount, reference=reference)

    @rule(device=devices, period=periods, amount=amounts)
    def allocate(self, device: str, period: int, amount: int) -> None:
        self.attempt(OWNER_1, "allocate", network="home-1", period=period, amounts=((device, amount),))

    @rule(period=periods, amount=amounts)
    def allocate_by_history(self, period: int, amount: int) -> None:
        args: dict[str, Any] = {"network": "home-1", "period": period, "amount": amount, "devices": DEVICES}
        self.attempt(OWNER_1, "allocate_by_history", **args)

    @rule(giver=devices, receiver=devices, period=periods, amount=amounts)
    def share(self, giver: str, receiver: str, period: int, amount: int) -> None:
        self.attempt(OWNER_1, "share", giver=giver, receiver=receiver, period=period, amount=amount)

    @rule(device=devices, period=st.just(0) | periods, amount=amounts)
    def hold(self, device: str, period: int, amount: int) -> None:
        ref = self.reference()
        with self.world.transaction() as ctx:
            done = budget.hold(ctx, device, period, ref, amount)
        (self.held if done else self.waiting)[ref] = (device, period, amount)

    @rule(device=devices, extra=st.integers(1, 60))
    def order_too_much(self, device: str, extra: int) -> None:
        period = self.slot // 10
        with self.world.transaction() as ctx:
            available = accounts.device_book(ctx, device, period).available
        self.hold(device, period, available + extra)
        self.resolve()

    @rule()
    def resolve(self) -> None:
        with self.world.transaction() as ctx:
            gave = {device: {p: accounts.device_book(ctx, device, p).lent for p in PERIODS} for device in DEVICES}
            decisions = dict(budget.resolve_needs(ctx))
            assert decisions.keys() == self.waiting.keys()
            for device in DEVICES:
                for period in PERIODS:
                    book = accounts.device_book(ctx, device, period)
                    if book.lent > gave[device][period]:
                        donor = budget_policy.donor_of(ctx, device)
                        rest = min(max(10 * (period + 1) - self.slot, 0), 10)
                        assert donor.gives and book.available * 10 >= donor.floor * 10 + book.allocated * rest
                        assert book.received_slot < self.slot
        for ref, granted in decisions.items():
            if granted:
                self.held[ref] = self.waiting[ref]
        self.waiting.clear()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), account=st.sampled_from(["escrow:7", "utility"]))
    def post(self, data: st.DataObject, account: str) -> None:
        ref, part = self.draw(data)
        with self.world.transaction() as ctx:
            budget.post(ctx, ref, part, account, "trade")
        self.shrink(ref, part)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), whole=st.booleans())
    def release(self, data: st.DataObject, whole: bool) -> None:
        ref, part = self.draw(data)
        with self.world.transaction() as ctx:
            budget.release(ctx, ref, None if whole else part)
        self.shrink(ref, self.held[ref][2] if whole else part)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        ref, part = self.draw(data)
        back = data.draw(st.integers(0, part))
        with self.world.transaction() as ctx:
            budget.settle(ctx, ref, part - back, back, "escrow:7", "trade")
        self.shrink(ref, part)

    @rule(first=devices, second=devices, period=periods, amount=amounts, other=amounts)
    def charge(self, first: str, second: str, period: int, amount: int, other: int) -> None:
        charges = [Charge(first, amount)] + ([Charge(second, other)] if second != first else [])
        with self.world.transaction() as ctx:
            before = budget_state.owed_of(ctx, "home-1")[0]
            paid = budget.charge_all(ctx, "home-1", period, charges, "utility", "retail", self.reference())
            after = budget_state.owed_of(ctx, "home-1")[0]
        assert after - before == sum(each.amount for each in charges) - sum(paid)

    @rule(device=devices, period=periods, amount=amounts)
    def credit(self, device: str, period: int, amount: int) -> None:
        with self.world.transaction() as ctx:
            accounts.mint(ctx, "escrow:8", amount, "test", b"")
            budget.credit(ctx, device, period, amount, "escrow:8", "sale", self.reference())

    @rule(device=devices, spent=st.integers(0, 100), forecast=st.integers(0, 800))
    def use(self, device: str, spent: int, forecast: int) -> None:
        with self.world.transaction() as ctx:
            budget.note_use(ctx, device, self.slot, spent, spent)
        self.attempt(OWNER_1, "set_forecast", device=device, period=self.slot // 10, amount=forecast)

    @precondition(lambda self: self.slot < 19)
    @rule()
    def next_slot(self) -> None:
        self.slot += 1
        at_slot(self.world, self.slot)

    @invariant()
    def no_token_is_lost_or_made(self) -> None:
        issued, redeemed, whole = cast("tuple[int, int, int]", self.world.query("accounts", "audit"))
        assert issued - redeemed == whole
        with self.world.transaction() as ctx:
            for period in PERIODS:
                totals = budget_audit.totals_of(ctx, "home-1", period)
                assert totals.balance() and min(totals) >= 0
                for device in DEVICES:
                    book = accounts.device_book(ctx, device, period)
                    assert min(book[:8]) >= 0
                    came = book.allocated + book.earned + book.borrowed
                    assert came == book.available + book.reserved + book.spent + book.lent + book.withdrawn

    @invariant()
    def what_is_reserved_is_what_holds_have(self) -> None:
        reserved = dict.fromkeys([(device, period) for device in DEVICES for period in PERIODS], 0)
        for device, period, amount in self.held.values():
            reserved[device, period] += amount
        with self.world.transaction() as ctx:
            for (device, period), amount in reserved.items():
                assert accounts.device_book(ctx, device, period).reserved == amount
            for ref, (device, period, amount) in self.held.items():
                found = budget.hold_of(ctx, ref)
                assert found is not None and found[:3] == (device, period, amount)
                assert sum(gift.amount for gift in found.gifts) <= amount

    @invariant()
    def shares_are_what_was_lent(self) -> None:
        with self.world.transaction() as ctx:
            for period in PERIODS:
                shares = budget_share.shares_of(ctx, "home-1", period, 0, 10_000)
                for device in DEVICES:
                    book = accounts.device_book(ctx, device, period)
                    assert book.lent == sum(s.amount - s.returned for s in shares if s.giver == device)
                    got = sum(s.amount - s.returned for s in shares if s.receiver == device and s.giver)
                    assert book.borrowed == got

    def draw(self, data: st.DataObject) -> tuple[bytes, int]:
        """One of the holds, if there are any one that others helped with, and a part of it."""
        with self.world.transaction() as ctx:
            helped = [ref for ref in sorted(self.held) if cast("Hold", budget.hold_of(ctx, ref)).gifts]
        ref = data.draw(st.sampled_from(helped or sorted(self.held)))
        return ref, data.draw(st.integers(1, self.held[ref][2]))

    def shrink(self, ref: bytes, part: int) -> None:
        device, period, amount = self.held.pop(ref)
        if part < amount:
            self.held[ref] = (device, period, amount - part)


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
