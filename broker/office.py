"""What the utility and the owners do all season, apart from trading: prices are published, budgets issued and
allocated, each in time and once, by the calls that anybody else would make."""

from collections.abc import Iterator, Sequence
from typing import Final

from broker.exchange import Call, Exchange
from broker.world import DAY_S, Period, World
from node.errors import RefusedError

PUBLISHED_AHEAD_S: Final = 3 * DAY_S
"""Prices are there this long before; the rules ask for a day."""
BUDGETED_AHEAD_S: Final = 2 * DAY_S


class Office:
    """``work`` is to be called at least once a day, first before the season begins."""

    def __init__(self, world: World, exchange: Exchange) -> None:
        self._world = world
        self._exchange = exchange
        self._days = _days(world)
        self._next_day = next(self._days, None)
        self._rows: tuple[tuple[int, int, int], ...] = ()
        self._periods = list(world.periods)

    def work(self) -> None:
        """Do all that is due. Raises RefusedError with the code of what the ledger refused."""
        published: list[Call] = []
        while self._next_day is not None and self._begins(self._next_day) <= self._exchange.now + PUBLISHED_AHEAD_S:
            published += self._publication(self._next_day)
            self._next_day = next(self._days, None)
        self._do(published)
        while self._periods and self._begins(self._periods[0].first) <= self._exchange.now + BUDGETED_AHEAD_S:
            self._give(self._periods.pop(0))

    def _begins(self, slot: int) -> int:
        return slot * self._world.slot_seconds

    def _publication(self, slot: int) -> list[Call]:
        """The prices of the day that begins with ``slot``, if they are not those of the day before."""
        rows = _rows(self._world, slot)
        if rows == self._rows:
            return []
        self._rows = rows
        return [Call(self._world.keys.utility, "tariffs", "publish", {"from_slot": slot, "rows": rows})]

    def _give(self, period: Period) -> None:
        """The period's budgets: from the utility to the sites, and there to the devices."""
        issued, allocated = [], []
        for site in self._world.sites:
            amounts = tuple([(device, self._world.budget(device, period)) for device in site.devices])
            amounts = tuple([row for row in amounts if row[1]])
            if amounts:
                pool = {"network": site.network, "period": period.number}
                issue = {**pool, "amount": sum([amount for _, amount in amounts]), "reference": b"budget"}
                issued.append(Call(self._world.keys.utility, "budget", "issue", issue))
                owner = self._world.keys.owners[site.network]
                allocated.append(Call(owner, "budget", "allocate", {**pool, "amounts": amounts}))
        self._do(issued)
        self._do(allocated)

    def _do(self, calls: Sequence[Call]) -> None:
        for call, answer in zip(calls, self._exchange.submit(calls) if calls else (), strict=True):
            if answer.code != "ok":
                raise RefusedError(answer.code, f"{call.contract}.{call.method} was refused at {self._exchange.now}")


def _days(world: World) -> Iterator[int]:
    """The first slot of every day of the season, which is that of the day in which it begins."""
    per_day = DAY_S // world.slot_seconds
    return iter(range(world.first_slot // per_day * per_day, world.end_slot, per_day))


def _rows(world: World, slot: int) -> tuple[tuple[int, int, int], ...]:
    """The prices of the day that begins with ``slot``, as tariffs have them: a row where they change."""
    rows: list[tuple[int, int, int]] = []
    for number in range(DAY_S // world.slot_seconds):
        place = min(max(slot + number - world.first_slot, 0), len(world.retail) - 1)
        prices = int(world.retail[place]), int(world.feed_in[place])
        if not rows or rows[-1][1:] != prices:
            rows.append((number * world.slot_seconds, *prices))
    return tuple(rows)
