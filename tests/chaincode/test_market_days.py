"""Random days on small grids: the market's invariants hold after whatever happens.

Invariants 1 (money is conserved, nothing negative), 2 (energy and money of each product add up), 3 (limits are
kept), 4 (after an auction nobody else could trade at a gain), the lines' limits, and that each auction's
certificate proves it. 5 is the auction's own test; 6 to 8 are in test_market_blocks.
"""

from typing import Any, cast

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaincode.contract import ContractError, Value
from chaincode.market_book import entries
from tests.chaincode.market_auditor import Auditor
from tests.chaincode.marketplace import FEED_IN, RETAIL, SLOT_S, TICK_S, key_of, marketplace
from tests.chaincode.world import World

BUSES = ("t", "a", "b", "c")
NETWORKS = ("n1", "n2", "n3")
REFUSALS = {
    "over-capacity", "own-cross", "in-arrears", "over-budget", "closed-product", "bad-energy", "not-connected",
    "not-open", "has-fills", "slot-over", "duplicate", "late", "too-early", "register-mismatch", "out-of-limit",
    "no-product", "too-many", "conflict", "insufficient-funds",
}  # fmt: skip

limit_w = st.one_of(st.none(), st.sampled_from([0, 200, 1_000, 4_000]))
lines = st.tuples(
    *[
        st.tuples(
            st.sampled_from(BUSES[:child]), st.just(BUSES[child]), st.just(100), st.integers(0, 15), limit_w, limit_w
        )
        for child in range(1, len(BUSES))
    ]
)
energies = st.one_of(st.integers(100, 1_500), st.integers(100, 500), st.integers(1, 99))
limits = st.one_of(st.integers(FEED_IN, RETAIL), st.sampled_from([40, 60, 80]))
orders = st.tuples(
    st.sampled_from([f"{network}/{kind}" for network in NETWORKS for kind in ("ev", "pv")]),
    energies, limits, st.booleans(), st.integers(0, 9),
)  # fmt: skip


class Days(RuleBasedStateMachine):
    """Homes that order, cancel, move, meter and forget to; a clock that jumps."""

    world: World
    auditor: Auditor

    @initialize(
        grid=lines,
        buses=st.lists(st.sampled_from(BUSES), min_size=6, max_size=6),
        allocated=st.sampled_from([30_000, 10_000_000, 10_000_000]),
        tick_s=st.sampled_from([0, TICK_S]),
        gate=st.sampled_from([0, 600, SLOT_S + 600]),
    )
    def begin(self, grid: tuple[Any, ...], buses: list[str], allocated: int, tick_s: int, gate: int) -> None:
        self.devices = {
            f"{network}/{kind}": (network, kind, bus, 4_000, 4_000)
            for (network, kind), bus in zip(((n, k) for n in NETWORKS for k in ("pv", "ev")), buses, strict=True)
        }
        self.world = marketplace(
            self.devices, grid, allocated=allocated, periods=3, tick_s=tick_s, gate_before_end_s=gate
        )
        self.auditor = Auditor(self.world, self.devices)
        self.ids: list[tuple[str, bytes]] = []
        self.registers = {name: [0, 0] for name in self.devices}
        self.metered = dict.fromkeys(self.devices, -1)

    @property
    def slot(self) -> int:
        return self.world.time // SLOT_S

    def attempt(self, sender: str, contract: str, method: str, **args: Value) -> Value:
        """Call; a refusal by the rules is as good."""
        try:
            return self.world.call(key_of(sender), contract, method, **args)
        except ContractError as error:
            assert error.code in REFUSALS, error
            note(error.code)
            return None

    @rule(data=st.data(), ahead=st.sampled_from([1, 1, 1, 2, 0]), until=st.sampled_from(["gate", "gate", "auction"]))
    def order(self, data: st.DataObject, ahead: int, until: str) -> None:
        """A round of orders for one product; mostly each network is on one side."""
        side_of = {network: data.draw(st.sampled_from(["buy", "sell"])) for network in NETWORKS}
        for device, wh, limit, wish, turn in data.draw(st.lists(orders, min_size=3, max_size=10)):
            side = side_of[device[:2]]
            if turn == 0:
                side = "sell" if side == "buy" else "buy"
            price = limit if side == "buy" or turn == 1 else FEED_IN + (RETAIL - limit) // 2
            what: dict[str, Any] = {"energy_wh": wh, "price": price, "until": until, "renewable": wish}
            placed = self.attempt(device, "market", "place", device=device, side=side, slot=self.slot + ahead, **what)
            if placed is not None:
                self.ids.append((device, cast("bytes", placed)))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.ids:
            device, order_id = data.draw(st.sampled_from(self.ids))
            self.attempt(device, "market", "cancel", order=order_id)

    @precondition(lambda self: self.world.height % 4 == 0)
    @rule(data=st.data(), ahead=st.integers(0, 3), bus=st.one_of(st.none(), st.sampled_from(BUSES)))
    def move(self, data: st.DataObject, ahead: int, bus: str | None) -> None:
        device = f"{data.draw(st.sampled_from(NETWORKS))}/ev"
        if bus is None:
            self.attempt(device, "identity", "disconnect", device=device, slot=self.slot + ahead)
        else:
            self.attempt(device, "identity", "connect", device=device, bus=bus, slot=self.slot + ahead)

    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        """Some meters report what they have not yet reported of the last slot."""
        slot = self.slot - 1
        for device in data.draw(st.lists(st.sampled_from(sorted(self.devices)), unique=True)):
            if slot < 0 or self.metered[device] >= slot:
                continue
            bought, sold, *_ = self.auditor.contracts.get((device, slot), (0, 0))
            contracted = max(bought - sold, 0), max(sold - bought, 0)
            off = data.draw(st.tuples(st.integers(0, 300), st.integers(0, 300)))
            wh = min(contracted[0] + off[0], 2_000), min(contracted[1] + off[1], 2_000)
            imported, exported = (old + new for old, new in zip(self.registers[device], wh, strict=True))
            registers = {"import_register": imported, "export_register": exported}
            args = {"device": device, "slot": slot, "import_wh": wh[0], "export_wh": wh[1], **registers}
            try:
                self.world.call(key_of(f"meter {device}"), "settlement", "report", **args)
            except ContractError as error:
                assert error.code in ("not-connected", "late", "no-product"), error
            else:
                self.registers[device] = [imported, exported]
                self.metered[device] = slot

    @rule(seconds=st.sampled_from([1, TICK_S, TICK_S, TICK_S, TICK_S, 600, SLOT_S]))
    def go_on(self, seconds: int) -> None:
        self.world.next_block(self.world.time + seconds)

    @rule()
    def next_event(self) -> None:
        due = self.world.next_event()
        assert due is not None
        self.world.next_block(max(due, self.world.time))

    @invariant()
    def sound(self) -> None:
        if hasattr(self, "auditor"):
            self.auditor.check()

    def teardown(self) -> None:
        """Let everything be settled: no money stays in escrow, no order in the book."""
        if not hasattr(self, "auditor"):
            return
        last = self.slot + 2
        self.world.next_block((last + 2) * SLOT_S)
        end = self.world.time + SLOT_S  # no block for hours: meters have their window anew
        while (due := self.world.next_event()) is not None and due <= end:
            self.world.next_block(max(due, self.world.time))
        self.auditor.check()
        for slot in range(last + 1):
            self.auditor.settled(slot)
            with self.world.transaction() as ctx:
                assert list(entries(ctx, slot)) == []
        for _, order_id in self.ids:
            state = cast("tuple[Any, ...]", self.world.query("market", "order", order=order_id))[12]
            assert state in ("FILLED", "CANCELLED", "EXPIRED", "REJECTED")
        for device in self.devices:
            for period in range(3):
                assert self.world.query("accounts", "account", account=f"reserved:{device}:{period}") == 0


# No shrinking: a day of thirty steps takes minutes to shrink. Add Phase.shrink when one fails.
Days.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
TestDays = Days.TestCase
