"""Slots: how block time is cut into delivery periods of equal length. Slot s covers [s * seconds, (s + 1) * seconds).

State: ``slots/`` -> the length of a slot in seconds, set once at genesis by the market (setting ``slot_seconds``).
"""

from typing import Final

from chaincode.contract import Context, ContractError

KEY: Final = b"slots/"
MIN_SECONDS: Final = 60
MAX_SECONDS: Final = 86_400


def configure(ctx: Context, slot_seconds: int) -> None:
    """Fix the length of a slot, 60 to 86,400 s. Raises ContractError("bad-settings")."""
    if type(slot_seconds) is not int or not MIN_SECONDS <= slot_seconds <= MAX_SECONDS:
        raise ContractError("bad-settings", f"slot_seconds is {MIN_SECONDS} to {MAX_SECONDS}, not {slot_seconds}")
    ctx.put(KEY, slot_seconds)


def seconds(ctx: Context) -> int:
    """The length of a slot in seconds."""
    value = ctx.get(KEY)
    if not isinstance(value, int):
        raise ContractError("not-configured", "the market's genesis settings have no slot_seconds")
    return value


def current(ctx: Context) -> int:
    """The slot in which this block's time lies."""
    return ctx.time // seconds(ctx)


def starts_at(ctx: Context, slot: int) -> int:
    """The block time at which ``slot`` begins, seconds since the epoch."""
    return slot * seconds(ctx)
