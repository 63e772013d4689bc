"""From open orders to wishes: what stays, what goes, in which order, and what must never happen on the way."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.changes import Action, Cancel, Place, Replace, changes
from broker.view import OpenOrder, Side, Wish

DEVICES = ("home/battery", "home/load", "home/pv")
SLOT = 482_000


def order(number: int, device: str = "home/load", side: Side = "buy", wh: int = 500, price: int = 200) -> OpenOrder:
    return OpenOrder(bytes([number]) * 32, device, side, wh, price)


def wish(device: str = "home/load", side: Side = "buy", wh: int = 500, price: int = 200) -> Wish:
    return Wish(device, side, wh, price, False, "because")


def decide(open_orders: list[OpenOrder], wishes: list[Wish], tokens: int = 10**9) -> tuple[Action, ...]:
    return changes(SLOT, open_orders, wishes, dict.fromkeys(DEVICES, tokens), reference=b"d1")


def test_what_is_still_good_stays() -> None:
    assert decide([order(1)], [wish()]) == ()
    assert decide([order(1, wh=470)], [wish()]) == ()
    assert decide([order(1, price=198)], [wish()]) == ()


def test_more_than_is_wished_for_or_at_a_worse_price_is_replaced() -> None:
    for open_order in (order(1, wh=501), order(1, price=201), order(1, price=150), order(1, wh=300)):
        actions = decide([open_order], [wish()])
        assert [type(action) for action in actions] == [Replace]
    kept, dear = order(1, side="sell", price=202), order(2, side="sell", price=199)
    assert decide([kept], [wish(side="sell")]) == ()
    assert isinstance(decide([dear], [wish(side="sell")])[0], Replace)


def test_cancels_come_before_orders_of_the_other_side() -> None:
    actions = decide([order(1, "home/pv", "sell"), order(2, "home/battery", "sell")], [wish()])
    assert [type(action) for action in actions] == [Cancel, Cancel, Place]


def test_the_same_decision_has_the_same_references() -> None:
    wishes = [wish(price=200), wish(price=150), wish("home/battery", price=100)]
    first, again = decide([], wishes), decide([], wishes)
    assert first == again
    names = [action.reference for action in first if isinstance(action, Place)]
    assert len(set(names)) == 3 and all(len(name) <= 32 for name in names)


def test_tokens_cut_the_last_orders() -> None:
    actions = decide([], [wish(wh=500, price=200), wish(wh=500, price=100)], tokens=120_000)
    assert [(action.energy_wh, action.price) for action in actions if isinstance(action, Place)] == [
        (500, 200),
        (200, 100),
    ]


def test_a_replacement_that_its_own_money_does_not_cover_is_cancelled_and_placed_anew() -> None:
    """A replacement asks nobody else; what is left of the money is used."""
    actions = decide([order(1, wh=500, price=100)], [wish(wh=500, price=200)], tokens=10_000)
    assert [type(action) for action in actions] == [Cancel, Place]
    assert actions[1].energy_wh == 300  # type: ignore[union-attr]


def test_two_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="two sides"):
        decide([], [wish(), wish("home/pv", "sell")])
    with pytest.raises(ValueError, match="reference"):
        changes(SLOT, [], [wish()], {}, reference=bytes(31))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[OpenOrder], list[Wish], dict[str, int]]:
    before, after = draw(st.sampled_from(["buy", "sell"])), draw(st.sampled_from(["buy", "sell"]))
    device, price = st.sampled_from(DEVICES), st.sampled_from([0, 90, 100, 101, 150, 200])
    orders = [
        order(number, draw(device), before, draw(st.integers(1, 900)), draw(price))  # type: ignore[arg-type]
        for number in range(draw(st.integers(0, 6)))
    ]
    wishes = [
        wish(draw(device), after, draw(st.integers(100, 900)), draw(price))  # type: ignore[arg-type]
        for _ in range(draw(st.one_of(st.integers(0, 6), st.just(60))))
    ]
    return orders, wishes, {device: draw(st.integers(0, 300_000)) for device in DEVICES}


@given(cases())
@settings(max_examples=400)
def test_no_step_on_the_way_breaks_a_rule(case: tuple[list[OpenOrder], list[Wish], dict[str, int]]) -> None:
    """Done one by one, at no moment is more held than there is, anything open on both sides, or more open of a device
    than the larger of before and after; and once it is done nothing is left to do, unless money was lacking."""
    orders, wishes, tokens = case
    actions = changes(SLOT, orders, wishes, tokens, reference=b"d1")
    book = {each.id: each for each in orders}
    free = dict(tokens)
    most = {
        device: max(sum(each.energy_wh for each in rows if each.device == device) for rows in (orders, wishes))
        for device in DEVICES
    }

    def take(id_: bytes) -> None:
        gone = book.pop(id_)
        free[gone.device] += gone.energy_wh * gone.price if gone.side == "buy" else 0

    for number, action in enumerate(actions):
        if isinstance(action, Cancel):
            take(action.order)
            continue
        if isinstance(action, Replace):
            assert book[action.order].device == action.new.device
            take(action.order)
        new = action.new if isinstance(action, Replace) else action
        assert new.energy_wh >= 100
        free[new.device] -= new.energy_wh * new.price if new.side == "buy" else 0
        book[b"new%d" % number] = OpenOrder(b"new%d" % number, new.device, new.side, new.energy_wh, new.price)  # type: ignore[arg-type]
        assert free[new.device] >= 0
        assert len({each.side for each in book.values()}) == 1
        assert sum(each.energy_wh for each in book.values() if each.device == new.device) <= most[new.device]
    for device in DEVICES:
        assert sum(each.device == device for each in book.values()) <= 32
    again = changes(SLOT, list(book.values()), wishes, free, reference=b"d2")
    if all(amount >= 10**5 for amount in free.values()):
        assert again == ()
