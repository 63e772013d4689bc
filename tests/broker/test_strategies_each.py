"""What each strategy does that the others do not."""

from dataclasses import replace

from hypothesis import given, settings

from broker.strategies.budget_aware import pace_permille
from broker.strategies.green import premium_of
from broker.strategies.table import STRATEGIES
from broker.view import SlotView
from tests.broker.strategy_views import view, views, worth

truthful, adaptive = STRATEGIES["truthful"], STRATEGIES["adaptive"]
green, budget_aware = STRATEGIES["green"], STRATEGIES["budget_aware"]
random_one = STRATEGIES["zero_intelligence"]

EVENING = tuple(range(150_000, 200_000, 5_000))


def test_there_are_five() -> None:
    """The table is the directory: a file more is a strategy more."""
    assert sorted(STRATEGIES) == ["adaptive", "budget_aware", "green", "truthful", "zero_intelligence"]


def test_zero_intelligence_draws_between_its_value_and_the_best_for_it() -> None:
    drawn = {wish.price for seed in range(50) for wish in random_one(view(("load", 900, 180_000), start=0, seed=seed))}
    assert len(drawn) > 30 and min(drawn) >= 80_000 and max(drawn) <= 180_000


def test_adaptive_shades_early_and_is_truthful_at_the_gate() -> None:
    early, late = (view(("load", 900, 220_000), expected=EVENING, to_gate=left) for left in (3000, 1200))
    assert adaptive(early)[0].price < 220_000
    assert adaptive(late) == truthful(late)


def test_adaptive_does_not_shade_below_what_is_likely_to_clear() -> None:
    """Not filled, it would have to come back at a worse chance: so it stays above nearly all prices expected."""
    price = adaptive(view(("load", 900, 220_000), expected=EVENING, experience=1000))[0].price
    assert sum(each <= price for each in EVENING) >= 8


def test_adaptive_without_experience_is_truthful() -> None:
    seen = view(("battery", 900, 100_000), start=-900, expected=EVENING, experience=0)
    assert adaptive(seen) == truthful(seen)
    assert adaptive(replace(seen, experience=30))[0].price > 100_000


def test_budget_aware_waits_while_its_tokens_are_behind_the_calendar() -> None:
    steps = (("load", 900, 220_000), ("battery", 2000, 160_000))
    behind, ahead = (view(*steps, budget_permille=each, time_permille=500) for each in (400, 700))
    assert budget_aware(ahead) == truthful(ahead)
    load, battery = budget_aware(behind)
    assert (load.price, battery.price) == (220_000, 128_000)


def test_budget_aware_sells_sooner_when_it_is_behind() -> None:
    seen = view(("battery", 2000, 160_000), start=-2000, budget_permille=400, time_permille=500)
    assert [(wish.side, wish.price) for wish in budget_aware(seen)] == [("sell", 128_000)]


def test_the_pace_has_bounds() -> None:
    assert [pace_permille(*each) for each in ((0, 500), (400, 500), (900, 500), (0, 0))] == [500, 800, 1000, 1000]


def test_green_wishes_for_renewable_energy_and_pays_the_more_the_dirtier_the_mix() -> None:
    dirty, clean = (view(("load", 900, 150_000), renewable_permille=each) for each in (0, 1000))
    assert [(wish.price, wish.renewable) for wish in green(dirty)] == [(164_000, True)]
    assert [(wish.price, wish.renewable) for wish in green(clean)] == [(150_000, True)]


@given(views())
@settings(max_examples=150)
def test_green_loses_its_premium_at_most(seen: SlotView) -> None:
    wishes = green(seen)
    assert worth(seen, wishes) >= -premium_of(seen) * sum(wish.energy_wh for wish in wishes)
