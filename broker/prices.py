"""What prices a broker has seen, and which ones it expects: by bus, time of day, and working day or weekend.

A price is remembered as its place between the slot's feed-in (0) and retail (1), so that what was learnt in one tariff
holds in another. Of each bus and time of day the last MOST_KEPT are kept; an older one counts less, half as much
after HALF_LIFE of them, and one of the other kind of day OTHER_KIND as much. Before anything was seen a price is
expected to lie anywhere between feed-in and retail, every place as likely as another, and a trade to come about in one
case of two; this counts as PRIOR observations, and matters the less the more of them come in.

A slot has several auctions. What is remembered of it is the mean of their prices by what was traded at each. For the
ones to come in the same slot the last one's price says most, traded or not: what is expected then is that price, and
STILL_OPEN of the usual spread about it.

Floats inside; prices in base units per Wh at every boundary.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from broker.view import LEVELS_PERMILLE, Prices

MOST_KEPT: Final = 28
"""Of one bus and time of day: four weeks."""
HALF_LIFE: Final = 5.0
"""In observations of one time of day, which are days."""
OTHER_KIND: Final = 0.4
"""What a working day tells about a weekend, and the reverse."""
PRIOR: Final = 1.0
"""As many observations is the guess worth that is made without any."""
STILL_OPEN: Final = 0.3
"""How much of the spread from day to day is left once an auction of the very slot has shown its price."""
MOST_BUSES: Final = 1_024
"""A broker follows the buses that its devices hang on; more than these are not remembered."""

_PRIOR_PLACES: Final = tuple(level / 1000 for level in LEVELS_PERMILLE)
_DAY_S: Final = 86_400


class _Seen(NamedTuple):
    weekend: bool
    place: float
    traded: bool


class _Last(NamedTuple):
    """The newest slot at a bus: the last auction's price, Wh traded so far, and their sum of place x Wh."""

    slot: int
    place: float
    traded_wh: int
    place_wh: float


class _Belief(NamedTuple):
    """Places between feed-in and retail: ten quantiles, their mean, what a Wh is expected to cost and to bring."""

    places: tuple[float, ...]
    mean: float
    buy: float
    sell: float
    seen: int


class PriceBook:
    """What has been seen so far. One may serve all sites of a study: prices are public."""

    def __init__(self, slot_seconds: int) -> None:
        self._slot_seconds = slot_seconds
        self._seen: dict[tuple[str, int], deque[_Seen]] = {}
        self._beliefs: dict[tuple[str, int, bool], _Belief] = {}
        self._last: dict[str, _Last] = {}

    def observe(self, slot: int, bus: str, price: int, traded_wh: int, retail: int, feed_in: int) -> None:
        """The price at ``bus`` in the last auction of ``slot``; to be told after each, or after the last one alone.

        ``traded_wh``: by the whole exchange in the slot so far. Where nothing was traded a price is only indicative,
        and what is learnt for other days is that there was no trade.
        """
        if retail <= feed_in or (bus not in self._last and len(self._last) >= MOST_BUSES):
            return
        time, weekend = self._time_of(slot)
        place = min(1.0, max(0.0, (price - feed_in) / (retail - feed_in)))
        seen = self._seen.setdefault((bus, time), deque(maxlen=MOST_KEPT))
        before = self._last.get(bus)
        if before is not None and before.slot == slot:
            seen.pop()
        else:
            before = _Last(slot, place, 0, 0.0)
        traded_wh = max(traded_wh, before.traded_wh)
        place_wh = before.place_wh + place * (traded_wh - before.traded_wh)
        self._last[bus] = _Last(slot, place, traded_wh, place_wh)
        seen.append(_Seen(weekend, min(1.0, place_wh / traded_wh) if traded_wh else place, traded_wh > 0))
        for kind in (False, True):
            self._beliefs.pop((bus, time, kind), None)

    def expected(self, bus: str, slot: int, retail: int, feed_in: int) -> tuple[tuple[int, ...], int]:
        """The price of the next auction of ``slot`` at ``bus``, in ten quantiles, and on how many days that rests."""
        belief = self._belief(bus, slot)
        span = retail - feed_in
        places = belief.places
        last = self._last.get(bus)
        if last is not None and last.slot == slot:
            moved = [last.place + STILL_OPEN * (place - belief.mean) for place in places]
            places = tuple(min(1.0, max(0.0, place)) for place in moved)
        return tuple(feed_in + round(span * place) for place in places), belief.seen

    def outlook(self, bus: str, slots: Sequence[int], terms: Sequence[tuple[int, int]]) -> Prices:
        """What a Wh is expected to cost and to bring in each of ``slots``, traded or not; ``terms``: their (retail,
        feed-in). The first slot is the one to be traded in now, and has the utility's prices.

        For a plan says what energy is worth, and what it is worth to trade in a slot is to be told from what is left
        if that trade fails: the utility now, or the market later. Were a plan to count on a cheap purchase now, it
        would bid no more than that, get nothing, and leave a battery empty that retail itself was worth filling for.

        What finds no partner is bought at retail and sold at feed-in: over the past slots that count for this one,
        buy is the mean of P x price + (1 - P) x retail, sell that of P x price + (1 - P) x feed-in. P is 1 in a slot
        with trade. Without, the price shows who was there: where it lay at retail there were buyers alone, and a
        seller would have sold for certain, a buyer not; at feed-in sellers alone. So P is then the price's place for a
        seller, and what that lacks of 1 for a buyer.
        """
        buys: list[int] = []
        sells: list[int] = []
        for slot, (retail, feed_in) in zip(slots, terms, strict=True):
            belief = self._belief(bus, slot)
            span = max(0, retail - feed_in)
            buys.append(feed_in + round(span * belief.buy))
            sells.append(feed_in + round(span * belief.sell))
        if buys:
            buys[0], sells[0] = max(terms[0]), min(terms[0])
        retails, feed_ins = tuple(retail for retail, _ in terms), tuple(feed_in for _, feed_in in terms)
        return Prices(retails, feed_ins, tuple(map(max, buys, sells)), tuple(sells))

    def _time_of(self, slot: int) -> tuple[int, bool]:
        start = slot * self._slot_seconds
        # The epoch was a Thursday: day 2 was a Saturday.
        return start % _DAY_S, start // _DAY_S % 7 in (2, 3)

    def _belief(self, bus: str, slot: int) -> _Belief:
        time, weekend = self._time_of(slot)
        key = bus, time, weekend
        belief = self._beliefs.get(key)
        if belief is None:
            belief = self._beliefs[key] = _believed(self._seen.get((bus, time), ()), weekend)
            if bus not in self._last:
                del self._beliefs[key]  # Strange names are not collected.
        return belief


def _believed(seen: Sequence[_Seen], weekend: bool) -> _Belief:
    weighed = [(place, PRIOR / len(_PRIOR_PLACES)) for place in _PRIOR_PLACES]
    whole, buy, sell = PRIOR, PRIOR * 0.75, PRIOR * 0.25
    weight = 1.0
    for each in reversed(seen):
        counts = weight if each.weekend == weekend else weight * OTHER_KIND
        weight *= 0.5 ** (1 / HALF_LIFE)
        whole += counts
        place = each.place
        buy += counts * (place if each.traded else place * (2 - place))
        sell += counts * (place if each.traded else place * place)
        weighed.append((place, counts))
    places = _quantiles(sorted(weighed))
    return _Belief(places, sum(places) / len(places), buy / whole, sell / whole, len(seen))


def _quantiles(weighed: list[tuple[float, float]]) -> tuple[float, ...]:
    """At LEVELS_PERMILLE: the place up to which that part of the weight lies."""
    total = sum(weight for _, weight in weighed)
    places: list[float] = []
    reached, at = weighed[0][1], 0
    for level in LEVELS_PERMILLE:
        while reached < total * level / 1000 and at + 1 < len(weighed):
            at += 1
            reached += weighed[at][1]
        places.append(weighed[at][0])
    return tuple(places)
