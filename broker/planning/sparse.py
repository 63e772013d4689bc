"""A large linear program put together from blocks of columns and rows: numpy arrays all the way to HiGHS."""

from typing import Final, NamedTuple

import highspy
import numpy as np
import numpy.typing as npt

from node.errors import WattError

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

MOST_S: Final = 3_600.0
"""A season of 91 days takes one core less than a minute."""


class NoOptimumError(WattError):
    """HiGHS came to no end; the message has its own word for why. The code is ``no-optimum``."""

    def __init__(self, why: str) -> None:
        super().__init__("no-optimum", f"the season's optimum was not found: {why}")


class Solved(NamedTuple):
    """``value``: the least cost; ``columns``; ``duals``: by how much it rises with a row's right side."""

    value: float
    columns: Floats
    duals: Floats


class Blocks:
    """Minimise the cost of columns from ``lower`` to ``upper`` under rows that are equations."""

    def __init__(self) -> None:
        self._cost: list[Floats] = []
        self._upper: list[Floats] = []
        self._right: list[Floats] = []
        self._entries: list[tuple[Places, Places, Floats]] = []
        self._columns = self._rows = 0

    def columns(self, cost: Floats, upper: Floats | float = np.inf) -> Places:
        """A block of columns from 0 to ``upper``; their numbers."""
        first = self._columns
        self._columns += len(cost)
        self._cost.append(cost)
        self._upper.append(np.broadcast_to(np.asarray(upper, dtype=np.float64), cost.shape))
        return np.arange(first, self._columns)

    def rows(self, right: Floats) -> Places:
        """A block of equations with these right sides; their numbers."""
        first = self._rows
        self._rows += len(right)
        self._right.append(right)
        return np.arange(first, self._rows)

    def put(self, rows: Places, columns: Places, factor: float) -> None:
        """``factor`` times each column in the row beside it."""
        self._entries.append((rows, columns, np.full(len(rows), factor)))

    def solve(self, method: str = "ipm", *, crossover: bool = False) -> Solved:
        """Raises NoOptimumError."""
        rows, columns, factors = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        order = np.lexsort((rows, columns))
        program = highspy.HighsLp()
        program.num_col_, program.num_row_ = self._columns, self._rows
        program.col_cost_ = np.concatenate(self._cost)
        program.col_lower_, program.col_upper_ = np.zeros(self._columns), np.concatenate(self._upper)
        program.row_lower_ = program.row_upper_ = np.concatenate(self._right)
        program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        program.a_matrix_.start_ = np.searchsorted(columns[order], np.arange(self._columns + 1)).astype(np.int32)
        program.a_matrix_.index_ = rows[order].astype(np.int32)
        program.a_matrix_.value_ = factors[order]
        solver = highspy.Highs()  # type: ignore[no-untyped-call]
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("time_limit", MOST_S)
        solver.setOptionValue("solver", method)
        solver.setOptionValue("run_crossover", "on" if crossover else "off")
        solver.passModel(program)
        solver.run()
        status = solver.getModelStatus()
        if status == highspy.HighsModelStatus.kUnknown and not crossover:  # inside the optimum's face, but not exactly
            return self.solve(method, crossover=True)
        if status != highspy.HighsModelStatus.kOptimal:
            raise NoOptimumError(solver.modelStatusToString(status))
        solution = solver.getSolution()
        return Solved(
            solver.getInfo().objective_function_value, np.array(solution.col_value), np.array(solution.row_dual)
        )
