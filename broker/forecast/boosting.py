"""Gradient boosting on histograms (scikit-learn), refitted every few weeks.

Two models: one for the nearest lead, where there is most to gain, and one for all others, to which each first gives
every EVERY_LEAD-th of them in turn.
"""

from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingRegressor

from broker.forecast.features import Kind, Rows
from broker.forecast.history import Floats

EVERY_LEAD: Final = 7
"""It divides no day, so that all times of day have their turn."""
KEPT_WEEKS: Final = 20
FEWEST_ROWS: Final = 400


class Boosting:
    """Figures are on the scale of ``features``. Nothing is drawn by chance."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._weeks: deque[tuple[tuple[Floats, Floats], tuple[Floats, Floats]]] = deque(maxlen=KEPT_WEEKS)
        self._models: tuple[HistGradientBoostingRegressor, ...] = ()

    def learn(self, rows: Rows, figures: Floats) -> None:
        """Take in rows (n, k, p) and what came of them (n, k), NaN if that is not known."""
        n, k = figures.shape
        turn = (np.arange(n)[:, None] + 3 * np.arange(k)) % EVERY_LEAD == 0
        usable = rows.lit & np.isfinite(rows.x).all(axis=2) & np.isfinite(figures)
        x, near = _with_lead(rows), _nearest(k)
        near_rows, far_rows = usable & near, usable & ~near & turn
        self._weeks.append(((x[near_rows], figures[near_rows]), (x[far_rows], figures[far_rows])))

    def fit(self) -> None:
        """To what has been learnt in the last KEPT_WEEKS; not at all if that is too little."""
        models = []
        for which in (0, 1):
            parts = [week[which] for week in self._weeks]
            x = np.concatenate([x for x, _ in parts])
            if len(x) < FEWEST_ROWS:
                self._models = ()
                return
            model = HistGradientBoostingRegressor(
                loss="squared_error" if self._kind == "load" else "absolute_error",
                max_iter=60,
                learning_rate=0.1,
                max_leaf_nodes=15,
                min_samples_leaf=20,
                l2_regularization=5.0,
                early_stopping=False,
                random_state=0,
            )
            models.append(model.fit(x, np.concatenate([figures for _, figures in parts])))
        self._models = tuple(models)

    def points(self, rows: Rows) -> Floats:
        """The expected figures (n, k); NaN before anything was fitted or where something looked at is not known."""
        said = np.full(rows.lit.shape, np.nan)
        usable = rows.lit & np.isfinite(rows.x).all(axis=2)
        near, x = _nearest(rows.lit.shape[1]), _with_lead(rows)
        if not self._models:
            return said
        for model, which in zip(self._models, (usable & near, usable & ~near), strict=True):
            if which.any():
                said[which] = model.predict(x[which])
        return said


def _nearest(leads: int) -> npt.NDArray[np.bool_]:
    near: npt.NDArray[np.bool_] = np.arange(leads)[None, :] == 0
    return near


def _with_lead(rows: Rows) -> Floats:
    n, k, _ = rows.x.shape
    return np.concatenate([rows.x, np.broadcast_to(np.arange(k, dtype=np.float64)[:, None], (n, k, 1))], axis=2)
