"""Whole lives of budgets: companies, networks and devices over many periods, with a market among them.

Owners plan, allocate and share; devices order, run out and are helped; meters tell late or never; no block comes for
hours; periods end. After every step an auditor who has read nothing but the blocks' events has the same books as the
ledger (``budget_auditor.py``). ``make random`` tries more.
"""

from typing import Any, cast

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaincode import accounts, agreement_book, budget_calendar, budget_share
from chaincode.contract import ContractError, Value
from tests.at_length import examples
from tests.chaincode.budget_companies import Companies, agreements, ahead, amounts, networks
from tests.chaincode.budget_town import DEVICES, NETWORK_OF, NETWORKS, PERIOD_SLOTS, BudgetTown
from tests.chaincode.marketplace import FEED_IN, RETAIL, SLOT_S, TICK_S, UTILITY, key_of

REFUSALS = {
    "insufficient-funds", "period-over", "period-closing", "period-closed", "bad-account", "bad-amount", "over-limit",
    "no-forecast", "no-rule", "bad-policy", "other-network", "unknown-period",
    "over-capacity", "own-cross", "in-arrears", "over-budget", "closed-product", "bad-energy", "not-open", "late",
    "duplicate", "conflict", "too-early", "bad-price", "register-mismatch", "no-product", "unmetered",
    "over-cap", "no-change", "no-redemption", "wrong-key", "wrong-kind", "not-in-force", "other-class", "not-proposed",
    "duplicate-agreement", "bad-agreement", "not-offered", "not-sold", "slot-begun", "period-mismatch",
    "not-waiting", "too-many",
}  # fmt: skip
MISTAKES = (
    "market-parked", "settlement-parked", "origin-parked", "gap-failed", "needs-refused", "hook-failed",
)  # fmt: skip

devices = st.sampled_from(sorted(DEVICES))
order_rows = st.tuples(devices, st.integers(100, 1_500), st.integers(50, RETAIL), st.sampled_from(["gate", "auction"]))
orders = st.lists(order_rows, min_size=2, max_size=6)
markets = st.fixed_dictionaries(
    {
        "dispute_window_s": st.sampled_from([900, 3 * SLOT_S]),
        "outage_s": st.sampled_from([600, 100 * SLOT_S]),
        "internal_permille": st.sampled_from([0, 500]),
        "retention_s": st.sampled_from([0, SLOT_S]),
    }
)


class Life(Companies, RuleBasedStateMachine):
    """Companies and what they do with their budgets."""

    world: BudgetTown

    @initialize(
        market=markets,
        seed=st.integers(0, 2**32),
        funds=st.lists(st.sampled_from([20_000, 60_000, 150_000, 600_000]), min_size=3, max_size=3),
        agreed=st.lists(agreements, max_size=4),
        calendar=st.sampled_from([(), (), (), (6, 4), (4, 8)]),
    )
    def begin(
        self,
        market: dict[str, Any],
        seed: int,
        funds: list[int],
        agreed: list[dict[str, Any]],
        calendar: tuple[int, ...],
    ) -> None:
        self.world = BudgetTown(seed, **market)
        if calendar:
            self.world.plan(calendar, "air")
        self.count = self.seen = 0
        self.ids: list[tuple[str, bytes]] = []
        self.agreements: dict[int, dict[str, Any]] = {}
        self.sales: dict[int, int] = {}
        self.requests: list[tuple[int, str, int]] = []  # number, who answers, amount
        for network, amount in zip(NETWORKS, funds, strict=True):
            for period in range(3):
                self.world.fund(network, self.world.period(network, period), amount, b"start")
        for terms in agreed:
            self.propose(terms, "accept")

    def attempt(self, sender: str | bytes, contract: str, method: str, **args: Any) -> Value:
        """Call; a refusal by the rules is as good."""
        try:
            key = key_of(sender) if isinstance(sender, str) else sender
            return self.world.call(key, contract, method, **args)
        except ContractError as error:
            assert error.code in REFUSALS, error
            note(error.code)
            return None

    def reference(self) -> bytes:
        self.count += 1
        return self.count.to_bytes(4, "big")

    def propose(self, terms: dict[str, Any], answer: str) -> None:
        """Offer an agreement, and have it answered."""
        giver, taker, _ = terms.pop("sides")
        end = self.world.slot + terms.pop("end_slot")
        terms |= {"giver": giver, "taker": taker, "price": 700 if terms["kind"] == "sale" else 0}
        when = {"first_slot": self.world.slot, "end_slot": end if end > self.world.slot else 0}
        number = self.attempt(giver, "agreements", "propose", **terms, **when)
        if number is not None:
            self.agreements[cast("int", number)] = terms
            self.attempt(giver if answer == "withdraw" else taker, "agreements", answer, agreement=number)

    # Owners and the utility.

    @rule(network=networks, ahead=ahead, amount=amounts)
    def issue(self, network: str, ahead: int, amount: int) -> None:
        of = {"network": network, "period": self.world.period(network, ahead)}
        self.attempt(UTILITY, "budget", "issue", **of, amount=amount, reference=self.reference())

    @rule(device=devices, ahead=ahead, amount=amounts, back=st.booleans())
    def allocate(self, device: str, ahead: int, amount: int, back: bool) -> None:
        network = NETWORK_OF[device]
        of = {"network": network, "period": self.world.period(network, ahead), "amounts": ((device, amount),)}
        self.attempt(network, "budget", "withdraw" if back else "allocate", **of)

    @rule(network=networks, ahead=ahead, amount=amounts, how=st.sampled_from(["history", "forecast", "policy"]))
    def allocate_by_rule(self, network: str, ahead: int, amount: int, how: str) -> None:
        of: dict[str, Any] = {"network": network, "period": self.world.period(network, ahead)}
        if how != "policy":
            of |= {"amount": amount, "devices": self.own(network)}
        self.attempt(network, "budget", f"allocate_by_{how}", **of)

    @rule(data=st.data(), network=networks, ahead=st.sampled_from([-1, 0, 0, 1]), amount=amounts)
    def share(self, data: st.DataObject, network: str, ahead: int, amount: int) -> None:
        giver, receiver = data.draw(st.permutations(self.own(network)))[:2]
        of = {"giver": giver, "receiver": receiver, "period": self.world.period(network, ahead)}
        self.attempt(network, "budget", "share", **of, amount=amount)

    @rule(data=st.data(), device=devices, ahead=ahead, amount=amounts, of_pool=st.booleans())
    def ask(self, data: st.DataObject, device: str, ahead: int, amount: int, of_pool: bool) -> None:
        """A device asks its pool, another device, or under an agreement another network."""
        network = NETWORK_OF[device]
        givers = [("", 0)] if of_pool else [(other, 0) for other in self.own(network) if other != device]
        helpers = [
            (f"@{terms['giver']}", number) for number, terms in self.agreements.items() if terms["taker"] == network
        ]
        giver, agreement = data.draw(st.sampled_from(givers + 3 * helpers))
        of = {"device": device, "giver": giver, "agreement": agreement, "period": self.world.period(network, ahead)}
        number = self.attempt(device, "requests", "ask", **of, amount=amount)
        if number is not None:
            self.requests.append((cast("int", number), network if giver[:1] != "@" else giver[1:], amount))

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), part=st.sampled_from([1, 1, 2]), granted=st.sampled_from([True, True, True, False]))
    def answer(self, data: st.DataObject, part: int, granted: bool) -> None:
        number, owner, amount = data.draw(st.sampled_from(self.requests))
        if granted:
            self.attempt(owner, "requests", "grant", request=number, amount=max(amount // part, 1))
        else:
            self.attempt(owner, "requests", "decline", request=number)

    @rule(device=devices, ahead=ahead, amount=amounts)
    def forecast(self, device: str, ahead: int, amount: int) -> None:
        period = self.world.period(NETWORK_OF[device], ahead)
        self.attempt(NETWORK_OF[device], "budget", "set_forecast", device=device, period=period, amount=amount)

    @rule(
        network=networks,
        terms=st.fixed_dictionaries(
            {
                "proceeds": st.sampled_from(["pool", "device"]),
                "pool_helps": st.booleans(),
                "pool_floor": st.sampled_from([0, 0, 30_000]),
                "carry_cap": st.sampled_from([0, 50_000, 10**12]),
                "carry_periods": st.sampled_from([0, 0, 1, 2]),
                "excess": st.sampled_from(["return", "redeem", "sell", "sell"]),
                "allocation": st.sampled_from(["by-hand", "history", "forecast"]),
            }
        ),
        rows=st.lists(
            st.tuples(st.integers(0, 3), st.sampled_from([0, 0, 5_000, 40_000]), st.booleans()), min_size=3, max_size=3
        ),
        limit=st.sampled_from([None, None, 200_000]),
    )
    def policy(self, network: str, terms: dict[str, Any], rows: list[tuple[int, int, bool]], limit: int | None) -> None:
        sales = [number for number, of in self.agreements.items() if of["giver"] == network and of["kind"] == "sale"]
        if terms["excess"] == "sell":
            terms |= {"sale": sales[-1]} if sales else {"excess": "return"}
        own = zip(self.own(network), rows, strict=False)
        devices = tuple(
            (device, rank, floor if gives else 0, gives, limit, 0, 0) for device, (rank, floor, gives) in own
        )
        self.attempt(network, "budget", "set_policy", network=network, **terms, devices=devices)

    def own(self, network: str) -> tuple[str, ...]:
        return tuple(device for device, owner in NETWORK_OF.items() if owner == network)

    # The market.

    def order(self, device: str, wh: int, price: int, later: int, until: str = "gate") -> None:
        side = "sell" if DEVICES[device][1] == "pv" else "buy"
        where: dict[str, Any] = {"device": device, "side": side, "slot": self.world.slot + later}
        placed = self.attempt(device, "market", "place", **where, energy_wh=wh, price=price, until=until)
        if placed is not None:
            self.ids.append((device, cast("bytes", placed)))

    @rule(wanted=orders, later=st.sampled_from([0, 1, 1, 2]))
    def place(self, wanted: list[tuple[str, int, int, str]], later: int) -> None:
        """Orders that wait for whatever comes."""
        for device, wh, limit, until in wanted:
            self.order(device, wh, limit, later, until)

    @rule(wanted=orders, surplus=st.integers(200, 1_200), price=st.integers(FEED_IN, 50), later=st.sampled_from([1, 2]))
    def trade(self, wanted: list[tuple[str, int, int, str]], surplus: int, price: int, later: int) -> None:
        """The panels sell, others buy, and the block that clears them."""
        for device in ("air/pv", "oven/pv"):
            self.order(device, surplus, price, later)
        self.place(wanted, later)
        self.world.next_block(self.world.time + TICK_S)

    @rule(device=st.sampled_from([device for device, row in DEVICES.items() if row[1] != "pv"]), short=amounts)
    def order_too_much(self, device: str, short: int) -> None:
        """An order for more than the device has: others help, or it goes without."""
        with self.world.transaction() as ctx:
            period = budget_calendar.period_of(ctx, NETWORK_OF[device], self.world.slot + 1)
            has = accounts.device_book(ctx, device, period).available
        price = 90
        self.order(device, min((has + short) // price + 1, 1_900), price, 1)
        self.world.next_block(self.world.time + TICK_S)

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        device, order = data.draw(st.sampled_from(self.ids))
        try:
            self.attempt(device, "market", "cancel", order=order)
        except AssertionError as refusal:
            assert "unknown-order" in str(refusal) or "pruned" in str(refusal)

    # Time.

    @rule(
        leave_out=st.sampled_from([None, None, *sorted(DEVICES)]),
        slots=st.sampled_from([1, 1, 1, 2, PERIOD_SLOTS]),
        late=st.sampled_from([False, False, True]),
    )
    def next_slot(self, leave_out: str | None, slots: int, late: bool) -> None:
        """The next slot begins, and the meters tell of the last one, but for one now and then; ``late``: no block is
        made in between.
        """
        for _ in range(slots):
            begins = (self.world.slot + 1) * SLOT_S
            if late:
                self.world.next_block(begins)
            else:
                self.world.go_to(begins)
            for device in DEVICES:
                if device != leave_out:
                    slot = self.world.slot - 1
                    figures = self.world.metered(device, slot)
                    self.attempt(f"meter {device}", "settlement", "report", device=device, slot=slot, **figures)
            self.world.audit()

    @rule(seconds=st.sampled_from([1, TICK_S, TICK_S, 600, 900]))
    def go_on(self, seconds: int) -> None:
        self.world.next_block(self.world.time + seconds)

    @rule()
    def next_event(self) -> None:
        due = self.world.next_event()
        assert due is not None
        self.world.next_block(max(due, self.world.time))

    @rule(seconds=st.sampled_from([700, SLOT_S + 100, 5 * SLOT_S]))
    def outage(self, seconds: int) -> None:
        """No block for a while after something was due."""
        due = self.world.next_event()
        assert due is not None
        self.world.next_block(max(due, self.world.time) + seconds)

    @invariant()
    def sound(self) -> None:
        if hasattr(self, "ids"):
            mistakes = [event for event in self.world.events[self.seen :] if event.topic in MISTAKES]
            assert not mistakes, mistakes
            self.seen = len(self.world.events)
            self.world.audit()
            self.within_caps()

    def within_caps(self) -> None:
        """What was given under an agreement is within its cap, and all that went between two networks was agreed."""
        agreed: dict[tuple[str, str], int] = {}
        with self.world.transaction() as ctx:
            for number in self.agreements:
                terms = agreement_book.agreement_of(ctx, number)
                for period in range(self.world.period(terms.giver, 4)):
                    used = agreement_book.used(ctx, number, period)
                    assert 0 <= used <= terms.cap
                    assert 0 <= agreement_book.taken(ctx, number, period) <= terms.cap
                    sides = f"pool:{terms.giver}:{period}", f"pool:{terms.taker}"
                    agreed[sides] = agreed.get(sides, 0) + used
        self.world.auditor.check_agreed(agreed)

    def teardown(self) -> None:
        """Let everything become final: what is over is closed and empty, and every share has its record."""
        if not hasattr(self, "ids"):
            return
        last = {network: self.world.period(network) for network in NETWORKS}
        for _ in range(3 * PERIOD_SLOTS + 6):
            self.next_slot(None, 1, False)
        self.sound()
        with self.world.transaction() as ctx:
            for network, over in last.items():
                for period in range(over + 1):
                    shown = self.world.query("periods", "period", network=network, period=period)
                    assert cast("tuple[Value, ...]", shown)[0] == "closed", (network, period, shown)
                    held = [accounts.device_book(ctx, device, period)[:2] for device in self.own(network)]
                    left = accounts.network_book(ctx, network, period).pool, held
                    assert not left[0] and not any(map(any, held)), (network, period, left, shown)
                for period in range(over + 6):
                    records = budget_share.shares_of(ctx, network, period, 0, 10**4)
                    self.world.auditor.check_shares(network, period, records)


# No shrinking: a life of forty steps takes minutes to shrink. Add Phase.shrink when one fails.
Life.TestCase.settings = settings(
    max_examples=examples(30),
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
TestLife = Life.TestCase
