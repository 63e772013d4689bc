"""What the meters of a site have counted, slot by slot, kept beside the journal so that a restart asks for little.

    measured.csv   slot,device,import_wh,export_wh,measured: a line a reading as it came; a later line takes the place
                   of an earlier one; measured is 0 where the ledger only estimated it
    history.csv    (anywhere, ``history_file``) time,load_wh,sun_wh: what was measured before the site was on the ledger

Readings that the ledger estimated are gaps in the histories: they say what was contracted, not what is usual.
"""

import csv
import datetime
import io
import logging
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from broker.forecast.history import DAY_SECONDS, KEPT_DAYS, History
from broker.site import Site
from broker.site_view import Reading
from node.errors import ConfigError
from node.files import read_given

log = logging.getLogger("watt.broker")

NAME: Final = "measured.csv"
HISTORY_COLUMNS: Final = ("time", "load_wh", "sun_wh")
MOST_UNWRITTEN: Final = 4_096
"""Readings that wait for room on the disk; the oldest go."""
MAX_HISTORY_BYTES: Final = 16 * 1024 * 1024


class Earlier(NamedTuple):
    """A slot before the site was on the ledger."""

    slot: int
    load_wh: int
    sun_wh: int


class Measured:
    """The readings of a site's devices. ``load`` and ``sun``: Wh by slot, for forecasts; ``version`` grows with every
    change of them; ``newest``: the last slot of which anything is known, -1 if nothing is."""

    def __init__(self, directory: Path, site: Site, now_slot: int, earlier: Iterable[Earlier] = ()) -> None:
        """``earlier``: what was measured elsewhere; what the ledger tells takes its place."""
        self._path = directory / NAME
        self._site = site
        self._rows: dict[tuple[int, str], Reading] = {}
        self._fault = ""
        self._is_torn = False
        self._unwritten: deque[Reading] = deque(maxlen=MOST_UNWRITTEN)
        self.version = 0
        oldest = now_slot - KEPT_DAYS * DAY_SECONDS // site.slot_seconds
        kept, lines = _read(self._path, site, oldest, now_slot)
        before = sorted(row for row in earlier if oldest <= row.slot < now_slot)
        self.newest = max((slot for slot, _ in kept), default=-1)
        first = min([now_slot, *(slot for slot, _ in kept), *(row[0] for row in before)])
        self.load = History(first, site.slot_seconds)
        self.sun = History(first, site.slot_seconds) if site.panels is not None else None
        for slot, load_wh, sun_wh in before:
            self.load.append(slot, load_wh)
            if self.sun is not None:
                self.sun.append(slot, sun_wh)
        for reading in sorted(kept.values()):
            self._remember(reading)
        if lines > len(kept):
            self._rewrite()

    def take(self, reading: Reading) -> None:
        """A reading that has come, or one that takes its place."""
        if self._rows.get((reading.slot, reading.device)) == reading:
            return
        self._remember(reading)
        self.newest = max(self.newest, reading.slot)
        self._unwritten.append(reading)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                # Behind a part of a line a new one would be read as its end.
                file.write(os.linesep * self._is_torn + "".join(map(_line, self._unwritten)))
            self._unwritten.clear()
            self._fault, self._is_torn = "", False
        except OSError as error:
            self._is_torn = True
            if not self._fault:
                log.error("%s cannot be written: %s; what comes is written once it can be", self._path, error.strerror)
            self._fault = str(error.strerror)

    def reading(self, slot: int, device: str) -> Reading | None:
        """What stands for a device's slot."""
        return self._rows.get((slot, device))

    def forget_before(self, slot: int) -> None:
        """Let go of single readings; the histories keep theirs."""
        for key in [key for key in self._rows if key[0] < slot]:
            del self._rows[key]

    def _remember(self, reading: Reading) -> None:
        self._rows[reading.slot, reading.device] = reading
        self.version += 1
        panels = self._site.panels
        if reading.device == self._site.load:
            self.load.append(reading.slot, reading.import_wh - reading.export_wh if reading.measured else None)
        elif self.sun is not None and panels is not None and reading.device == panels.device:
            self.sun.append(reading.slot, reading.export_wh - reading.import_wh if reading.measured else None)

    def _rewrite(self) -> None:
        """Leave out what is old, torn or replaced. If it cannot be done, nothing is lost."""
        work = self._path.with_suffix(".new")
        try:
            with work.open("w", encoding="utf-8") as file:
                file.writelines(_line(reading) for reading in sorted(self._rows.values()))
            work.replace(self._path)
        except OSError as error:
            self._is_torn = True
            log.warning("%s cannot be tidied: %s", self._path, error.strerror)


def read_history(path: Path, slot_seconds: int) -> list[Earlier]:
    """The rows of a ``history_file``. Raises ConfigError("bad-history") with the line that is none."""
    try:
        with io.StringIO(read_given(path, MAX_HISTORY_BYTES).decode("utf-8-sig"), newline="") as file:
            rows = csv.reader(file)
            header = tuple(cell.strip() for cell in next(rows, ()))
            if header not in (HISTORY_COLUMNS, HISTORY_COLUMNS[:2]):
                raise ConfigError("bad-history", f"{path}: its first line is {','.join(HISTORY_COLUMNS)}")
            try:
                return [_history_row(row, slot_seconds) for row in rows if row]
            except (ValueError, OverflowError) as error:
                raise ConfigError("bad-history", f"{path}:{rows.line_num}: {error}") from error
    except OSError as error:
        raise ConfigError("bad-history", f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError("bad-history", f"{path}: {error}") from error


def _history_row(row: list[str], slot_seconds: int) -> Earlier:
    cells = [cell.strip() for cell in row] + [""] * (len(HISTORY_COLUMNS) - len(row))
    moment, load, sun = cells
    if moment.isascii() and moment.isdecimal():
        time = int(moment)
    else:
        parsed = datetime.datetime.fromisoformat(moment)
        time = int(parsed.replace(tzinfo=parsed.tzinfo or datetime.UTC).timestamp())
    return Earlier(time // slot_seconds, int(load), int(sun or 0))


def _read(path: Path, site: Site, oldest: int, newest: int) -> tuple[dict[tuple[int, str], Reading], int]:
    """The newest line of each slot and device, and how many lines there are. Left out are damaged ones, and those of
    slots before ``oldest`` or after ``newest``: one line that was torn may tell of a day far off."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return {}, 0
    except OSError as error:
        log.warning("%s cannot be read: %s; the ledger is asked again", path, error.strerror)
        return {}, 0
    kept: dict[tuple[int, str], Reading] = {}
    lines = text.split(os.linesep)
    damaged = 0
    for line in filter(None, lines[:-1]):
        try:
            slot, device, import_wh, export_wh, measured = line.split(",")
            reading = Reading(int(slot), device, int(import_wh), int(export_wh), bool(("0", "1").index(measured)))
        except ValueError:
            damaged += 1
            continue
        if oldest <= reading.slot <= newest and device in site.devices:
            kept[reading.slot, device] = reading
    if damaged:
        log.warning("%s: %d damaged lines are left out", path, damaged)
    return kept, len(lines) - (not lines[-1])


def _line(reading: Reading) -> str:
    return (
        f"{reading.slot},{reading.device},{reading.import_wh},{reading.export_wh},{int(reading.measured)}{os.linesep}"
    )
