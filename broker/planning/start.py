"""Where HiGHS begins: the basis of a plan that leaves all stores as they are.

From there it takes a quarter of the steps that it takes from nothing. It follows from the outlook alone, as the plan
must, and not from what was planned before.
"""

from typing import Final

import highspy
import numpy as np

from broker.planning.program import BAND, BANDS, CAR, LEAST, LEVEL, NET, Floats

LOWER, BASIC, UPPER = 0, 1, 2
_STATES: Final = np.array(
    [highspy.HighsBasisStatus.kLower, highspy.HighsBasisStatus.kBasic, highspy.HighsBasisStatus.kUpper], dtype=object
)


def start(upper: Floats, row_lower: Floats) -> highspy.HighsBasis:
    """``upper``: of the columns, a row for each kind; ``row_lower``: of the rows."""
    columns = np.zeros(upper.shape, dtype=np.int8)
    rows = np.zeros(row_lower.shape, dtype=np.int8)
    # The net position ends in the band where the bands before it no longer suffice for what the NET row asks.
    ends = np.cumsum(upper[BAND : BANDS - 1], axis=0)
    band = (row_lower[NET] > 0).astype(np.int64) + (ends < row_lower[NET]).sum(axis=0)
    columns[:BANDS][np.arange(BANDS)[:, None] < band] = UPPER
    columns[0] = LOWER
    columns[band, np.arange(upper.shape[1])] = BASIC
    columns[LEVEL] = BASIC
    if len(upper) > CAR:
        columns[CAR] = BASIC
        rows[LEAST:] = BASIC
    basis = highspy.HighsBasis()
    basis.col_status = _STATES[columns.ravel()].tolist()
    basis.row_status = _STATES[rows.ravel()].tolist()
    basis.valid = True
    return basis
