"""The plan as a linear program: its shape, which is the same for every plan of as many slots, and its figures.

A column or row of each kind per slot; energy in kWh at the plug and prices in tokens per kWh, so that HiGHS sees
figures near one. The kinds of columns:

- ``BELOW``, ``BAND`` to ``BAND + 9``: where the site's stores leave its net position, in the eleven bands between its
  ten quantiles. A Wh more costs ``sell + (buy - sell) * k / 10`` in band k: the part k / 10 of what may happen has the
  site buying;
- ``TAKE``, ``GIVE``, ``LEVEL``: the battery, its level at the end of the slot;
- ``HOME_TAKE``, ``HOME_GIVE``, ``AWAY_TAKE``, ``AWAY_GIVE``, ``CAR``: the vehicle, plugged in at home or elsewhere;
- ``SHORT``: by how much the vehicle has had less than it should when a slot began, in this run of slots that ask for
  something; ``ROAD``: what its trips take that is not in it.

Rows: ``NET`` adds up the bands, ``BATTERY`` and ``VEHICLE`` carry the levels from slot to slot, ``LEAST`` asks for
what the vehicle should have, ``RUN`` keeps a shortage to the end of its run, where it is paid for once.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

BANDS: Final = 11
BELOW, BAND, TAKE, GIVE, LEVEL = 0, 1, 11, 12, 13
HOME_TAKE, HOME_GIVE, AWAY_TAKE, AWAY_GIVE, CAR, SHORT, ROAD = range(14, 21)
NET, BATTERY, VEHICLE, LEAST, RUN = range(5)
WITHOUT_VEHICLE: Final = (14, 2)
WITH_VEHICLE: Final = (21, 5)
"""How many kinds of columns and rows there are."""


class Matrix(NamedTuple):
    """By rows, as HiGHS takes it."""

    columns: int
    rows: int
    starts: Ints
    cells: Ints
    values: Floats


@lru_cache(maxsize=64)
def matrix(slots: int, battery_kept: float, vehicle_kept: float | None) -> Matrix:
    """``battery_kept`` and ``vehicle_kept``: of a Wh that is taken, what is kept; ``vehicle_kept`` None: no vehicle."""
    kinds, row_kinds = WITHOUT_VEHICLE if vehicle_kept is None else WITH_VEHICLE
    entries: list[list[tuple[int, float]]] = [[] for _ in range(row_kinds * slots)]

    def put(row: int, column: int, value: float, later: int = 0) -> None:
        """In every slot but the first ``later``, whose column would lie before the horizon."""
        for slot in range(later, slots):
            entries[row * slots + slot].append((column * slots + slot - later, value))

    put(NET, BELOW, -1.0)
    for band in range(BAND, BANDS):
        put(NET, band, 1.0)
    put(NET, TAKE, -1.0)
    put(NET, GIVE, 1.0)
    put(BATTERY, LEVEL, 1.0)
    put(BATTERY, LEVEL, -1.0, later=1)
    put(BATTERY, TAKE, -battery_kept)
    put(BATTERY, GIVE, 1.0)
    if vehicle_kept is not None:
        put(NET, HOME_TAKE, -1.0)
        put(NET, HOME_GIVE, 1.0)
        put(VEHICLE, CAR, 1.0)
        put(VEHICLE, CAR, -1.0, later=1)
        for taken, given in ((HOME_TAKE, HOME_GIVE), (AWAY_TAKE, AWAY_GIVE)):
            put(VEHICLE, taken, -vehicle_kept)
            put(VEHICLE, given, 1.0)
        put(VEHICLE, ROAD, -1.0)
        put(LEAST, CAR, 1.0, later=1)
        put(LEAST, SHORT, 1.0)
        put(RUN, SHORT, 1.0)
        put(RUN, SHORT, -1.0, later=1)
    flat = [entry for row in entries for entry in row]
    return Matrix(
        kinds * slots,
        row_kinds * slots,
        np.cumsum([0, *(len(row) for row in entries)], dtype=np.int32),
        np.array([column for column, _ in flat], dtype=np.int32),
        np.array([value for _, value in flat]),
    )
