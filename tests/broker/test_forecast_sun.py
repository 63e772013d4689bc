"""What panels can give is known from where they stand."""

import numpy as np
import pytest

from broker.forecast.baselines import baselines
from broker.forecast.choose import Chooser
from broker.forecast.forecaster import Forecaster
from broker.forecast.history import History
from broker.forecast.sun import PanelSun
from node.errors import RefusedError

HOUR = 3600
JUNE = 1_466_467_200 // HOUR  # midnight of 21 June 2016, UTC
DECEMBER = 1_482_278_400 // HOUR
SOUTH = PanelSun(4000, latitude=50.0, longitude=0.0, tilt=35.0, azimuth=180.0)


def _day(panels: PanelSun, first: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return panels.clear_wh(np.arange(first, first + 24), HOUR)


def test_summer_is_longer_and_brighter_than_winter_and_night_is_dark() -> None:
    june, december = _day(SOUTH, JUNE), _day(SOUTH, DECEMBER)
    assert (june > 0).sum() >= 16
    assert 7 <= (december > 0).sum() <= 10
    assert june[[0, 1, 2, 22, 23]].max() == 0
    assert 20_000 < june.sum() < 32_000 and december.sum() < 0.5 * june.sum()
    assert abs(int(june.argmax()) - 12) <= 1


def test_the_east_has_the_morning_and_the_antipodes_the_other_season() -> None:
    east = _day(PanelSun(4000, 50.0, 0.0, 60.0, 90.0), JUNE)
    west = _day(PanelSun(4000, 50.0, 0.0, 60.0, 270.0), JUNE)
    assert east[:12].sum() > 2 * east[12:].sum()
    np.testing.assert_allclose(east.sum(), west.sum(), rtol=0.05)
    south = PanelSun(4000, -50.0, 0.0, 35.0, 0.0)
    assert _day(south, DECEMBER).sum() > 2 * _day(south, JUNE).sum()


def test_shorter_slots_share_out_the_hours() -> None:
    quarters = SOUTH.clear_wh(np.arange(JUNE * 4, JUNE * 4 + 96), HOUR // 4)
    np.testing.assert_allclose(quarters.reshape(24, 4).sum(axis=1), _day(SOUTH, JUNE), atol=1)


def test_irradiance_foreseen_is_turned_into_energy_by_day_alone() -> None:
    slots = np.arange(JUNE, JUNE + 24)
    little, much = (SOUTH.wh(slots, HOUR, np.full(24, level)) for level in (50.0, 500.0))
    assert much[12] > 5 * little[12] > 0
    assert much[0] == 0


def test_a_new_site_with_nothing_but_its_panels_data_is_foreseen() -> None:
    """A site that has only its panels' data."""
    empty = History(JUNE, HOUR).cleaned()
    everyone: list[Forecaster] = [*baselines(SOUTH), Chooser("sun", SOUTH, boosted=False)]
    for each in everyone:
        said = each.predict(empty, [JUNE], 24)[0]
        np.testing.assert_allclose(said.mean(axis=1), _day(SOUTH, JUNE) / 2, atol=1)
        assert (said[12, 9] > 10 * said[12, 0]) and said.max() <= 4000


@pytest.mark.parametrize(
    "panels", [(4000, 91, 0, 0, 0), (4000, 0, 181, 0, 0), (4000, 0, 0, -1, 0), (4000, 0, 0, 0, 361), (-1, 0, 0, 0, 0)]
)
def test_panels_that_cannot_be_are_refused(panels: tuple[float, float, float, float, float]) -> None:
    with pytest.raises(RefusedError, match="bad-panels"):
        PanelSun(*panels)
