"""Products: one per delivery slot, each with the terms that were in force when it opened.

    FUTURE -> OPEN -> CLOSED -> DELIVERED -> METERED or ESTIMATED -> SETTLED -> FINAL

A product has no record while it is FUTURE. Its record pins the grid's version (and with it tolls and limits), the
tariff and all its times, so that nothing that is decided later touches orders already placed.

State: table ``market/``: ``settings`` -> Settings, ``first`` -> the first slot that the chain opened, or left out,
``next`` -> the next slot to open, ``oldest`` -> the first slot that is not final; table ``product/``: slot(8) ->
Product; table ``cleared/``: slot(8) -> Totals, once there has been an auction; table ``flows/``: slot(8) -> per line
(the index of its child in the tree) the net Wh contracted so far, from parent to child positive. They lie apart: what
all may be shown the proof of is not to show what flowed to a single home.
"""

from typing import Final, NamedTuple, cast

from chaincode.contract import Context, ContractError, Value
from chaincode.keys import uint

OPEN: Final = "OPEN"
CLOSED: Final = "CLOSED"
DELIVERED: Final = "DELIVERED"
METERED: Final = "METERED"
ESTIMATED: Final = "ESTIMATED"
SETTLED: Final = "SETTLED"
FINAL: Final = "FINAL"

_SETTINGS: Final = b"market/settings"
_FIRST: Final = b"market/first"
_NEXT: Final = b"market/next"
_OLDEST: Final = b"market/oldest"
_PRODUCT: Final = b"product/"

_TOTALS: Final = b"cleared/"
_FLOWS: Final = b"flows/"

DAY_S: Final = 86_400
MAX_SLOT: Final = 2**48
MAX_OPEN_PRODUCTS: Final = 1_000
MAX_SLOT_VALUE: Final = 2**62
"""What a device at the highest limit may have to pay the utility for one slot, in base units.

So retail stays below 2^39, and with all tolls of a grid (``grid.MAX_TOLLS``) the auction's keys below 63 bits.
"""
MAX_POWER_W: Final = 10**9
"""The highest limit of a device's import or export."""


class Product(NamedTuple):
    """One delivery slot. Times in s since the epoch; retail and feed-in in base units per Wh.

    Orders are taken from ``opens`` until ``gate``, energy flows from ``starts`` to ``ends``, readings are taken until
    ``metered_by``, and after ``final_at`` nothing changes any more. ``period``: the consortium's billing period of it;
    ``tick_s``: auctions are held at multiples of it; ``internal``: what devices of one network pay one
    another, in base units per Wh; ``mix_permille``: how much of the utility's energy is renewable.
    """

    state: str
    opens: int
    starts: int
    ends: int
    gate: int
    metered_by: int
    final_at: int
    grid_version: int
    retail: int
    feed_in: int
    period: int
    tick_s: int
    internal: int
    mix_permille: int


class Totals(NamedTuple):
    """What a product's auctions have contracted so far. Energies in Wh, money in base units.

    ``paid`` = ``received`` + ``tolls`` + ``rent``.
    """

    auctions: int = 0
    trades: int = 0
    energy_wh: int = 0
    paid: int = 0
    received: int = 0
    tolls: int = 0
    rent: int = 0


class Settings(NamedTuple):
    """The market's rules as they are now: at first those of the genesis document. Times in seconds.

    ``retention_s``: how long a final slot's details are kept, 0 for ever; ``outage_s``: how late a block may be before
    the time lost is given back; ``internal_permille``: where the internal price lies between feed-in (0) and retail
    (1,000); ``mix_permille``: the renewable share of the utility's energy; ``max_estimates``: how many estimates of a
    period may stand before the device may not sell; ``tariffs``: (second of the UTC day from which it holds, retail,
    feed-in), ascending, the first from 0.
    """

    slot_seconds: int
    open_before_s: int
    gate_before_end_s: int
    tick_s: int
    metering_window_s: int
    dispute_window_s: int
    retention_s: int
    outage_s: int
    internal_permille: int
    mix_permille: int
    max_estimates: int
    tariffs: tuple[tuple[int, int, int], ...]

    def tariff(self, slot: int) -> tuple[int, int]:
        """(retail, feed-in) voted for a slot, in base units per Wh: what is in force when it starts. The utility may
        have published better ones (``tariffs.py``)."""
        return tariff_in(self.tariffs, slot * self.slot_seconds % DAY_S)

    def internal(self, retail: int, feed_in: int) -> int:
        """What devices of one network pay one another in a slot with this tariff, in base units per Wh."""
        return feed_in + (retail - feed_in) * self.internal_permille // 1_000


def tariff_in(tariffs: tuple[tuple[int, int, int], ...], second: int) -> tuple[int, int]:
    """(retail, feed-in) in force at a second of the UTC day; ``tariffs`` as in ``Settings``."""
    in_force = tariffs[0]
    for tariff in tariffs:
        if tariff[0] <= second:
            in_force = tariff
    return in_force[1], in_force[2]


def max_price(slot_seconds: int) -> int:
    """The highest retail tariff, in base units per Wh."""
    return MAX_SLOT_VALUE * 3600 // (MAX_POWER_W * slot_seconds)


def checked(raw: dict[str, Value]) -> Settings:
    """Settings as the genesis document or a vote says them. Raises ContractError("bad-settings") naming the setting."""
    known = dict.fromkeys(Settings._fields)
    unknown = [name for name in raw if name not in known]
    if unknown:
        raise ContractError("bad-settings", f"the market has no setting {min(unknown)!r}")
    settings = Settings(
        slot_seconds=_seconds(raw, "slot_seconds", 1_800, 60),
        open_before_s=_seconds(raw, "open_before_s", DAY_S, 0),
        gate_before_end_s=_seconds(raw, "gate_before_end_s", 600, 0),
        tick_s=_seconds(raw, "tick_s", 10, 0),
        metering_window_s=_seconds(raw, "metering_window_s", 3_600, 0),
        dispute_window_s=_seconds(raw, "dispute_window_s", 7 * DAY_S, 0),
        retention_s=_seconds(raw, "retention_s", 0, 0),
        outage_s=_seconds(raw, "outage_s", 300, 60),
        internal_permille=_number(raw, "internal_permille", 0, 1_000),
        mix_permille=_number(raw, "mix_permille", 0, 1_000),
        max_estimates=_number(raw, "max_estimates", 48, 100_000),
        tariffs=check_tariffs(raw.get("tariffs"), _seconds(raw, "slot_seconds", 1_800, 60)),
    )
    if DAY_S % settings.slot_seconds:
        raise ContractError(
            "bad-settings", "slot_seconds divides a day, so that tariffs and estimates have a time of day"
        )
    if settings.open_before_s // settings.slot_seconds >= MAX_OPEN_PRODUCTS:
        raise ContractError("bad-settings", f"open_before_s opens more than {MAX_OPEN_PRODUCTS} products")
    if settings.gate_before_end_s >= settings.open_before_s + settings.slot_seconds:
        raise ContractError("bad-settings", "gate_before_end_s closes products before they open")
    return settings


def check_tariffs(raw: Value, slot_seconds: int) -> tuple[tuple[int, int, int], ...]:
    """Tariffs as the genesis document, a vote or the utility says them. Raises ContractError("bad-settings")."""
    if not isinstance(raw, tuple) or not 0 < len(raw) <= 96:
        raise ContractError("bad-settings", "tariffs is an array of 1 to 96 [second of the day, retail, feed-in]")
    tariffs: list[tuple[int, int, int]] = []
    for row in raw:
        match row:
            case (int(second), int(retail), int(feed_in)):
                tariffs.append((second, retail, feed_in))
            case _:
                raise ContractError("bad-settings", f"a tariff is [second of the day, retail, feed-in], not {row!r}")
    before = -1
    for second, retail, feed_in in tariffs:
        if not before < second < DAY_S or not 0 <= feed_in <= retail:
            raise ContractError("bad-settings", "tariffs ascend by second of the day, and 0 <= feed-in <= retail")
        before = second
    if tariffs[0][0] != 0:
        raise ContractError("bad-settings", "the first tariff holds from second 0 of the day")
    most = max_price(slot_seconds)
    if max([retail for _, retail, _ in tariffs]) > most:
        raise ContractError("bad-settings", f"retail is at most {most}: {MAX_POWER_W} W for a slot cost at most 2^62")
    return tuple(tariffs)


def put_settings(ctx: Context, settings: Settings) -> None:
    """The market's rules from now on."""
    ctx.put(_SETTINGS, tuple(settings))


def settings_of(ctx: Context) -> Settings:
    """The market's settings. Raises ContractError("not-configured")."""
    raw = ctx.get(_SETTINGS)
    if raw is None:
        raise ContractError("not-configured", "the genesis document has no settings for the market")
    return Settings(*cast("Settings", raw))


def next_to_open(ctx: Context) -> int | None:
    """The first slot that never opened; None before the first block."""
    slot = ctx.get(_NEXT)
    return slot if isinstance(slot, int) else None


def set_next_to_open(ctx: Context, slot: int) -> None:
    """All slots below ``slot`` have been opened."""
    if ctx.get(_OLDEST) is None:
        ctx.put(_OLDEST, slot)
        ctx.put(_FIRST, slot)
    ctx.put(_NEXT, slot)


def span(ctx: Context) -> tuple[int, int] | None:
    """(the chain's first slot, the first that never opened): all products lie between; None before the first block."""
    first, end = ctx.get(_FIRST), next_to_open(ctx)
    return (first, end) if isinstance(first, int) and end is not None else None


def opened_within(ctx: Context, first: int, end: int) -> range:
    """The slots from ``first`` on, before ``end``, that opened: nothing was ever written of any other."""
    known = span(ctx) or (0, 0)
    return range(max(first, known[0]), min(end, known[1]))


def oldest_unfinished(ctx: Context) -> int:
    """The first slot that is not final yet."""
    slot = ctx.get(_OLDEST)
    return slot if isinstance(slot, int) else 0


def find(ctx: Context, slot: int) -> Product | None:
    """The product of a slot; None while it is FUTURE (or if the chain is younger than it)."""
    raw = ctx.get(_PRODUCT + uint(slot))
    return None if raw is None else Product(*cast("Product", raw))


def require(ctx: Context, slot: int) -> Product:
    """The product of a slot. Raises ContractError("no-product") for one that never opened."""
    product = find(ctx, slot)
    if product is None:
        raise ContractError("no-product", f"slot {slot} is not open yet, or older than the chain")
    return product


def is_final(ctx: Context, slot: int) -> bool:
    """Whether nothing about a past ``slot`` can change any more: it is FINAL, or older than the chain."""
    if slot >= (next_to_open(ctx) or 0):
        return False
    raw = ctx.get(_PRODUCT + uint(slot))
    return raw is None or cast("tuple[str, ...]", raw)[0] == FINAL


def put(ctx: Context, slot: int, product: Product) -> None:
    """Write a product."""
    ctx.put(_PRODUCT + uint(slot), tuple(product))


def totals_of(ctx: Context, slot: int) -> Totals:
    """What the product's auctions have contracted; all zeros before the first."""
    raw = ctx.get(_TOTALS + uint(slot))
    return Totals() if raw is None else Totals(*cast("Totals", raw))


def put_totals(ctx: Context, slot: int, totals: Totals) -> None:
    """Write them."""
    ctx.put(_TOTALS + uint(slot), tuple(totals))


def flows_of(ctx: Context, slot: int) -> tuple[int, ...]:
    """What is contracted over each line so far, Wh downwards; empty before the first auction, and once it is pruned."""
    return cast("tuple[int, ...] | None", ctx.get(_FLOWS + uint(slot))) or ()


def put_flows(ctx: Context, slot: int, flows: tuple[int, ...]) -> None:
    """Write it, or with () remove it."""
    if flows:
        ctx.put(_FLOWS + uint(slot), flows)
    else:
        ctx.delete(_FLOWS + uint(slot))


def enter(ctx: Context, slot: int, product: Product, state: str) -> Product:
    """Move a product to its next state, and tell."""
    product = product._replace(state=state)
    put(ctx, slot, product)
    ctx.emit("product", (), (slot, state))
    if state == FINAL and slot == oldest_unfinished(ctx):
        end = next_to_open(ctx) or 0
        while slot < end and is_final(ctx, slot):
            slot += 1
        ctx.put(_OLDEST, slot)
    return product


def _seconds(raw: dict[str, Value], name: str, default: int, least: int) -> int:
    value = raw.get(name, default)
    if type(value) is not int or not least <= value <= 400 * DAY_S:
        raise ContractError("bad-settings", f"{name} is an integer of seconds, {least} to {400 * DAY_S}, not {value!r}")
    return value


def _number(raw: dict[str, Value], name: str, default: int, most: int) -> int:
    value = raw.get(name, default)
    if type(value) is not int or not 0 <= value <= most:
        raise ContractError("bad-settings", f"{name} is an integer from 0 to {most}, not {value!r}")
    return value
