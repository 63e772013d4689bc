"""What stored energy is worth level by level: the plan's program once more, with one level after another.

The dual tells what one more Wh is worth where the plan leaves the store. But who trades by it may end elsewhere: at
a price beyond that worth he would sell all that is in it, and the last of it is worth far more than the first. So the
level at the end of the first slot is fixed at a few points about the planned one, and what the slots after it then
cost is compared. For the planned one that is known; for the others HiGHS goes on from the last solution, which takes a
few steps each.
"""

from collections.abc import Sequence
from operator import mul
from typing import Final, NamedTuple

import highspy

POINTS: Final = 2
"""On each side of the planned level."""
NEAR: Final = 0.05
"""kWh; closer to each other nothing is compared."""


class Span(NamedTuple):
    """A store's column for the level at the end of the first slot, where it can be by then, and where the plan has it;
    kWh."""

    column: int
    least: float
    planned: float
    most: float


def worth_by_level(
    solver: highspy.Highs, spans: Sequence[Span], planned: float, first: tuple[int, Sequence[float]]
) -> list[list[tuple[float, float]]]:
    """For each store of ``spans`` (up to which level, what a kWh below it is worth), with falling worth; the other
    stores stay at their planned levels. ``planned``: what the slots after the first cost as planned; ``first``: every
    how-manieth column is one of the first slot, and their costs. The solver has just solved the plan. Nothing for a
    store that can end nowhere else, or if HiGHS comes to no end."""
    slots, costs = first
    for span in spans:
        solver.changeColBounds(span.column, span.planned, span.planned)
    found = []
    for span in spans:
        points = _points(span)
        later: list[float] = []
        for point in points:
            if point == span.planned:
                later.append(planned)
                continue
            solver.changeColBounds(span.column, point, point)
            solver.run()
            if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
                return [[] for _ in spans]
            now = sum(map(mul, costs, solver.getSolution().col_value[::slots]))
            later.append(solver.getObjectiveValue() - now)
        solver.changeColBounds(span.column, span.planned, span.planned)
        steps: list[tuple[float, float]] = []
        for place in range(1, len(points)):
            worth = (later[place - 1] - later[place]) / (points[place] - points[place - 1])
            steps.append((points[place], min(worth, steps[-1][1]) if steps else worth))
        found.append(steps)
    return found


def _points(span: Span) -> list[float]:
    """From the least level to the most, the planned one among them."""
    points = [span.least]
    for begin, end in ((span.least, span.planned), (span.planned, span.most)):
        for number in range(1, POINTS + 1):
            point = end if number == POINTS else begin + (end - begin) * number / POINTS
            if point - points[-1] > NEAR:
                points.append(point)
    return points
