"""How a vehicle is taken to drive of which nothing has been seen: thirty weekdays and twenty weekend days, each of
another driver (full time, part time, free time in turn), drawn by broker.vehicles.mobility from the published
statistics that it names. They weigh as much as four days that were seen.
"""

import functools
from typing import Final

import numpy as np

from broker.site import Vehicle
from broker.vehicles.history import CODES, Days, tabulate
from broker.vehicles.mobility import Trip, slots

WEIGHT_DAYS: Final = 4
"""How many days that were seen all of them weigh, weekdays and weekend days each."""

WEEKDAYS: Final = (
    "9:55-10:40 work 5, 14:27-14:44 elsewhere 3, 15:12-15:20 elsewhere 4, 20:44-21:04 home 2",
    "10:06-10:23 elsewhere 7, 12:10-12:27 home 7",
    "6:10-6:23 elsewhere 4, 7:12-9:40 work 17, 13:37-13:52 home 2, 15:22-15:33 elsewhere 6, 18:27-18:45 home 17",
    "8:10-8:25 work 2, 16:05-16:20 home 2, 17:01-17:44 elsewhere 46, 19:02-19:10 home 4",
    "9:52-10:07 work 2, 17:26-17:41 home 2",
    "7:47-7:58 elsewhere 6, 10:44-11:02 work 17, 18:52-19:30 home 15",
    "9:15-9:28 work 8, 13:08-13:23 elsewhere 10, 14:17-14:51 home 27, 16:26-16:45 elsewhere 9, 23:05-23:23 home 8",
    "17:19-17:34 elsewhere 2, 21:34-21:49 home 2",
    "6:01-6:37 work 33, 10:09-10:45 home 33, 15:44-15:57 elsewhere 8, 17:26-17:40 elsewhere 9, 18:03-18:23 home 5",
    "9:49-10:27 elsewhere 15, 13:55-14:14 elsewhere 9, 15:09-15:24 home 5, 16:24-16:42 elsewhere 8, 19:40-19:58 home 8",
    "8:50-9:02 work 3, 16:38-16:50 home 3",
    "7:48-8:03 elsewhere 2, 10:20-10:27 elsewhere 3, 11:57-14:41 home 45, 16:22-16:41 elsewhere 9, 18:40-18:54 home 9",
    "8:57-9:07 work 1, 16:11-16:21 home 1, 17:49-18:09 elsewhere 19, 19:26-20:26 elsewhere 5, 21:16-21:23 home 3",
    "7:00-7:20 work 5, 11:11-12:05 elsewhere 16, 18:18-18:33 home 2, 20:34-20:46 elsewhere 3, 21:55-22:06 home 12",
    "12:53-13:27 elsewhere 28, 14:56-15:30 home 28",
    "11:59-12:16 elsewhere 7, 13:47-14:04 home 7",
    "6:37-7:22 work 20, 14:42-15:21 elsewhere 38, 19:14-21:14 home 74",
    "9:30-9:46 elsewhere 6, 11:15-12:40 home 160, 14:04-14:19 elsewhere 5, 20:49-20:59 home 2",
    *("",) * 12,
)
WEEKEND_DAYS: Final = (
    "11:51-12:36 elsewhere 10, 13:01-13:46 home 10",
    "6:01-6:17 elsewhere 13, 9:15-9:32 elsewhere 7, 10:27-10:37 elsewhere 2, 15:43-15:56 elsewhere 4, "
    "21:27-21:45 home 17",
    "12:12-12:32 elsewhere 10, 13:36-13:55 home 9, 15:38-15:58 elsewhere 10, 22:16-22:31 home 5",
    "9:14-11:04 elsewhere 32, 19:26-21:16 home 32",
    "13:10-13:22 elsewhere 7, 15:56-16:08 home 7",
    "10:57-11:15 elsewhere 15, 21:20-21:38 home 15",
    "17:29-18:11 elsewhere 9, 19:24-20:06 home 9",
    "9:19-9:32 elsewhere 8, 13:38-14:23 home 10, 21:08-21:46 elsewhere 36, 23:21-23:32 home 12",
    "17:05-17:22 elsewhere 14, 20:16-20:33 home 14",
    "11:13-11:23 elsewhere 2, 15:31-16:17 home 21, 18:14-18:56 elsewhere 18, 22:09-22:25 home 6",
    "11:59-12:16 elsewhere 7, 17:10-17:27 home 7",
    "7:45-8:03 elsewhere 8, 17:26-17:44 elsewhere 4, 19:29-19:41 home 7",
    "9:10-9:22 elsewhere 3, 12:31-12:49 elsewhere 16, 14:02-14:12 home 1, 15:34-15:44 elsewhere 1, 18:25-18:31 home 6",
    "15:39-15:57 elsewhere 16, 21:43-22:01 home 16",
    "10:01-10:16 elsewhere 2, 12:06-12:18 elsewhere 3, 13:30-14:02 elsewhere 11, 15:55-16:15 elsewhere 5, "
    "21:39-21:51 home 3",
    *("",) * 5,
)
"""Trips: from, to, where, km. The empty ones stay at home."""


@functools.cache
def prior_days(weekend: bool, slot_seconds: int, works: bool) -> Days:
    """As tables, like those of a history. ``works``: whether it can charge at work."""
    plugs = frozenset(("home", "work")) if works else frozenset(("home",))
    days = WEEKEND_DAYS if weekend else WEEKDAYS
    columns = 24 * 3600 // slot_seconds
    places: list[int] = []
    km: list[int] = []
    for day in days:
        seen = slots(
            [_trip(text) for text in day.split(", ") if text], _ANY, slot_seconds, columns + columns // 8, plugs
        )
        places.extend(CODES[place] for place in seen.places[columns // 8 :])
        km.extend(seen.km[columns // 8 :])
    return tabulate(np.array(places, np.int64), np.array(km, np.int64), columns, 5 if weekend else 0)


_ANY: Final = Vehicle("any", "bev", 1, 1, 0, 1000, 1, 0)


def _trip(text: str) -> Trip:
    times, place, km = text.split(" ")
    departure, arrival = (_minutes(each) for each in times.split("-"))
    return Trip(departure, arrival, place, int(km))


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)
