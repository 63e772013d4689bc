"""The market's rules over time: those of the genesis document, and what votes have made of them.

A change that is decided (``rules.py`` says how) is *scheduled* and comes into force in ``begin_block`` of the first
block at or after its height, before anything else that the calendar does. A product pins its terms when it opens, so a
change concerns products that open from then on. ``outage_s``, ``retention_s`` and ``max_estimates`` are no terms of a
product: they count for all at once, ``retention_s`` for those that become FINAL from then on.

Of the calendar only the opening of the next slot depends on the rules: it moves to where the new ``open_before_s`` has
it. Slots open one after the other all the same, so none is left out and none opens twice: if products are to open
earlier, as many as are missing open in this block and the next ones; if later, none opens until the first is due.

State: ``market-rules/`` -> count; ``market-rules/`` number(8) -> Version; ``market/scheduled`` -> Scheduled.
"""

from typing import Final, NamedTuple, cast

from chaincode import market_calendar, market_products, slots
from chaincode.contract import Context, ContractError, Value
from chaincode.keys import key
from chaincode.market_calendar import MARKET, OPEN, Entry
from chaincode.market_products import Settings

_VERSIONS: Final = b"market-rules/"
_SCHEDULED: Final = b"market/scheduled"


class Version(NamedTuple):
    """Rules, and the block from which on they are in force; ``proposal``: what brought them, None at genesis."""

    height: int
    time: int
    proposal: int | None
    settings: Settings


class Scheduled(NamedTuple):
    """Rules that come into force at ``first_height``, by ``proposal``."""

    first_height: int
    proposal: int
    settings: Settings


def begin(ctx: Context, raw: dict[str, Value]) -> None:
    """Check and keep the genesis settings. Raises ContractError("bad-settings") naming the setting."""
    settings = market_products.checked(raw)
    slots.configure(ctx, settings.slot_seconds)
    market_products.put_settings(ctx, settings)
    _add_version(ctx, None, settings)


def changed(
    settings: Settings, changes: tuple[tuple[str, int], ...], tariffs: tuple[tuple[int, int, int], ...]
) -> Settings:
    """What ``merged`` gives, if that is another set of rules. Raises ContractError: bad-settings, no-change."""
    after = merged(settings, changes, tariffs)
    if after == settings:
        raise ContractError("no-change", "these are the rules already")
    return after


def merged(
    settings: Settings, changes: tuple[tuple[str, int], ...], tariffs: tuple[tuple[int, int, int], ...]
) -> Settings:
    """``settings`` with (name, value) changes, and new tariffs unless these are empty.

    Raises ContractError("bad-settings"), also for a name twice, and for slot_seconds: time was cut once.
    """
    raw: dict[str, Value] = dict(settings._asdict())
    if len(dict(changes)) < len(changes):
        raise ContractError("bad-settings", "a setting is named twice")
    for name, value in changes:
        if name in ("slot_seconds", "tariffs"):
            raise ContractError("bad-settings", f"{name} cannot be changed so")
        raw[name] = value
    if tariffs:
        raw["tariffs"] = tariffs
    return market_products.checked(raw)


def scheduled(ctx: Context) -> Scheduled | None:
    """The rules that are decided and not yet in force, if there are any."""
    raw = ctx.get(_SCHEDULED)
    if raw is None:
        return None
    first_height, proposal, settings = cast("tuple[int, int, Settings]", raw)
    return Scheduled(first_height, proposal, Settings(*settings))


def schedule(ctx: Context, first_height: int, proposal: int, settings: Settings) -> None:
    """Let ``settings`` come into force at a height that is ahead; nothing else is scheduled."""
    assert scheduled(ctx) is None, "two changes of the rules at a time"
    ctx.put(_SCHEDULED, (first_height, proposal, tuple(settings)))


def go_on(ctx: Context) -> None:
    """Let what is scheduled come into force, if its height has come."""
    coming = scheduled(ctx)
    if coming is not None and coming.first_height <= ctx.height:
        ctx.delete(_SCHEDULED)
        put_in_force(ctx, coming.settings, coming.proposal)


def put_in_force(ctx: Context, settings: Settings, proposal: int | None) -> None:
    """From now on these are the rules; the slot that opens next does so when they say."""
    market_products.put_settings(ctx, settings)
    number = _add_version(ctx, proposal, settings)
    slot = market_products.next_to_open(ctx)
    entry = None if slot is None else market_calendar.find(ctx, MARKET, OPEN)
    if entry is not None:
        market_calendar.remove(ctx, MARKET, entry.time, OPEN, entry.slot)
        opens = entry.slot * settings.slot_seconds - settings.open_before_s
        market_calendar.put(ctx, MARKET, Entry(max(opens, 0), OPEN, entry.slot, 0))
    ctx.emit("rules", (), (number, *settings))


def drop_scheduled(ctx: Context) -> None:
    """What cannot come into force, by a mistake in the contract, is not tried again."""
    ctx.delete(_SCHEDULED)


def version_count(ctx: Context) -> int:
    """How many versions of the rules there have been."""
    return cast("int | None", ctx.get(_VERSIONS)) or 0


def version(ctx: Context, number: int) -> Version:
    """The version ``number``, which there is."""
    height, time, proposal, settings = cast("Version", ctx.get(key(_VERSIONS, number)))
    return Version(height, time, proposal, Settings(*settings))


def _add_version(ctx: Context, proposal: int | None, settings: Settings) -> int:
    number = version_count(ctx)
    ctx.put(key(_VERSIONS, number), (ctx.height, ctx.time, proposal, tuple(settings)))
    ctx.put(_VERSIONS, number + 1)
    return number
