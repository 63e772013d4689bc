"""What is kept of the origin of energy, and what it is worked out from.

State: table ``origin-hold/``: slot(8) device -> Holding, of the slot under way; table
``origin-store/``: device -> Store; table ``origin-slot/``: network, slot(8) -> (Sums, (Given, ...), the first page of
(Used, ...)); table ``origin-used/``: network, slot(8) page(4) -> the other pages, from 1; table ``origin-period/``:
network, period(4) -> (slots, *Sums).
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, cast

from chaincode import (
    identity,
    market_certificate,
    market_orders,
    market_products,
    origin_lots,
    settlement_readings,
)
from chaincode.contract import Context, Value
from chaincode.identity import Device
from chaincode.keys import text, uint
from chaincode.market_products import Product
from chaincode.origin_assign import BOUGHT, OWN, UNDELIVERED, UTILITY, Generated, Given, Metered, Origin, Used, assign
from chaincode.origin_lots import Holding, Lot, Trade

STORES: Final = ("battery", "ev", "charger")
"""Kinds of devices that give out again what was put into them."""
PAGE_ROWS: Final = 128

_HOLDINGS: Final = b"origin-hold/"
_STORES: Final = b"origin-store/"
_SLOTS: Final = b"origin-slot/"
_USED: Final = b"origin-used/"
_PERIODS: Final = b"origin-period/"


class Store(NamedTuple):
    """What charged a store and was not given out again, in Wh: before ``slot``, the last one assigned, and after it."""

    slot: int
    before_wh: int
    before_renewable_wh: int
    wh: int
    renewable_wh: int


class Sums(NamedTuple):
    """Of a network or a device, in Wh: what was used, and what of it is renewable; used = bought + own + undelivered +
    utility. What was generated, and what of it is renewable; generated = sold + shared + fed.
    """

    used_wh: int = 0
    renewable_wh: int = 0
    bought_wh: int = 0
    own_wh: int = 0
    undelivered_wh: int = 0
    utility_wh: int = 0
    generated_wh: int = 0
    generated_renewable_wh: int = 0
    sold_wh: int = 0
    shared_wh: int = 0
    fed_wh: int = 0

    def plus(self, other: "Sums") -> "Sums":
        return Sums(*[one + two for one, two in zip(self, other, strict=True)])


def sums(used: Iterable[Used], given: Iterable[Given]) -> Sums:
    """The sums of these rows."""
    wh = dict.fromkeys((BOUGHT, OWN, UNDELIVERED, UTILITY), 0)
    renewable_wh = 0
    for part in used:
        wh[part.how] += part.wh
        renewable_wh += part.renewable_wh
    rows = list(given)
    made = [sum([row[column] for row in rows]) for column in range(1, 6)]  # type: ignore[misc]
    return Sums(sum(wh.values()), renewable_wh, *wh.values(), *made)


def trades_of(ctx: Context, slot: int, number: int, devices: dict[bytes, str]) -> list[Trade]:
    """An auction's trades between devices, in their order. ``devices``: whose orders are known, and will be."""
    auction = market_certificate.read(ctx, slot, number)
    rows = market_certificate.read_trades(ctx, slot, number, auction)
    for row in rows:
        for order in (row.sell, row.buy):
            if order not in devices:
                devices[order] = market_orders.require_order(ctx, order).device
    return [(devices[row.sell], devices[row.buy], row.energy_wh) for row in rows]


def holding_of(ctx: Context, slot: int, device: str) -> Holding | None:
    """What a device holds in the slot under way, after the auctions that are followed."""
    raw = ctx.get(_HOLDINGS + uint(slot) + text(device))
    if raw is None:
        return None
    promised_wh, lots = cast("tuple[int, tuple[tuple[str, int, int], ...]]", raw)
    return Holding(promised_wh, tuple([Lot(*lot) for lot in lots]))


def follow(ctx: Context, slot: int, number: int) -> int:
    """Follow one auction's trades; how many they are."""
    trades = trades_of(ctx, slot, number, {})
    before: dict[str, Holding] = {}
    for device in dict.fromkeys([name for seller, buyer, _ in trades for name in (seller, buyer)]):
        holding = holding_of(ctx, slot, device)
        if holding is not None:
            before[device] = holding
    for device, holding in origin_lots.follow(before, trades).items():
        rows: Value = tuple([tuple(lot) for lot in holding.lots])
        ctx.put(_HOLDINGS + uint(slot) + text(device), (holding.promised_wh, rows))
    return len(trades)


def followed(ctx: Context, slot: int) -> dict[str, Holding]:
    """What everybody holds after all auctions so far, worked out anew."""
    holdings: dict[str, Holding] = {}
    devices: dict[bytes, str] = {}
    for number in range(market_products.totals_of(ctx, slot).auctions):
        holdings |= origin_lots.follow(holdings, trades_of(ctx, slot, number, devices))
    return holdings


def origin_of(
    ctx: Context, network: str, slot: int, product: Product, holdings: dict[str, Holding] | None = None
) -> Origin:
    """Where a network's energy in a slot comes from, as far as is known now; a device that is not metered counts as
    off. ``holdings``: what everybody holds; if not given, what is kept of the slot under way.
    """
    held: dict[str, Holding] = {}
    metered = []
    generated: dict[str, Generated] = {}
    for name in identity.devices_of(ctx, network):
        device = identity.device_of(ctx, name)
        bus = identity.place_at(device, slot)
        reading = None if bus is None else settlement_readings.find(ctx, name, slot)
        if bus is None or reading is None:
            continue
        generated[name] = _generated(ctx, device, slot, reading.export_wh)
        metered.append(Metered(name, bus, reading.import_wh, generated[name]))
        holding = holding_of(ctx, slot, name) if holdings is None else holdings.get(name)
        if holding is not None:
            held[name] = holding
            for lot in holding.lots:
                if lot.source not in generated:
                    generated[lot.source] = generated_by(ctx, lot.source, slot)
    return assign(metered, held, generated, product.mix_permille)


def generated_by(ctx: Context, name: str, slot: int) -> Generated:
    """What a device generated in a slot; nothing if it is not metered."""
    device = identity.device_of(ctx, name)
    reading = settlement_readings.find(ctx, name, slot)
    if reading is None or identity.place_at(device, slot) is None:
        return Generated(0, 0)
    return _generated(ctx, device, slot, reading.export_wh)


def write(ctx: Context, network: str, slot: int, period: int, origin: Origin) -> None:
    """Keep the origin of a network's energy in a slot for good, and count it in its period and its stores."""
    at = text(network) + uint(slot)
    added = sums(origin.used, origin.given)
    given: Value = tuple([tuple(row) for row in origin.given])
    used: list[Value] = [tuple(part) for part in origin.used]
    ctx.put(_SLOTS + at, (tuple(added), given, tuple(used[:PAGE_ROWS])))
    for page in range(PAGE_ROWS, len(used), PAGE_ROWS):
        ctx.put(_USED + at + uint(page // PAGE_ROWS, 4), tuple(used[page : page + PAGE_ROWS]))
    slots, so_far = period_sums(ctx, network, period)
    ctx.put(_PERIODS + text(network) + uint(period, 4), (slots + 1, *so_far.plus(added)))
    for row in origin.given:
        if identity.device_of(ctx, row.device).kind in STORES:
            _charge(ctx, row, slot, [part for part in origin.used if part.device == row.device])
    for device in identity.devices_of(ctx, network):
        ctx.delete(_HOLDINGS + uint(slot) + text(device))


def read(ctx: Context, network: str, slot: int) -> Origin | None:
    """What ``write`` kept; None before."""
    at = text(network) + uint(slot)
    raw = ctx.get(_SLOTS + at)
    if raw is None:
        return None
    _, given, page = cast("tuple[Value, tuple[Given, ...], tuple[Used, ...]]", raw)
    used = list(page)
    while page and len(used) % PAGE_ROWS == 0:
        page = cast("tuple[Used, ...]", ctx.get(_USED + at + uint(len(used) // PAGE_ROWS, 4)) or ())
        used += page
    return Origin(tuple([Used(*part) for part in used]), tuple([Given(*row) for row in given]))


def sums_of(ctx: Context, network: str, slot: int) -> Sums | None:
    """A network's sums in a slot; None before they are known for good."""
    raw = ctx.get(_SLOTS + text(network) + uint(slot))
    return None if raw is None else Sums(*cast("tuple[tuple[int, ...], Value, Value]", raw)[0])


def period_sums(ctx: Context, network: str, period: int) -> tuple[int, Sums]:
    """How many slots of a period are assigned for a network, and their sums."""
    raw = ctx.get(_PERIODS + text(network) + uint(period, 4))
    if raw is None:
        return 0, Sums()
    slots, *added = cast("tuple[int, ...]", raw)
    return slots, Sums(*added)


def store_of(ctx: Context, device: str, slot: int) -> tuple[int, int]:
    """(Wh, renewable Wh) in a store before ``slot``, of whose origins all earlier ones are known."""
    raw = ctx.get(_STORES + text(device))
    if raw is None:
        return 0, 0
    store = Store(*cast("tuple[int, int, int, int, int]", raw))
    return store[1:3] if store.slot == slot else store[3:5]


def _generated(ctx: Context, device: Device, slot: int, export_wh: int) -> Generated:
    if device.kind not in STORES:
        return Generated(export_wh, export_wh if device.renewable else 0)
    wh, renewable_wh = store_of(ctx, device.id, slot)
    return Generated(export_wh, renewable_wh * min(export_wh, wh) // wh if wh else 0)


def _charge(ctx: Context, given: Given, slot: int, used: list[Used]) -> None:
    """A store gives out what it generated, and takes in what it used."""
    wh, renewable_wh = store_of(ctx, given.device, slot)
    after_wh = wh - min(given.wh, wh) + sum([part.wh for part in used])
    after_renewable_wh = renewable_wh - given.renewable_wh + sum([part.renewable_wh for part in used])
    ctx.put(_STORES + text(given.device), (slot, wh, renewable_wh, after_wh, after_renewable_wh))
