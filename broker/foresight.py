"""What a site's broker foresees: the load and the sun of the next day in quantiles, and in words what it rests on."""

from typing import Final, NamedTuple

import numpy as np

from broker.forecast.choose import Chooser
from broker.forecast.forecaster import Forecaster, net_quantiles
from broker.forecast.history import DAY_SECONDS, History, Values
from broker.forecast.prior import Prior, StandardLoad, StandardSun
from broker.measured import Measured
from broker.site import Site
from broker.site_file import PanelsTable
from broker.view import Quantiles

LATE_SLOTS: Final = 3
"""A meter that has not been read for so many slots is told of."""


class Foreseen(NamedTuple):
    """Quantiles of the slots from ``first`` on. ``words``: what stands in for what is not known."""

    first: int
    load: Quantiles
    sun: Quantiles
    net: Quantiles
    words: tuple[str, ...]


class Foresight:
    """The forecasters of one site, which are learnt anew at the beginning of each week. The same histories, the same
    forecast. ``panels``: where they stand, if that is known; ``boosted``: with gradient boosting, too."""

    def __init__(self, site: Site, panels: PanelsTable | None = None, *, boosted: bool = False) -> None:
        self._site = site
        self._load: Forecaster = Chooser("load", StandardLoad(), boosted=boosted)
        self._sun: Forecaster = Chooser("sun", _sun_of(site, panels), boosted=boosted)
        self._made: tuple[int, Foreseen] | None = None

    def net(self, measured: Measured, first: int, count: int) -> Foreseen:
        """What is foreseen of the ``count`` slots from ``first`` on."""
        if self._made is not None and self._made[0] == measured.version:
            before = self._made[1]
            if (before.first, len(before.net)) == (first, count):
                return before
        site = self._site
        load_limit = site.slot_wh(site.import_w.get(site.load, 0)) or None
        words = list(_words(site.load, measured.load, first))
        load = self._load.predict(measured.load.cleaned(load_limit), [first], count)[0]
        sun = np.zeros_like(load)
        if site.panels is not None and measured.sun is not None:
            words += _words(site.panels.device, measured.sun, first)
            sun = self._sun.predict(measured.sun.cleaned(site.slot_wh(site.panels.peak_w)), [first], count)[0]
        foreseen = Foreseen(first, load, sun, net_quantiles(load, sun), tuple(words))
        self._made = measured.version, foreseen
        return foreseen


def _sun_of(site: Site, panels: PanelsTable | None) -> Prior:
    """What panels are expected to give before anything was read."""
    peak_w = site.panels.peak_w if site.panels is not None else 0
    if panels is None or panels.latitude is None or panels.longitude is None:
        return StandardSun(peak_w)
    from broker.forecast.sun import PanelSun  # noqa: PLC0415  # only who knows where panels stand waits for pvlib

    return PanelSun(peak_w, panels.latitude, panels.longitude, panels.tilt, panels.azimuth)


def _words(device: str, history: History, first: int) -> list[str]:
    """What is missing of the last week."""
    values: Values = history.cleaned()
    day = values.day_slots
    known = np.isfinite(values.at(np.arange(first - 7 * day, first)))
    if not known.any():
        return [f"nothing is known of {device}'s last week: a standard day stands in"]
    words = []
    silent = int(known[::-1].argmax())
    if silent >= LATE_SLOTS:
        hours = silent * DAY_SECONDS / day / 3600
        words.append(f"{device} has not been read for {hours:.1f} h: the forecast rests on what was before")
    gaps = int((~known[: len(known) - silent]).sum()) if known.sum() > day else 0
    if gaps > day // 4:
        words.append(f"{gaps} of {device}'s slots of the last week are missing or unbelievable: other days stand in")
    return words
