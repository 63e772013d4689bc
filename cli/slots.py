"""Delivery slots, as people say them and as they are shown: one notation for all commands.

Said: a slot's number, or a time in it such as ``2017-06-16T12:30``, which is UTC unless it names its own zone. Shown:
the number and the UTC time at which the slot starts, ``832032 2017-06-16 12:00``.
"""

import datetime
from typing import Any, Final, NamedTuple, cast

import click

from cli.answers import Reader, as_rows
from cli.units import clock

MAX_DIGITS: Final = 15
TITLE: Final = "Slot (UTC)"
"""The heading of a column of slots."""
SAID: Final = "its number, or a UTC time in it such as 2017-06-16T12:30"
"""What help says of a slot."""
DAY_S: Final = 86_400
_SHOWN: Final = 40


class Slot(NamedTuple):
    """What was said. ``number``: of the slot, if that was; else ``time``, in s since the epoch."""

    number: int | None
    time: int

    def at(self, slot_seconds: int) -> int:
        """The slot's number, where slots are so long."""
        return self.time // slot_seconds if self.number is None else self.number

    async def by(self, read: Reader) -> int:
        """The same, where slots are as long as the market's settings say."""
        return self.at(await slot_seconds_of(read)) if self.number is None else self.number


class SlotType(click.ParamType[Slot]):
    """``832032`` or ``2017-06-16T12:30``."""

    name = "slot"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Slot:
        if isinstance(value, Slot):
            return value
        text = str(value).strip()
        if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS:
            return Slot(int(text), 0)
        try:
            moment = datetime.datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=datetime.UTC)
            time = int(moment.timestamp())
        except (ValueError, OverflowError):
            self.fail(f"{text[:_SHOWN]!r} is neither a slot's number nor a time like 2017-06-16T12:30", param, ctx)
        if time < 0:
            self.fail(f"{text[:_SHOWN]} is before the time of any chain", param, ctx)
        return Slot(None, time)


SLOT: Final = SlotType()


async def slot_seconds_of(read: Reader) -> int:
    """The length of a slot, from the market's settings."""
    return cast("int", as_rows(await read("market", "settings", {}))[0])


def slot_shown(slot: int, slot_seconds: int) -> str:
    """``832032 2017-06-16 12:00``, in a column with the heading TITLE."""
    return f"{slot} {clock(slot * slot_seconds)[:16]}"


def slot_words(slot: int, slot_seconds: int) -> str:
    """``slot 832032 (2017-06-16 12:00 UTC)``, in a sentence."""
    return f"slot {slot} ({clock(slot * slot_seconds)[:16]} UTC)"
