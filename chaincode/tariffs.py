"""The tariffs that the utility publishes, within those that were voted.

The market's settings have tariffs by time of use (*voted*: the genesis document's, or those that a vote has made of
them). The utility may publish better ones from a slot that has not opened and begins no sooner than a day from now: at
every time of day retail at most the voted, feed-in at least the voted (``tariff-out-of-bounds``). Alone it can only
improve terms; what makes them worse is voted on.

A *version* holds from its slot until that of the next one. Publishing puts a version in the place of all that were to
begin in its slot or later; one without rows is the voted tariffs again. What a slot has is decided when its product
opens and pins it, and no version is kept for a slot that has opened.

A vote after a publication may leave it outside the bounds. It is cut to them then, not struck out: with retail R and
feed-in F voted, r and f published,

    feed-in = min(max(f, F), R)        retail = max(min(r, R), feed-in)

so that the utility never takes more than R nor pays less than F, and feed-in stays at most retail.

State: ``tariff/`` -> ((number, from slot), ...) by slot; ``tariff/`` number(8) -> Version; ``tariff-next/`` -> the next
number.
"""

from typing import Final, NamedTuple, TypeAlias, cast

from chaincode import market_products, roles, slots
from chaincode.contract import Context, Contract, ContractError, Value, query, transaction
from chaincode.keys import uint
from chaincode.market_products import DAY_S, MAX_SLOT, Settings
from chaincode.subjects import public

Rows: TypeAlias = tuple[tuple[int, int, int], ...]
"""(second of the UTC day, retail, feed-in) each, in base units per Wh, ascending, the first from 0."""

MAX_VERSIONS: Final = 32
"""That hold for slots that have not opened."""
NOTICE_S: Final = DAY_S

_VERSIONS: Final = b"tariff/"
_NEXT: Final = b"tariff-next/"


class Version(NamedTuple):
    """``rows``, published at block time ``time`` (s), hold from ``from_slot`` on; none: the voted ones."""

    from_slot: int
    time: int
    rows: Rows


def tariff_at(ctx: Context, settings: Settings, slot: int) -> tuple[int, int]:
    """(retail, feed-in) of a slot that has not opened, in base units per Wh, under the voted ``settings``."""
    voted = settings.tariff(slot)
    held = None
    for number, from_slot in _listed(ctx):
        if from_slot <= slot:
            held = number
    if held is None:
        return voted
    rows = _version(ctx, held).rows
    return within(market_products.tariff_in(rows, slot * settings.slot_seconds % DAY_S), voted) if rows else voted


def within(published: tuple[int, int], voted: tuple[int, int]) -> tuple[int, int]:
    """(retail, feed-in) ``published``, cut to what is ``voted``."""
    feed_in = min(max(published[1], voted[1]), voted[0])
    return max(min(published[0], voted[0]), feed_in), feed_in


def earliest(ctx: Context) -> int:
    """The first slot from which on tariffs may be published now."""
    seconds = slots.seconds(ctx)
    return max(-(-(ctx.time + NOTICE_S) // seconds), market_products.next_to_open(ctx) or 0)


class Tariffs(Contract):
    """Publishing tariffs, and which there are."""

    name = "tariffs"

    @transaction
    def publish(self, ctx: Context, *, from_slot: int, rows: Rows) -> Value:
        """Tariffs from ``from_slot`` on, (second of the UTC day, retail, feed-in) in base units per Wh; no rows: the
        voted ones. Utility only. Returns the number of the version.

        Raises ContractError: not-allowed, tariff-too-late (details: the first slot possible), bad-settings,
        tariff-out-of-bounds (details: second of the day, voted retail, voted feed-in), no-change, too-many.
        """
        roles.require_right(ctx, "publish-tariffs")
        first = earliest(ctx)
        if not first <= from_slot <= MAX_SLOT:
            raise ContractError("tariff-too-late", f"tariffs are published from slot {first} on", (first,))
        settings = market_products.settings_of(ctx)
        if rows:
            market_products.check_tariffs(rows, settings.slot_seconds)
            _require_bounds(settings, rows)
        return _publish(ctx, from_slot, rows)

    @query(of=public)
    def published(self, ctx: Context) -> Value:
        """The versions that hold for slots that have not opened: ((number, from slot, block time at which it was
        published, rows), ...) by slot; no rows: the voted tariffs."""
        return tuple([(number, *_version(ctx, number)) for number, _ in _needed(ctx)])

    @query(of=public)
    def earliest(self, ctx: Context) -> Value:
        """The first slot from which on tariffs may be published now."""
        return earliest(ctx)


def _publish(ctx: Context, from_slot: int, rows: Rows) -> int:
    """Put a version in the place of those from ``from_slot`` on, and forget those that no slot to come has."""
    needed = _needed(ctx)
    kept = tuple([row for row in needed if row[1] < from_slot])
    before = _version(ctx, kept[-1][0]).rows if kept else ()
    if kept == needed and before == rows:
        raise ContractError("no-change", "these tariffs hold then already")
    if len(kept) >= MAX_VERSIONS:
        raise ContractError("too-many", f"at most {MAX_VERSIONS} tariffs are published ahead")
    for row in _listed(ctx):
        if row not in kept:
            ctx.delete(_VERSIONS + uint(row[0]))
    number = cast("int | None", ctx.get(_NEXT)) or 0
    ctx.put(_NEXT, number + 1)
    ctx.put(_VERSIONS + uint(number), tuple(Version(from_slot, ctx.time, rows)))
    ctx.put(_VERSIONS, (*kept, (number, from_slot)))
    ctx.emit("tariffs-published", (), (number, from_slot, rows))
    return number


def _require_bounds(settings: Settings, rows: Rows) -> None:
    """At every time of day at which a slot begins, the tariff of ``rows`` is no worse than the voted one."""
    seconds = settings.slot_seconds
    changes = [-(-row[0] // seconds) * seconds for row in (*settings.tariffs, *rows)]
    for second in sorted(dict.fromkeys(changes)):
        if second < DAY_S:
            retail, feed_in = market_products.tariff_in(settings.tariffs, second)
            own_retail, own_feed_in = market_products.tariff_in(rows, second)
            if own_retail > retail or own_feed_in < feed_in:
                raise ContractError(
                    "tariff-out-of-bounds",
                    f"from second {second} of the day retail is at most {retail}, feed-in at least {feed_in}",
                    (second, retail, feed_in),
                )


def _needed(ctx: Context) -> tuple[tuple[int, int], ...]:
    """(number, from slot) of the versions that a slot that has not opened may have."""
    rows = _listed(ctx)
    opening = market_products.next_to_open(ctx) or 0
    begun = len([row for row in rows if row[1] <= opening])
    return rows[max(0, begun - 1) :]


def _listed(ctx: Context) -> tuple[tuple[int, int], ...]:
    return cast("tuple[tuple[int, int], ...]", ctx.get(_VERSIONS) or ())


def _version(ctx: Context, number: int) -> Version:
    return Version(*cast("Version", ctx.get(_VERSIONS + uint(number))))
