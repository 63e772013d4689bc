"""Whatever owners agree on, share, sell, order and end: caps hold, all that moves has an agreement, nothing is lost."""

from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaincode import (
    accounts,
    agreement_book,
    budget,
    budget_audit,
    budget_outside,
    budget_policy,
    budget_share,
    network_classes,
    sales,
)
from chaincode.agreement_book import Agreement
from chaincode.contract import Context, ContractError
from tests.chaincode.federation import ACME, BOLT, NETWORKS, agree, federation, issue, owner, terms
from tests.chaincode.neighbourhood import PERIOD_SLOTS, STRANGER, at_slot
from tests.chaincode.world import World

PERIODS = (0, 1)
WATCHED = (*PERIODS, 2)
"""A sale at a close pays into the period that runs then, which may be the next."""
DEVICES = tuple(f"{network}/{kind}" for network in NETWORKS for kind in ("load", "ev"))
SENDERS = (*(owner(network) for network in NETWORKS), ACME, BOLT, STRANGER)
REFUSALS = (
    "wrong-key", "bad-agreement", "with-itself", "duplicate-agreement", "too-many", "not-proposed", "not-in-force",
    "wrong-kind", "other-class", "in-arrears", "over-cap", "insufficient-funds", "period-closing", "not-offered",
    "not-sold", "over-limit",
)  # fmt: skip

networks = st.sampled_from(NETWORKS)
devices = st.sampled_from(DEVICES)
periods = st.sampled_from(PERIODS)
amounts = st.integers(1, 150)


class Federations(RuleBasedStateMachine):
    """Four networks of two companies. ``held``: the holds that were granted; ``seen``: movements already checked."""

    @initialize(
        funds=st.lists(st.integers(0, 300), min_size=8, max_size=8),
        floors=st.lists(amounts, min_size=4, max_size=4),
        pairs=st.lists(st.tuples(networks, networks), max_size=6, unique=True),
        cap=amounts,
    )
    def begin(self, funds: list[int], floors: list[int], pairs: list[tuple[str, str]], cap: int) -> None:
        self.world: World = federation()
        self.held: list[bytes] = []
        self.waiting = 0
        self.count = 0
        self.slot = 0
        self.seen: dict[int, int] = {}
        places = [(network, period) for network in NETWORKS for period in PERIODS]
        for (network, period), fund in zip(places, funds, strict=True):
            if fund:
                issue(self.world, network, fund, period)
        with self.world.transaction() as ctx:
            for network, floor in zip(NETWORKS, floors, strict=True):
                policy = budget_policy.policy_of(ctx, network)._replace(pool_floor=floor // 4)
                ctx.put(b"bud-policy/" + network.encode(), tuple(policy))
            for network in NETWORKS[:3]:
                network_classes.put_class(ctx, network, "hvac" if network != "a-2" else "light")
        for giver, taker in pairs:
            if giver != taker:
                agree(self.world, giver, taker, cap=cap)
        agree(self.world, "b-2", "a-1", cap=cap, kind="sale", price=905)

    def reference(self) -> bytes:
        self.count += 1
        return self.count.to_bytes(4, "big")

    def attempt(self, sender: bytes, contract: str, method: str, **args: Any) -> None:
        try:
            self.world.call(sender, contract, method, **args)
        except ContractError as error:
            assert error.code in REFUSALS, error
        self.check_movements()

    @rule(
        data=st.data(),
        giver=networks,
        taker=networks,
        kind=st.sampled_from(["share", "share", "sale"]),
        flags=st.tuples(st.booleans(), st.integers(0, 3)),
        cap=amounts,
        rank=st.integers(0, 3),
        spell=st.tuples(st.integers(0, 6), st.sampled_from([0, 0, 3, 8])),
    )
    def agree(
        self, data: st.DataObject, giver: str, taker: str, kind: str, flags: tuple[bool, int], cap: int, rank: int,
        spell: tuple[int, int],
    ) -> None:  # fmt: skip
        sides = [owner(giver), owner(taker)]
        if data.draw(st.integers(0, 9)) == 9:
            sides = [data.draw(st.sampled_from(SENDERS)), data.draw(st.sampled_from(SENDERS))]
        sender, other = sides if data.draw(st.booleans()) else reversed(sides)
        first = max(0, self.slot + spell[0] - 4)
        end = first + spell[1] if spell[1] else 0
        price = 900 if kind == "sale" else 0
        different = {"kind": kind, "cap": cap, "rank": rank, "price": price, "first_slot": first, "end_slot": end}
        flagged = {"automatic": flags[0] or kind == "share", "same_class": flags[1] == 0}
        before = self.agreed()
        self.attempt(sender, "agreements", "propose", **terms(giver, taker, **different, **flagged))
        number = self.agreed()
        if number > before:
            method = data.draw(st.sampled_from(["accept", "accept", "accept", "decline", "withdraw"]))
            self.attempt(other, "agreements", method, agreement=number)

    def agreed(self) -> int:
        with self.world.transaction() as ctx:
            return agreement_book.count(ctx)

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.agreed()))
        self.attempt(data.draw(st.sampled_from(SENDERS)), "agreements", "end", agreement=number)

    @rule(data=st.data(), period=periods, amount=amounts, by_giver=st.booleans())
    def give_by_hand(self, data: st.DataObject, period: int, amount: int, by_giver: bool) -> None:
        number = data.draw(st.sampled_from(self.numbers("share") or [1]))
        sender = self.giver_of(number) if by_giver else data.draw(st.sampled_from(SENDERS))
        self.attempt(sender, "agreements", "share", agreement=number, period=period, amount=amount)

    @rule(
        data=st.data(),
        period=periods,
        amount=amounts,
        then=st.sampled_from(["accept", "accept", "accept", "withdraw", "decline", ""]),
    )
    def sell(self, data: st.DataObject, period: int, amount: int, then: str) -> None:
        number = data.draw(st.sampled_from(self.numbers("sale")))
        self.attempt(self.giver_of(number), "sales", "offer", agreement=number, period=period, amount=amount)
        rows = cast("tuple[Any, ...]", self.world.query("sales", "sales", agreement=number))
        if rows and then:
            sale = data.draw(st.sampled_from([row[0] for row in rows]))
            more = {"payment": b"x"} if then == "accept" else {}
            sender = owner(rows[0][1] if then == "withdraw" else rows[0][2])
            self.attempt(sender, "sales", then, sale=sale, **more)

    def numbers(self, kind: str) -> list[int]:
        with self.world.transaction() as ctx:
            all_numbers = range(1, agreement_book.count(ctx) + 1)
            return [number for number in all_numbers if agreement_book.agreement_of(ctx, number).kind == kind]

    def giver_of(self, number: int) -> bytes:
        with self.world.transaction() as ctx:
            return owner(agreement_book.agreement_of(ctx, number).giver)

    @rule(device=devices, period=st.just(0) | periods, amount=st.integers(1, 60), now=st.booleans())
    def order(self, device: str, period: int, amount: int, now: bool) -> None:
        ref = self.reference()
        with self.world.transaction() as ctx:
            done = budget.hold(ctx, device, period, ref, amount)
        if done:
            self.held.append(ref)
        else:
            self.waiting += 1
        if now:
            self.decide()

    @rule(data=st.data(), amount=st.integers(1, 40), others=st.lists(st.tuples(devices, amounts), max_size=3))
    def order_where_others_help(self, data: st.DataObject, amount: int, others: list[tuple[str, int]]) -> None:
        period = self.slot // PERIOD_SLOTS
        with self.world.transaction() as ctx:
            helped = [name for name in NETWORKS if budget_outside.helpers(ctx, name, period, ())]
            have = {name: accounts.device_book(ctx, f"{name}/load", period).available for name in helped}
        for device, more in others:
            self.order(device, period, more, False)
        if helped:
            network = data.draw(st.sampled_from(helped))
            self.order(f"{network}/load", period, have[network] + amount, True)
            if self.held:
                self.settle(data, data.draw(st.integers(0, 4)))

    @rule()
    def decide(self) -> None:
        with self.world.transaction() as ctx:
            decisions = budget.resolve_needs(ctx)
        assert len(decisions) == self.waiting
        self.waiting = 0
        self.held += [ref for ref, granted in decisions if granted]
        self.check_movements()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), share=st.integers(0, 4))
    def settle(self, data: st.DataObject, share: int) -> None:
        ref = data.draw(st.sampled_from(self.held))
        with self.world.transaction() as ctx:
            found = budget.hold_of(ctx, ref)
            assert found is not None
            spent = found.amount * share // 4
            if spent:
                budget.post(ctx, ref, spent, "escrow:7", "trade")
            if back := min(found.amount - spent, found.amount // 2):
                budget.release(ctx, ref, back)
            if budget.hold_of(ctx, ref) is None:
                self.held.remove(ref)

    @rule(device=devices, amount=st.integers(1, 40))
    def charge(self, device: str, amount: int) -> None:
        with self.world.transaction() as ctx:
            budget.charge(ctx, device, self.slot // PERIOD_SLOTS, amount, "utility", "retail", self.reference())
        self.check_movements()

    @precondition(lambda self: self.slot < 19)
    @rule(slots=st.sampled_from([1, 1, 4]))
    def go_on(self, slots: int) -> None:
        self.slot += slots
        at_slot(self.world, self.slot)

    @precondition(lambda self: self.slot >= PERIOD_SLOTS)
    @rule(data=st.data(), amount=amounts)
    def close(self, data: st.DataObject, amount: int) -> None:
        number = data.draw(st.sampled_from(self.numbers("sale")))
        with self.world.transaction() as ctx:
            giver = agreement_book.agreement_of(ctx, number).giver
            policy = budget_policy.policy_of(ctx, giver)._replace(excess="sell", sale=number)
            ctx.put(b"bud-policy/" + giver.encode(), tuple(policy))
            assert 0 <= sales.at_close(ctx, giver, 0, amount) <= amount

    def check_movements(self) -> None:
        """What moved since the last look moved under an agreement in force, and an automatic one left the floor."""
        with self.world.transaction() as ctx:
            for number in range(1, agreement_book.count(ctx) + 1):
                found = agreement_book.agreement_of(ctx, number)
                new = agreement_book.movements_of(ctx, number, self.seen.get(number, 0), 10_000)
                self.seen[number] = self.seen.get(number, 0) + len(new)
                for movement in new:
                    assert agreement_book.is_in_force(found, self.slot)
                    assert not found.same_class or network_classes.are_alike(ctx, found.giver, found.taker)
                    share = budget_share.shares_of(ctx, found.taker, movement.taker_period, movement.record, 1)
                    if share[0].why != "by-hand":
                        floor = budget_policy.policy_of(ctx, found.giver).pool_floor
                        assert found.automatic and movement.giver_period == movement.taker_period
                        assert accounts.network_book(ctx, found.giver, movement.giver_period).pool >= floor

    @invariant()
    def what_was_given_is_within_the_caps_and_in_the_books(self) -> None:
        sent = dict.fromkeys([(network, period) for network in NETWORKS for period in WATCHED], 0)
        sold, received = dict(sent), dict(sent)
        live: set[tuple[str, str, str]] = set()
        with self.world.transaction() as ctx:
            for number in range(1, agreement_book.count(ctx) + 1):
                found = agreement_book.agreement_of(ctx, number)
                used, taken = dict.fromkeys(WATCHED, 0), dict.fromkeys(WATCHED, 0)
                for giver_period, target, net in _given(ctx, number, found):
                    used[giver_period] += net
                    taken[target] += net
                    (sold if found.kind == "sale" else sent)[found.giver, giver_period] += net
                    received[found.taker, target] += net
                for period in WATCHED:
                    assert agreement_book.used(ctx, number, period) == used[period] <= found.cap
                    assert agreement_book.taken(ctx, number, period) == taken[period] <= found.cap
                if agreement_book.state_at(found, self.slot) in ("proposed", "open"):
                    assert found[:3] not in live
                    live.add(found[:3])
            for (network, period), amount in sent.items():
                book = accounts.network_book(ctx, network, period)
                assert (book.sent, book.sold, book.received) == (
                    amount, sold[network, period], received[network, period]
                )  # fmt: skip

    @invariant()
    def no_token_is_lost_or_made(self) -> None:
        issued, redeemed, whole = cast("tuple[int, int, int]", self.world.query("accounts", "audit"))
        assert issued - redeemed == whole
        with self.world.transaction() as ctx:
            for network in NETWORKS:
                for period in WATCHED:
                    totals = budget_audit.totals_of(ctx, network, period)
                    assert totals.balance() and min(totals) >= 0


def _given(ctx: Context, number: int, agreement: Agreement) -> list[tuple[int, int, int]]:
    """(the giver's period, the taker's period, what it came to) of everything that moved under an agreement."""
    given = []
    for giver_period, target, record in agreement_book.movements_of(ctx, number, 0, 10_000):
        share = budget_share.shares_of(ctx, agreement.taker, target, record, 1)[0]
        given.append((giver_period, target, share.amount - share.returned))
    for row in cast("tuple[Any, ...]", sales.Sales().sales(ctx, agreement=number)):
        if row[9] >= 0:
            given.append((row[4], row[9], row[5]))
    return given


TestFederations = Federations.TestCase
TestFederations.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
