"""The view of a site: what the committed events say beyond what was asked for, and nothing else."""

from broker.site_view import Booked, Fill, Placed, Reading, SiteView, Told
from broker.view import OpenOrder
from chaincode.contract import Event, Value
from chaincode.settlement_ledger import Settled
from cli.answers import ORDER

LOAD, EV = "home-01/load", "home-01/ev"


def event(topic: str, device: str, *data: Value, contract: str = "market") -> Event:
    return Event(contract, topic, (device, "home-01"), data)


def view() -> SiteView:
    return SiteView("home-01", (LOAD, EV))


def row(order: bytes, device: str, state: str, filled: int) -> dict[str, object]:
    values = (order, device, "home-01", 962, "bus-1", "buy", 500, 700_000, "gate", False, 1, 0, state, filled, 0)
    return dict(zip(ORDER, values, strict=True))


def test_orders_and_fills_give_positions() -> None:
    seen = view()
    seen.apply(1, [event("order", LOAD, b"a", "ACCEPTED", 962, "buy", 500, 700_000, 0)])
    seen.apply(2, [event("order", EV, b"b", "ACCEPTED", 962, "buy", 900, 600_000, 0)])
    news = seen.apply(
        3,
        [
            event("fill", LOAD, b"a", "PARTIAL", 962, "buy", 200, 650_000, 200),
            event("fill", EV, b"b", "FILLED", 962, "buy", 900, 600_000, 900),
            event("order", "home-02/load", b"x", "ACCEPTED", 962, "buy", 500, 700_000, 0),
        ],
    )
    assert news == [Fill(962, LOAD, "buy", 200, 650_000), Fill(962, EV, "buy", 900, 600_000)]
    assert seen.positions(962) == {LOAD: 200, EV: 900}
    assert seen.orders(962) == (OpenOrder(b"a", LOAD, "buy", 300, 700_000),)
    seen.apply(4, [event("order", LOAD, b"a", "CANCELLED", 962, "buy", 500, 700_000, 200)])
    assert seen.orders(962) == () and seen.positions(962)[LOAD] == 200


def test_what_was_asked_for_is_not_counted_twice() -> None:
    """The answer is true after block 7: what block 6 tells of that device is in it, what block 8 tells is not."""
    seen = view()
    fill = event("fill", LOAD, b"a", "PARTIAL", 962, "buy", 200, 650_000, 200)
    seen.apply(6, [fill])
    seen.reset(LOAD, 7, [row(b"a", LOAD, "PARTIAL", 200), row(b"c", LOAD, "FILLED", 500)])
    assert seen.apply(6, [fill]) == []
    assert seen.positions(962) == {LOAD: 700} and seen.orders(962)[0].energy_wh == 300
    seen.apply(8, [event("fill", LOAD, b"a", "FILLED", 962, "buy", 300, 650_000, 500)])
    assert seen.positions(962) == {LOAD: 1000} and seen.orders(962) == ()
    seen.apply(6, [event("fill", EV, b"b", "FILLED", 962, "sell", 100, 650_000, 100)])
    assert seen.positions(962)[EV] == -100, "of another device nothing was asked"


def test_readings_settlements_and_the_rest() -> None:
    seen = view()
    settled = Settled(entries=2, retail=500)
    news = seen.apply(
        1,
        [
            event("reading", LOAD, 960, 300, 0, 300, 0, contract="settlement"),
            event("estimated", EV, 960, 900, 0, contract="settlement"),
            event("spread", EV, 960, 1, 800, 0, contract="settlement"),
            event("order", LOAD, b"a", "ACCEPTED", 962, "buy", 500, 700_000, 0),
            Event("settlement", "settled", ("home-01",), (960, *settled)),
            Event("settlement", "settled", ("home-02",), (960, *settled)),
            event("budget-state", EV, 3, "LIMITED", contract="budget"),
            event("never-heard-of", EV, 3),
        ],
    )
    assert news == [
        Reading(960, LOAD, 300, 0, measured=True),
        Reading(960, EV, 900, 0, measured=False),
        Reading(960, EV, 800, 0, measured=True),
        Placed(962, OpenOrder(b"a", LOAD, "buy", 500, 700_000)),
        Booked(960, settled),
        Told("budget-state", EV, (3, "LIMITED")),
    ]
    seen.forget_before(963)
    assert seen.orders(962) == ()
