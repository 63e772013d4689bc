"""What battery and vehicle are to do now, written for the home's own controller: a JSON file, replaced as a whole.

    {"site": "home-03", "time": 1766300460, "slot": 981278, "until": 1766302200, "retail": 1000000, "feed_in": 400000,
     "devices": {"home-03/battery": {"w": -1200, "wh": -600, "contract_wh": -500, "value": 730000,
                 "why": "gives what is dearer to buy now than to store again"}}, "contract_wh": 250}

``w`` and ``wh``: the plan for the whole slot, taken positive, given negative. ``contract_wh``: bought minus sold, of
the device and of the site. ``value``: what another Wh in the store is worth at the slot's end, base units: who controls
in real time gives while energy costs more than that, and takes while it costs less (docs/brokers.md). After ``until``
nothing of it holds.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("watt.broker")


class Setpoints:
    """The file at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fault = ""

    def write(self, what: Mapping[str, Any]) -> None:
        """Replace the file. If it cannot be written that is told, once; its reader sees that ``until`` has passed."""
        work = self._path.with_name(f"{self._path.name}.new")
        try:
            work.write_text(json.dumps(what) + "\n", encoding="utf-8")
            work.replace(self._path)
            self._fault = ""
        except OSError as error:
            if not self._fault:
                log.error("%s cannot be written: %s", self._path, error.strerror)
            self._fault = str(error.strerror)


def reason(planned_wh: int, value: int, retail: int, feed_in: int, *, is_away: bool = False) -> str:
    """Why a store does what it does, in words."""
    if is_away:
        return "is away: not plugged in"
    if planned_wh > 0:
        return "takes: stored energy is worth more later than it costs now" if value > feed_in else "takes"
    if planned_wh < 0:
        return "gives: energy is worth more now than later" if value < retail else "gives"
    return "waits: neither to take nor to give pays now"
