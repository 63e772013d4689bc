"""Whatever is changed, and whenever: every slot opens once, in order, with the terms of its moment, and runs on."""

from itertools import pairwise
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from chaincode.contract import ContractError
from chaincode.market_products import Product, Settings
from tests.chaincode.council import Council
from tests.chaincode.marketplace import RETAIL, SLOT_S, audit, order
from tests.chaincode.test_market_outage import WAY, run, ways

VALUES = {
    "open_before_s": st.sampled_from((0, 700, SLOT_S, 3 * SLOT_S, 12 * SLOT_S + 1)),
    "gate_before_end_s": st.sampled_from((0, 600, SLOT_S, 4 * SLOT_S)),
    "tick_s": st.sampled_from((0, 10, 300)),
    "metering_window_s": st.sampled_from((0, 900, 2 * SLOT_S)),
    "dispute_window_s": st.sampled_from((0, 1_800, 5 * SLOT_S)),
    "outage_s": st.sampled_from((60, 300, 9_000)),
    "internal_permille": st.integers(0, 1_000),
    "mix_permille": st.integers(0, 1_000),
}


class Changes(RuleBasedStateMachine):
    """Rules change while blocks pass, some of them late."""

    @initialize(changes=st.fixed_dictionaries({}, optional={name: VALUES[name] for name in ("tick_s", "outage_s")}))
    def begin(self, changes: dict[str, int]) -> None:
        self.council = Council(**changes)
        self.pinned: dict[int, Settings] = dict.fromkeys(self.council.products(), self.council.rules())

    @rule(changes=st.fixed_dictionaries({}, optional=cast("Any", VALUES)), ahead=st.integers(0, 3))
    def change(self, changes: dict[str, int], ahead: int) -> None:
        """Three of four admins want ``changes``; blocks pass until they are in force."""
        before = self.council.rules()
        try:
            first = self.council.decide(at=self.council.height + 33 + ahead, **changes)
        except ContractError as refusal:
            assert refusal.code in ("bad-settings", "no-change")
            return
        self.council.height = first - 2
        for _ in range(2):
            assert self.council.rules() == before
            self._block(self.council.time)
        assert self.council.rules() == Settings(**{**before._asdict(), **changes})

    @rule(seconds=st.integers(1, 3 * SLOT_S))
    def pass_time(self, seconds: int) -> None:
        """Blocks come when something is due."""
        until = self.council.time + seconds
        while (due := self.council.next_event()) is not None and due <= until:
            self._block(max(due, self.council.time))
        if self.council.time < until:
            self._block(until)

    @rule(seconds=st.integers(1, 10 * SLOT_S))
    def stand_still(self, seconds: int) -> None:
        self._block(self.council.time + seconds)

    @rule(ahead=st.integers(0, 4), side=st.sampled_from((("home-1/load", "buy"), ("home-2/pv", "sell"))))
    def trade(self, ahead: int, side: tuple[str, str]) -> None:
        device, what = side
        try:
            order(self.council, device, what, slot=self.council.time // SLOT_S + ahead, wh=200, price=RETAIL // 2)
        except ContractError as refusal:
            assert refusal.code in ("closed-product", "over-budget", "in-arrears", "over-capacity")

    def _block(self, time: int) -> None:
        known = ways(self.council)
        self.council.next_block(time)
        self.pinned.update((slot, self.council.rules()) for slot in ways(self.council).keys() - known.keys())

    @invariant()
    def holds(self) -> None:
        passed = ways(self.council)
        assert list(passed) == list(range(len(passed))), "opened in order, each once, none left out"
        assert all(way == WAY[: len(way)] for way in passed.values())
        due, now = self.council.next_event(), self.council.time
        if due is None or due > now:
            assert len(passed) > (now + self.council.rules().open_before_s) // SLOT_S, "all that are due are open"
        for slot, row in self.council.products().items():
            assert row[2] <= now, "none opens early"
            product, rules = Product(*row[1:15]), self.pinned[slot]
            assert product.ends == product.starts + SLOT_S
            assert product.opens == product.starts - rules.open_before_s
            assert product.gate == product.ends - rules.gate_before_end_s
            assert product.tick_s == rules.tick_s and product.mix_permille == rules.mix_permille
            assert product.metered_by >= product.ends + rules.metering_window_s
            assert product.final_at - product.metered_by >= rules.dispute_window_s
        audit(self.council)

    def teardown(self) -> None:
        """Once nothing changes any more, everything is caught up with, and the newest rules count."""
        if not hasattr(self, "council"):
            return
        rules = self.council.rules()
        run(self.council, self.council.time + rules.metering_window_s + rules.dispute_window_s + 20 * SLOT_S)
        while (due := self.council.next_event()) is not None and due <= self.council.time:
            self.council.next_block()
        newest = (self.council.time + rules.open_before_s) // SLOT_S
        assert max(self.council.products()) >= newest
        history = cast("Any", self.council.query("rules", "history"))
        assert all(before[4] != after[4] and before[1] < after[1] for before, after in pairwise(history))


def test_whatever_is_changed_every_slot_runs_its_way() -> None:
    run_state_machine_as_test(Changes, settings=settings(max_examples=25, stateful_step_count=20, deadline=None))
