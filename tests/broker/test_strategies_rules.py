"""What holds for every strategy, whatever it sees; and what the truthful one does in plain cases."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import strategies
from broker.strategies.table import STRATEGIES, Strategy, strategy_of
from broker.view import SlotView, Wish
from node.errors import ConfigError
from tests.broker.strategy_views import assert_lawful, view, views, worth

truthful = STRATEGIES["truthful"]


@given(st.sampled_from(sorted(STRATEGIES)), views())
@settings(max_examples=250)
def test_wishes_meet_the_market_s_rules(name: str, seen: SlotView) -> None:
    """One side, no order too small, limits within the tariffs, within connections and tokens; and the same again."""
    wishes = STRATEGIES[name](seen)
    assert_lawful(seen, wishes)
    assert STRATEGIES[name](seen) == wishes


@given(st.sampled_from(sorted(STRATEGIES)), views())
@settings(max_examples=200)
def test_where_nothing_can_be_gained_nothing_is_wished_for(name: str, seen: SlotView) -> None:
    if seen.now >= seen.gate or seen.feed_in < 0 or seen.retail <= seen.feed_in:
        assert STRATEGIES[name](seen) == ()


@given(st.sampled_from(["truthful", "zero_intelligence", "adaptive"]), views())
@settings(max_examples=250)
def test_nobody_trades_at_a_loss(name: str, seen: SlotView) -> None:
    """Individually rational: filled whole, at the worst prices that its limits allow, the site has lost nothing."""
    if name in STRATEGIES:
        assert worth(seen, STRATEGIES[name](seen)) >= 0


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_without_a_curve_a_position_or_tokens_there_is_nothing_to_buy(name: str) -> None:
    assert STRATEGIES[name](view()) == ()
    assert STRATEGIES[name](view(("load", 900, 200_000), tokens=0)) == ()
    assert STRATEGIES[name](view(("load", 900, 200_000), to_gate=0)) == ()
    assert STRATEGIES[name](view(("load", 900, 200_000), retail=80_000)) == ()


def test_each_step_beyond_the_position_is_bought_at_its_value() -> None:
    seen = view(("load", 500, 220_000), ("load", 300, 180_000), ("battery", 2000, 120_000), positions={"load": 400})
    assert [wish[:4] for wish in truthful(seen)] == [
        ("home-01/load", "buy", 100, 220_000),
        ("home-01/load", "buy", 300, 180_000),
        ("home-01/battery", "buy", 2000, 120_000),
    ]


def test_what_is_held_is_sold_from_its_value_up() -> None:
    seen = view(("battery", 2000, 150_000), ("pv", 1500, 60_000), start=-3500)
    assert [wish[:4] for wish in truthful(seen)] == [
        ("home-01/pv", "sell", 1500, 80_000),
        ("home-01/battery", "sell", 2000, 150_000),
    ]


def test_the_side_that_is_worth_more_is_taken() -> None:
    """2 kWh in the battery at 150: sold where the price is high, filled up where it is low."""
    both = (("battery", 2000, 150_000), ("battery", 2000, 149_000))
    dear, cheap = view(*both, start=-2000, expected=(200_000,) * 10), view(*both, start=-2000, expected=(90_000,) * 10)
    assert {wish.side for wish in truthful(dear)} == {"sell"}
    assert {wish.side for wish in truthful(cheap)} == {"buy"}


def test_small_steps_wait_for_the_next_one_and_take_its_limit() -> None:
    seen = view(("load", 60, 200_000), ("load", 70, 150_000), ("load", 90, 100_000))
    assert [wish[:4] for wish in truthful(seen)] == [("home-01/load", "buy", 130, 150_000)]


def test_many_near_steps_do_not_slide_down_to_the_last_one_s_limit() -> None:
    """Limits within one grain are one order; a long gentle slope is several."""
    seen = view(*(("load", 200, 220_000 - 3_000 * step) for step in range(20)))
    limits = [wish.price for wish in truthful(seen)]
    assert len(limits) == 8 and limits[0] > 210_000


def test_tokens_go_to_the_dearest_step_first() -> None:
    seen = view(("load", 500, 200_000), ("load", 500, 150_000), tokens=130_000_000)
    wishes = truthful(seen)
    assert [wish[:4] for wish in wishes] == [
        ("home-01/load", "buy", 500, 200_000),
        ("home-01/load", "buy", 200, 150_000),
    ]
    assert "cut from 500 Wh by its tokens" in wishes[1].why


def test_what_one_device_cannot_sell_another_one_does() -> None:
    """A site is settled as a whole: spare energy of the load's is sold by what may export."""
    seen = view(("load", 1000, 60_000), start=-1000)
    assert {(wish.device, wish.side) for wish in truthful(seen)} == {("home-01/battery", "sell")}


def test_no_device_s_tokens_pay_for_another_s_needs() -> None:
    """What panels cannot take, nobody takes for them; but what another device has sold it may buy back."""
    assert truthful(view(("pv", 1000, 200_000))) == ()
    sold = view(("pv", 1000, 200_000), start=-700, positions={"battery": -700})
    assert [wish[:4] for wish in truthful(sold)] == [("home-01/battery", "buy", 700, 200_000)]


def test_what_was_sold_beyond_all_that_there_is_is_bought_back_at_any_price() -> None:
    seen = view(start=-500, positions={"pv": -900})
    assert [wish[:4] for wish in truthful(seen)] == [("home-01/pv", "buy", 400, 220_000)]
    assert "sold more than there is" in truthful(seen)[0].why


def test_what_a_vehicle_must_have_is_not_called_sold() -> None:
    seen = view(start=400)
    assert "has to be had in any case" in truthful(seen)[0].why


def test_what_must_be_had_leaves_room_for_the_device_s_other_steps() -> None:
    """A vehicle that leaves soon takes all that its connection carries: what the load needs beyond is not lost."""
    seen = view(("ev", 300, 200_000), ("ev", 220, 150_000), start=3640)
    wishes = truthful(seen)
    bought = {name: sum(wish.energy_wh for wish in wishes if wish.device == name) for name in seen.positions}
    assert sum(bought.values()) == 4160
    assert sum(wish.energy_wh for wish in wishes if wish.price == 220_000) == 3640
    alone = replace(seen, positions={"home-01/ev": 0, "home-01/load": 0})
    assert [wish[:4] for wish in truthful(alone)] == [
        ("home-01/ev", "buy", 3080, 220_000),
        ("home-01/ev", "buy", 300, 200_000),
        ("home-01/ev", "buy", 220, 150_000),
        ("home-01/load", "buy", 560, 220_000),
    ]


def test_what_must_be_had_goes_before_the_steps_where_room_is_scarce() -> None:
    seen = replace(view(("ev", 3600, 150_000), start=3000), positions={"home-01/ev": 0})
    assert [wish[:4] for wish in truthful(seen)] == [
        ("home-01/ev", "buy", 3000, 220_000),
        ("home-01/ev", "buy", 600, 150_000),
    ]


def test_a_strategy_s_file_without_the_function_is_named() -> None:
    with pytest.raises(ConfigError, match="has no function `wishes`"):
        strategy_of(strategies)


GOOD = Wish("home-01/load", "buy", 500, 200_000, False, "why")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "gave a NoneType, not a tuple of Wish"),
        ([GOOD], "gave a list, not a tuple of Wish"),
        ((GOOD, "buy"), "gave a str in its tuple"),
        ((GOOD._replace(energy_wh=-500),), "energy_wh is -500"),
        ((GOOD._replace(energy_wh=0),), "energy_wh is 0"),
        ((GOOD._replace(energy_wh=500.5),), "energy_wh is 500.5, a float"),  # type: ignore[arg-type]
        ((GOOD._replace(price=2e5),), "price is 200000.0, a float"),  # type: ignore[arg-type]
        ((GOOD._replace(price=10**30),), "below 2\\*\\*63"),
        ((GOOD._replace(side="hold"),), "side is 'hold'"),  # type: ignore[arg-type]
        ((GOOD._replace(device="home-02/load"),), "device is 'home-02/load', which is not at street"),
        ((GOOD._replace(why=None),), "its why a str"),  # type: ignore[arg-type]
        ((GOOD, GOOD._replace(side="sell")), "on two sides"),
    ],
)
def test_what_is_no_tuple_of_wishes_is_refused_with_the_file_and_the_fault(answer: object, words: str) -> None:
    module = ModuleType("mine")
    module.__file__ = "/home/me/mine.py"
    vars(module)["wishes"] = lambda _: answer
    with pytest.raises(ConfigError, match=words) as caught:
        strategy_of(module)(view())
    assert caught.value.code == "bad-strategy" and caught.value.message.startswith("/home/me/mine.py: ")


def test_what_a_strategy_raises_is_told_in_one_line_with_its_place(tmp_path: Path) -> None:
    assert mine(tmp_path, "def wishes(view):\n    return ()\n")(view()) == ()
    with pytest.raises(ConfigError, match=r"raises.py, line 2: ZeroDivisionError: ") as caught:
        mine(tmp_path, "def wishes(view):\n    return 1 // 0\n", "raises")(view())
    assert caught.value.code == "bad-strategy" and "\n" not in caught.value.message


def mine(directory: Path, text: str, name: str = "mine") -> Strategy:
    """The strategy of a file of one's own."""
    path = directory / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return strategy_of(module)
