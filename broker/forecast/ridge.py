"""Ridge regression, one for each lead, learnt week by week: what is old counts less, and nothing old need be kept.

Of the rows only their sums of products are held. A week's rows are added after the sums have faded by FADE, so a
refit costs the new week alone and the season before last has little to say.
"""

from typing import Final

import numpy as np

from broker.forecast.features import Rows
from broker.forecast.history import Floats

FADE: Final = 0.96
"""A week; half is gone after four months."""
PENALTY: Final = 3e-3
"""Of the standardised coefficients, beside correlations of one."""
FEWEST_ROWS: Final = 168


class Ridge:
    """Figures are on the scale of ``features``."""

    name: Final = "ridge"

    def __init__(self) -> None:
        self._products: Floats | None = None
        self._weights: Floats | None = None

    def learn(self, rows: Rows, figures: Floats) -> None:
        """Take in rows (n, k, p) and what came of them (n, k), NaN if that is not known, and fit anew."""
        usable = rows.lit & np.isfinite(rows.x).all(axis=2) & np.isfinite(figures)
        ones = np.ones((*figures.shape, 1))
        table = np.concatenate([rows.x, ones, figures[:, :, None]], axis=2)
        table = np.where(usable[:, :, None], table, 0.0).transpose(1, 0, 2)
        products = table.transpose(0, 2, 1) @ table
        self._products = products if self._products is None else FADE * self._products + products
        self._weights = None

    def points(self, rows: Rows) -> Floats:
        """The expected figures (n, k); NaN where too little has been learnt or something looked at is not known."""
        if self._products is None:
            return np.full(rows.lit.shape, np.nan)
        if self._weights is None:
            self._weights = _solve(self._products)
        said: Floats = np.einsum("nkp,kp->nk", rows.x, self._weights[:, :-1]) + self._weights[:, -1]
        return said


def _solve(products: Floats) -> Floats:
    """The weights of each lead, the constant last, from the sums of products of (x, 1, y)."""
    count = products[:, -2, -2]
    enough = count >= FEWEST_ROWS * FADE**8
    total = np.maximum(count, 1.0)[:, None]
    means, mean = products[:, :-2, -2] / total, products[:, -1, -2] / total[:, 0]
    spread = products[:, :-2, :-2] / total[:, :, None] - means[:, :, None] * means[:, None, :]
    deviation = np.sqrt(np.maximum(np.einsum("kpp->kp", spread), 1e-9))
    together = products[:, :-2, -1] / total - means * mean[:, None]
    system = spread / deviation[:, :, None] / deviation[:, None, :] + PENALTY * np.eye(spread.shape[1])
    weights = np.linalg.solve(system, (together / deviation)[:, :, None])[:, :, 0] / deviation
    constant = mean - (weights * means).sum(axis=1)
    solved = np.column_stack([weights, constant])
    solved[~enough] = np.nan
    return solved
