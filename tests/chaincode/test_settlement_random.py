"""Whatever is corrected, in whatever order: in the end everybody stands as if it had been settled once.

What is equal, exactly: every line and every sum of a network (so what it pays in all, and what the utility alone would
have cost), what each network has less what it owes, tolls, rent, the homes' sums of each slot, what each device has
used. The utility has the same less what was issued to it and more what it is owed; if nobody ever lacks money, nothing
is owed. Not equal: in which of its own accounts a network's money lies, for a refund is a credit as any other.
"""

from typing import Any, NamedTuple, cast

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chaincode import accounts, budget_alerts, budget_audit, market_calendar, settlement_ledger, settlement_rent
from chaincode.apportion import apportion
from chaincode.contract import ContractError
from chaincode.market_calendar import RENT, SETTLEMENT, Entry
from chaincode.settlement_ledger import Settled
from tests.chaincode.marketplace import FEED_IN, PERIOD_SLOTS, RETAIL, SLOT_S, audit, balance, key_of, order, tick
from tests.chaincode.test_settlement_money import patient
from tests.chaincode.test_settlement_rent import go_to
from tests.chaincode.world import World

HOMES = ("n1", "n2", "n3")
LINES = (("t", "a", 100, 5, None, None), ("a", "b", 100, 7, 900, 600))
SLOTS = (1, 2)
METERED = 3 * SLOT_S + 900
START = 10_000  # of every register

Wh = tuple[int, int]
wh = st.tuples(st.integers(0, 900), st.integers(0, 900))
days = st.tuples(wh, wh)


class Story(NamedTuple):
    """``devices``: (home, kind, bus); ``orders``: (device, buys, slot, Wh, how far from the tariff); ``read``: by
    device what its meter says in time of slots 1 and 2, at most so many; ``corrected``: (device, both slots, whether a
    block comes then).
    """

    devices: tuple[tuple[str, str, str], ...]
    allocated: int
    internal: int
    orders: list[tuple[int, bool, int, int, int]]
    read: list[tuple[tuple[Wh, Wh], int]]
    corrected: list[tuple[int, tuple[Wh, Wh], bool]]

    def name(self, device: int) -> str:
        home, kind, _ = self.devices[device]
        return f"{home}/{kind}{device}"


@st.composite
def stories(draw: st.DrawFn) -> Story:
    kinds = st.sampled_from(["pv", "ev", "load"])
    devices = draw(st.lists(st.tuples(st.sampled_from(HOMES), kinds, st.sampled_from("ab")), min_size=2, max_size=6))
    index = st.integers(0, len(devices) - 1)
    orders = st.tuples(index, st.booleans(), st.sampled_from(SLOTS), st.integers(100, 900), st.integers(0, 45))
    return Story(
        tuple(devices),
        draw(st.sampled_from([0, 20_000, 10_000_000, 10_000_000])),
        draw(st.sampled_from([0, 500, 1_000])),
        draw(st.lists(orders, min_size=4, max_size=12)),
        [draw(st.tuples(days, st.integers(0, 2))) for _ in devices],
        draw(st.lists(st.tuples(index, days, st.booleans()), min_size=1, max_size=8)),
    )


def begin(story: Story) -> World:
    """Everything has been traded, slot 2 is over, nothing is read."""
    devices = {story.name(i): (row[0], row[1], row[2], 4_000, 4_000) for i, row in enumerate(story.devices)}
    rules: dict[str, Any] = {"internal_permille": story.internal, "dispute_window_s": 3 * SLOT_S}
    world = patient(devices, LINES, allocated=story.allocated, metering_window_s=SLOT_S + 900, **rules)
    for device, buys, slot, energy, off in story.orders:
        price = RETAIL - off if buys else FEED_IN + off
        try:
            order(world, story.name(device), "buy" if buys else "sell", slot=slot, wh=energy, price=price)
        except ContractError as error:
            assert error.code in ("own-cross", "over-capacity", "over-budget"), error
    tick(world)
    world.next_block(3 * SLOT_S)
    return world


def say(world: World, device: str, method: str, day: tuple[Wh, ...]) -> None:
    """A meter's word about slot 1, or slots 1 and 2."""
    rows, registers = [], (START, START)
    for energy in day:
        registers = registers[0] + energy[0], registers[1] + energy[1]
        rows.append((*energy, *registers))
    meter = key_of(f"meter {device}")
    world.call(meter, "settlement", method, device=device, first_slot=1, rows=tuple(rows))


def corrected_world(story: Story) -> World:
    """Read in time, settled, corrected one after the other."""
    world = begin(story)
    for device, (day, slots) in enumerate(story.read):
        if slots:
            say(world, story.name(device), "report_day", day[:slots])
    world.next_block(METERED + SLOT_S)
    for device, day, block in story.corrected:
        try:
            say(world, story.name(device), "correct", day)
        except ContractError as error:
            assert error.code == "duplicate"
        if block:
            world.next_block(world.time + 1)
            check(world, story)
    world.next_block(world.time + 1)
    check(world, story)
    return world


def settled_once(story: Story) -> World:
    """Read in time as it was corrected in the end."""
    last = {device: day for device, day, _ in story.corrected}
    world = begin(story)
    for device, (day, slots) in enumerate(story.read):
        if device in last:
            say(world, story.name(device), "report_day", last[device])
        elif slots:
            say(world, story.name(device), "report_day", day[:slots])
    world.next_block(METERED + SLOT_S)
    check(world, story)
    return world


def homes_of(story: Story) -> list[str]:
    return sorted({row[0] for row in story.devices})


def check(world: World, story: Story) -> None:
    """Money is conserved, nothing is negative, sums are the sums of their parts."""
    audit(world)
    with world.transaction() as ctx:
        for home in homes_of(story):
            totals = budget_audit.totals_of(ctx, home, 0)
            assert totals.balance() and min(totals) >= 0
            pool = accounts.network_book(ctx, home, 0)
            assert pool.issued + pool.earned == pool.pool + pool.allocated + pool.spent and min(pool) >= 0
            found = [settlement_ledger.settled_of(ctx, home, slot) for slot in range(10)]
            parts = [part for part in found if part is not None]
            whole = Settled()
            for part in parts:
                whole = whole.plus(part)
            assert settlement_ledger.period_sums(ctx, home, 0) == (len(parts), whole)
            for slot, part in enumerate(parts):
                entries = settlement_ledger.entries_of(ctx, home, slot)
                assert part.entries == len(entries)
                assert sum(entry.amount for entry in entries) == -part.cost()
                assert sum(entry.owed for entry in entries) == part.owed
        for index in range(len(story.devices)):
            book = accounts.device_book(ctx, story.name(index), 0)
            assert min(book[:7]) >= 0
            came, went = book.allocated + book.earned + book.borrowed, book.spent + book.lent
            assert came == book.available + book.reserved + went
        for slot in SLOTS:
            assert accounts.balance(ctx, f"escrow:{slot}") == 0
    assert world.query("settlement", "parked") == ()


def picture(world: World, story: Story) -> dict[str, Any]:
    """All that is the same however it came about."""
    seen: dict[str, Any] = {}
    with world.transaction() as ctx:
        for home in homes_of(story):
            for slot in SLOTS:
                sums = settlement_ledger.settled_of(ctx, home, slot)
                assert sums is not None
                seen[f"{home} {slot}"] = sums._replace(entries=0, owed=0, revision=0)
                lines = settlement_ledger.standing(settlement_ledger.entries_of(ctx, home, slot))
                seen[f"{home} {slot} lines"] = sorted(line[:5] for line in lines)
            row = cast("tuple[Any, ...]", world.query("budget", "network_budget", network=home, period=0))
            seen[f"{home} has"] = row[3] + row[4] + row[5] - row[7]
        for index in range(len(story.devices)):
            seen[story.name(index)] = budget_alerts.watch_of(ctx, story.name(index), 0)[1:3]
        for slot in SLOTS:
            seen[f"metered {slot}"] = settlement_ledger.metered_of(ctx, slot)
    seen["grid-operator"], seen["congestion"] = balance(world, "grid-operator"), balance(world, "congestion")
    owed = sum(event_owed(world, home) for home in homes_of(story))
    issued, _, _ = cast("tuple[int, int, int]", world.query("accounts", "audit"))
    seen["utility"] = balance(world, "utility") - issued + owed
    return seen


def event_owed(world: World, home: str) -> int:
    return cast("int", cast("Any", world.query("budget", "network_budget", network=home, period=0))[7])


# No shrinking: a story takes a minute to shrink. Add Phase.shrink when one fails.
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(stories())
def test_corrections_in_any_order_come_to_what_settling_once_does(story: Story) -> None:
    corrected, once = corrected_world(story), settled_once(story)
    assert picture(corrected, story) == picture(once, story)
    if story.allocated > 100_000:
        assert not any(event_owed(corrected, home) for home in homes_of(story))
    go_to(corrected, METERED + 5 * SLOT_S)
    check(corrected, story)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.integers(1, 10**6), min_size=1, max_size=9),
    st.integers(0, 10**6),
    st.sampled_from([1, 2, 200]),
)
def test_rent_is_divided_whole_in_pages_of_any_size(tolls: dict[str, int], rent: int, page: int) -> None:
    homes = {f"{network}/load": (network, "load", "b1", 1_000, 0) for network in tolls}
    world, rows = patient(homes, allocated=0), settlement_rent.PAGE_ROWS
    with world.transaction() as ctx:
        for network, paid in tolls.items():
            settlement_rent.note_tolls(ctx, network, 1, 0, paid)
        settlement_rent.note_rent(ctx, 1, 0, rent)
        if rent:
            accounts.mint(ctx, "congestion", rent, "test", b"")
        market_calendar.put(ctx, SETTLEMENT, Entry(0, RENT, PERIOD_SLOTS - 1, (False, rent)))
    try:
        settlement_rent.PAGE_ROWS = page  # type: ignore[misc]
        while cast("int", world.next_event()) <= 0:
            world.next_block(0)
    finally:
        settlement_rent.PAGE_ROWS = rows  # type: ignore[misc]
    networks = sorted(tolls)
    parts = apportion(rent, [tolls[network] for network in networks], networks)
    assert [balance(world, f"pool:{network}:0") for network in networks] == parts
    assert balance(world, "congestion") == 0
    audit(world)
