"""What the ledger does not know of a site's devices: a CSV file to which another program appends.

    time,device,level_wh,plugged,leaves,need_wh
    1766300400,home-03/battery,3200,,,
    2025-12-21T07:00:00,home-03/ev,21000,yes,2025-12-22T07:30:00,9000

``time`` and ``leaves`` are seconds since 1970 or UTC times; ``level_wh`` is what is in the store then; ``plugged`` is
yes or no; ``leaves`` is when it drives off next and ``need_wh`` what it must hold by then. Only the first two are
required, empty means not known, columns may come in any order. The newest row of a device counts. The file may be cut
or replaced at any time; a line without its end is not read yet; a line that is none is left out and told of.
"""

import csv
import datetime
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

COLUMNS: Final = ("time", "device", "level_wh", "plugged", "leaves", "need_wh")
MAX_BYTES: Final = 1024 * 1024
"""Of a larger file only the end is read."""
_FLAGS: Final = {"yes": True, "no": False, "1": True, "0": False, "true": True, "false": False}


class DeviceState(NamedTuple):
    """What was said last of a device; None: not said."""

    time: int
    level_wh: int | None
    plugged: bool | None
    leaves: int | None
    need_wh: int | None


class StateFile:
    """The file at ``path``. ``read`` after whatever time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] = (0, 0, 0)
        self._states: dict[str, DeviceState] = {}
        self._faults: tuple[str, ...] = ()

    def read(self) -> tuple[Mapping[str, DeviceState], tuple[str, ...]]:
        """The newest state of each device, and what is wrong with the file, which then tells what it told before."""
        try:
            found = self._path.stat()
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
            if stamp != self._stamp:
                self._states, self._faults = parse_states(_tail(self._path))
                self._stamp = stamp
        except OSError as error:
            self._stamp = (0, 0, 0)
            return self._states, (f"{self._path}: {error.strerror}",)
        return self._states, tuple(f"{self._path}: {fault}" for fault in self._faults)


def parse_states(text: str) -> tuple[dict[str, DeviceState], tuple[str, ...]]:
    """The newest state of each device in a file's text, and what is wrong with it: at most one word for each cause."""
    whole, newline, _ = text.rpartition("\n")
    rows = csv.reader(line.replace("\0", "") for line in io.StringIO(whole + newline))
    header = tuple(cell.strip() for cell in next(rows, ()))
    if not {"time", "device"} <= set(header) <= set(COLUMNS):
        return {}, (f"its first line names the columns, some of {','.join(COLUMNS)}",)
    states: dict[str, DeviceState] = {}
    bad: list[int] = []
    while True:
        try:
            row = next(rows, None)
            if row is None:
                break
            if not row:
                continue
            device, state = _state(dict(zip(header, (cell.strip() for cell in row), strict=True)))
        except (ValueError, KeyError, OverflowError, csv.Error):
            bad.append(rows.line_num)
            continue
        if device not in states or states[device].time <= state.time:
            states[device] = state
    faults = (f"{len(bad)} lines are no states, the first is line {bad[0]}",) if bad else ()
    return states, faults


def _state(row: Mapping[str, str]) -> tuple[str, DeviceState]:
    level, need, plugged = row.get("level_wh"), row.get("need_wh"), row.get("plugged")
    state = DeviceState(
        time=_time(row["time"]),
        level_wh=max(0, int(level)) if level else None,
        plugged=_FLAGS[plugged.lower()] if plugged else None,
        leaves=_time(row["leaves"]) if row.get("leaves") else None,
        need_wh=max(0, int(need)) if need else None,
    )
    return row["device"], state


def _time(text: str) -> int:
    if text.isascii() and text.isdecimal():
        return int(text)
    moment = datetime.datetime.fromisoformat(text)
    return int(moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp())


def _tail(path: Path) -> str:
    """The header and the last MAX_BYTES of the file."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES)
        size = os.fstat(file.fileno()).st_size
        if size <= MAX_BYTES:
            return data.decode(errors="replace")
        file.seek(size - MAX_BYTES)
        tail = file.read(MAX_BYTES)
    header = data.split(b"\n", 1)[0]
    return (header + b"\n" + tail.split(b"\n", 1)[-1]).decode(errors="replace")
