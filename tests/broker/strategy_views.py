"""Random views for strategies, and the market's rules as a check on what they wish."""

from hypothesis import strategies as st

from broker.site import Battery, Panels, Site, Vehicle
from broker.view import Curve, SlotView, Step, Wish

SLOT = 482_000
SITE = Site(
    network="home-01",
    bus="street",
    load="home-01/load",
    panels=Panels("home-01/pv", 4000),
    battery=Battery("home-01/battery", 6400, 5000, 5000, 900),
    vehicle=Vehicle("home-01/ev", "bev", 40_000, 3600, 3600, 900, 180, 4000),
    slot_seconds=3600,
    import_w={"home-01/load": 10_000, "home-01/pv": 0, "home-01/battery": 5000, "home-01/ev": 3600},
    export_w={"home-01/load": 0, "home-01/pv": 4000, "home-01/battery": 5000, "home-01/ev": 3600},
)
PLENTY = 10**15


def view(
    *steps: tuple[str, int, int],
    start: int = 0,
    positions: dict[str, int] | None = None,
    retail: int = 220_000,
    feed_in: int = 80_000,
    expected: tuple[int, ...] = (),
    tokens: int = PLENTY,
    to_gate: int = 3000,
    budget_permille: int = 500,
    time_permille: int = 500,
    renewable_permille: int = 200,
    experience: int = 10,
    seed: int = 1,
) -> SlotView:
    """Steps are (device without its network, Wh, value); positions are by the same names."""
    named = {f"home-01/{device}": wh for device, wh in (positions or {}).items()}
    held = dict.fromkeys(SITE.devices, 0) | named
    gate = (SLOT + 1) * 3600 - 600
    span = retail - feed_in
    levels = expected or tuple(feed_in + span * (2 * each + 1) // 20 for each in range(10))
    curve = Curve(start, tuple(Step(f"home-01/{device}", wh, value, "a reason") for device, wh, value in steps))
    return SlotView(
        SITE, "street", gate - to_gate, SLOT, gate, retail, feed_in, curve, held, levels, experience,
        dict.fromkeys(held, tokens), budget_permille, time_permille, renewable_permille, seed,
    )  # fmt: skip


@st.composite
def views(draw: st.DrawFn) -> SlotView:
    """Of one slot: any curve, positions, tariffs and tokens, sensible or not."""
    feed_in = draw(st.sampled_from([-50_000, 0, 40_000, 80_000]))
    retail = feed_in + draw(st.sampled_from([-1, 0, 1, 30_000, 140_000, 400_000]))
    price = st.integers(min(feed_in, retail) - 60_000, max(feed_in, retail) + 60_000)
    names = [device.removeprefix("home-01/") for device in SITE.devices]
    rows = draw(st.lists(st.tuples(st.sampled_from(names), st.integers(1, 4000), price), max_size=14))
    rows.sort(key=lambda row: -row[2])
    positions = {}
    for name, device in zip(names, SITE.devices, strict=True):
        export = SITE.slot_wh(SITE.export_w[device])
        positions[name] = draw(st.integers(-export, SITE.slot_wh(SITE.import_w[device])))
    return view(
        *rows,
        start=draw(st.integers(-8000, 2000)),
        positions=positions if draw(st.booleans()) else None,
        retail=retail,
        feed_in=feed_in,
        expected=tuple(sorted(draw(st.lists(price, min_size=10, max_size=10)))),
        tokens=draw(st.sampled_from([0, 3_000_000, 90_000_000, PLENTY])),
        to_gate=draw(st.sampled_from([-5, 0, 600, 1200, 3000, 40_000])),
        budget_permille=draw(st.integers(0, 1000)),
        time_permille=draw(st.integers(0, 1000)),
        renewable_permille=draw(st.integers(0, 1000)),
        experience=draw(st.integers(0, 40)),
        seed=draw(st.integers(0, 2**32)),
    )


def worth(seen: SlotView, wishes: tuple[Wish, ...]) -> int:
    """The least that the site gains by its own curve if all is filled at the limits, base units."""
    total, position = 0, seen.position_wh
    for wish in sorted(wishes, key=lambda each: each.price, reverse=wishes[0].side == "buy" if wishes else False):
        sign = 1 if wish.side == "buy" else -1
        after = position + sign * wish.energy_wh
        total += value_between(seen, position, after) - sign * wish.energy_wh * wish.price
        position = after
    return total


def value_between(seen: SlotView, low: int, high: int) -> int:
    """What the site's curve says that ``high`` is worth more than ``low``; below all steps retail, beyond feed-in."""
    if low > high:
        return -value_between(seen, high, low)
    total, at = 0, seen.curve.start_wh
    total += max(0, min(high, at) - low) * seen.retail
    for step in seen.curve.steps:
        total += max(0, min(high, at + step.energy_wh) - max(low, at)) * step.value
        at += step.energy_wh
    return total + max(0, high - max(low, at)) * seen.feed_in


def assert_lawful(seen: SlotView, wishes: tuple[Wish, ...]) -> None:
    """What the market would refuse."""
    assert len({wish.side for wish in wishes}) <= 1
    ordered: dict[str, int] = {}
    held: dict[str, int] = {}
    for wish in wishes:
        assert wish.device in seen.positions
        assert wish.energy_wh >= 100
        assert 0 <= seen.feed_in <= wish.price <= seen.retail
        assert wish.why
        ordered[wish.device] = ordered.get(wish.device, 0) + wish.energy_wh
        if wish.side == "buy":
            held[wish.device] = held.get(wish.device, 0) + wish.energy_wh * wish.price
    for device, energy in ordered.items():
        position, site = seen.positions[device], seen.site
        if wishes[0].side == "buy":
            assert energy <= site.slot_wh(site.import_w[device]) - position
        else:
            assert energy <= site.slot_wh(site.export_w[device]) + position
    for device, amount in held.items():
        assert amount <= seen.available[device]
