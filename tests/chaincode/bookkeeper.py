"""A second bookkeeping of a market, from what its blocks tell alone: transfers, fills, trades, readings, moves.

It shares no code with the contracts: what a slot comes to, how rent is divided and what everybody has is worked out
here again from the rules as docs/market.md and docs/settlement.md state them, and compared with what the contracts say.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from chaincode.contract import Event

STATES = ("OPEN", "CLOSED", "DELIVERED", "METERED", "SETTLED", "FINAL")


class Terms(NamedTuple):
    """Of a slot, as pinned: base units per Wh, and the billing period."""

    retail: int
    feed_in: int
    internal: int
    period: int


class Contract(NamedTuple):
    """Of a device in a slot: Wh, and base units."""

    bought_wh: int = 0
    sold_wh: int = 0
    paid: int = 0
    tolls: int = 0
    proceeds: int = 0


class Sums(NamedTuple):
    """Of a network in a slot, in the order of ``settlement/settled``: its figures 2 to 12, 14 to 17."""

    bought_wh: int
    bought: int
    tolls: int
    sold_wh: int
    sold: int
    internal_wh: int
    internal: int
    retail_wh: int
    retail: int
    feed_in_wh: int
    feed_in: int
    utility_only: int
    import_wh: int
    export_wh: int
    estimated: int


def shares(amount: int, weights: Mapping[str, int]) -> dict[str, int]:
    """``amount`` in proportion to ``weights``: largest remainder, then name."""
    whole = sum(weights.values())
    if not whole:
        return {}
    parts = {name: amount * weight // whole for name, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda name: (-(amount * weights[name] % whole), name))
    for name in by_remainder[: amount - sum(parts.values())]:
        parts[name] += 1
    return parts


class Bookkeeper:
    """``devices``: device -> (network, first bus); ``terms``: what a slot's product has pinned; ``auction``: the rent
    and the trades of one, by slot and number.
    """

    def __init__(
        self,
        devices: Mapping[str, tuple[str, str]],
        terms: Callable[[int], Terms],
        auction: Callable[[int, int], tuple[int, Sequence[Sequence[Any]]]],
    ) -> None:
        self.terms = terms
        self.auction = auction
        self.network_of = {device: network for device, (network, _) in devices.items()}
        self.places = {device: [(0, bus)] for device, (_, bus) in devices.items()}
        self.balances: dict[str, int] = {}
        self.issued = self.redeemed = 0
        self.device_of_order: dict[bytes, str] = {}
        self.contracts: dict[tuple[str, int], Contract] = {}
        self.rows: dict[tuple[str, int], tuple[int, int, bool]] = {}  # Wh in, Wh out, estimated
        self.registers: dict[tuple[str, int], tuple[int, int]] = {}
        self.states: dict[int, list[str]] = {}
        self.settled: dict[tuple[str, int], Sums] = {}
        self.into: dict[tuple[str, int], int] = {}  # what a slot's settlement moved into a network's accounts
        self.owed_of_slot: dict[tuple[str, int], int] = {}
        self.owed: dict[str, int] = {}
        self.rent: dict[int, int] = {}
        self.returned: dict[int, dict[str, int]] = {}
        self.closed: set[int] = set()
        self.pruned: set[int] = set()

    def read(self, events: Iterable[Event]) -> None:
        """Enter what was told, in order."""
        for event in events:
            data: Any = event.data
            if event.topic == "transfer":
                self._transfer(*data)
            elif event.topic == "order":
                self.device_of_order[data[0]] = event.keys[0]
            elif event.topic == "fill":
                self._fill(event.keys[0], *data)
            elif event.topic == "auction":
                self._traded(data[0], *self.auction(data[0], data[1]))
            elif event.topic in ("reading", "corrected", "spread", "estimated"):
                self._row(event.topic, event.keys[0], data)
            elif event.topic == "device-moved":
                bus, slot = data
                self.places[event.keys[0]] = [at for at in self.places[event.keys[0]] if at[0] < slot] + [(slot, bus)]
            elif event.topic == "product":
                self._product(*data)
            elif event.topic in ("settled", "settled-anew"):
                self._settled(event.topic, event.keys[0], *data)
            elif event.topic == "owed":
                self._owed(event.keys[0], *data)
            elif event.topic == "owed-paid":
                self.owed[self.network_of[event.keys[0]]] -= data[1]
            elif event.topic == "rent":
                self.returned.setdefault(data[0], {})[event.keys[0]] = data[1]
            elif event.topic == "rent-returned":
                self._rent_returned(*data)
            elif event.topic == "pruned":
                self.pruned.add(data[0])

    def _traded(self, slot: int, rent: int, trades: Sequence[Sequence[Any]]) -> None:
        period = self.terms(slot).period
        self.rent[period] = self.rent.get(period, 0) + rent
        for buy, _, wh, _, _, toll in trades:
            if not toll:
                continue
            device = self.device_of_order[buy]
            of = self.contracts[device, slot]
            self.contracts[device, slot] = of._replace(tolls=of.tolls + toll * wh)

    def place_of(self, device: str, slot: int) -> str | None:
        """Where a device hung."""
        found = [bus for first, bus in self.places[device] if first <= slot]
        return (found[-1] or None) if found else None

    def _transfer(self, source: str, target: str, amount: int, reason: str, reference: bytes) -> None:
        assert amount > 0
        if source == "issued":
            self.issued += amount
        else:
            self.balances[source] = self.balances.get(source, 0) - amount
            assert self.balances[source] >= 0, f"{source} is below zero"
        if target == "redeemed":
            self.redeemed += amount
        else:
            self.balances[target] = self.balances.get(target, 0) + amount
        kind = reference[: len(b"settle ")]
        if reason != "owed" and kind in (b"settle ", b"correct"):
            slot = int.from_bytes(reference[-8:], "big")
            for sign, account in ((-1, source), (1, target)):
                network = self._owner(account)
                if network is not None:
                    self.into[network, slot] = self.into.get((network, slot), 0) + sign * amount

    def _owner(self, account: str) -> str | None:
        kind, _, rest = account.partition(":")
        if kind == "pool":
            return rest.partition(":")[0]
        return self.network_of[rest.rpartition(":")[0]] if kind in ("device", "reserved") else None

    def _fill(self, device: str, order: bytes, _: str, slot: int, side: str, wh: int, price: int, __: int) -> None:
        assert self.device_of_order[order] == device
        assert self.states[slot][-1] == "OPEN", "filled when the product is not open"
        of = self.contracts.get((device, slot), Contract())
        if side == "buy":
            of = of._replace(bought_wh=of.bought_wh + wh, paid=of.paid + wh * price)
        else:
            of = of._replace(sold_wh=of.sold_wh + wh, proceeds=of.proceeds + wh * price)
        self.contracts[device, slot] = of

    def _row(self, topic: str, device: str, data: Sequence[int]) -> None:
        slot = data[0]
        energy = data[1:3] if topic in ("reading", "estimated") else data[2:4]
        assert self.states[slot][-1] != "FINAL", "a final slot's reading changes"
        assert min(energy) >= 0
        if topic == "reading":
            assert (device, slot) not in self.rows, "read twice"
        if topic == "estimated":
            assert (device, slot) not in self.rows, "estimated what was read"
        if topic in ("reading", "corrected"):
            registers = tuple(data[-2:])
            self.registers[device, slot] = (registers[0], registers[1])
        self.rows[device, slot] = (energy[0], energy[1], topic == "estimated")

    def _product(self, slot: int, state: str) -> None:
        before = self.states.setdefault(slot, [])
        stage = "METERED" if state == "ESTIMATED" else state
        assert len(before) < len(STATES) and STATES[len(before)] == stage, f"slot {slot}: {before}, then {state}"
        before.append(stage)
        if stage == "METERED":
            missing = [
                device
                for device in self.places
                if self.place_of(device, slot) is not None and (device, slot) not in self.rows
            ]
            assert not missing, f"slot {slot} is metered without {missing}"

    def _settled(self, topic: str, network: str, slot: int, *figures: int) -> None:
        assert (topic == "settled") == ((network, slot) not in self.settled), "settled twice, or anew before"
        assert self.states[slot][-1] in ("METERED", "SETTLED"), "settled too early, or when final"
        told = Sums(*figures[1:12], *figures[13:17])
        worked_out = self.work_out(network, slot)
        assert told == worked_out, f"{network} in slot {slot}: {told}, by the rules {worked_out}"
        owed = self.owed_of_slot.get((network, slot), 0)
        assert figures[12] == owed, f"{network} in slot {slot} owes {figures[12]}, told were {owed}"
        due = told.sold + told.feed_in - told.retail + owed
        moved = self.into.get((network, slot), 0)
        assert moved == due, f"{network} in slot {slot}: {moved} moved, {due} due"
        self.settled[network, slot] = told

    def work_out(self, network: str, slot: int) -> Sums:
        """What a network's slot comes to, by the rules."""
        terms = self.terms(slot)
        at: dict[str, dict[str, int]] = {}
        total = dict.fromkeys(Sums._fields, 0)
        flows: dict[str, int] = {}
        for device in sorted(device for device, owner in self.network_of.items() if owner == network):
            bus = self.place_of(device, slot)
            of = self.contracts.get((device, slot), Contract())
            if bus is None:
                assert of == Contract(), "contracted and connected nowhere"
                continue
            import_wh, export_wh, estimated = self.rows[device, slot]
            at.setdefault(bus, {})[device] = import_wh - export_wh - (of.bought_wh - of.sold_wh)
            flows[bus] = flows.get(bus, 0) + import_wh - export_wh
            total["bought_wh"] += of.bought_wh
            total["bought"] += of.paid - of.tolls
            total["tolls"] += of.tolls
            total["sold_wh"] += of.sold_wh
            total["sold"] += of.proceeds
            total["import_wh"] += import_wh
            total["export_wh"] += export_wh
            total["estimated"] += estimated
        for deviations in at.values():
            short = sum(wh for wh in deviations.values() if wh > 0)
            surplus = -sum(wh for wh in deviations.values() if wh < 0)
            inside = min(short, surplus)
            total["internal_wh"] += inside
            total["internal"] += inside * terms.internal
            total["retail_wh"] += short - inside
            total["retail"] += (short - inside) * terms.retail
            total["feed_in_wh"] += surplus - inside
            total["feed_in"] += (surplus - inside) * terms.feed_in
        for wh in flows.values():
            total["utility_only"] += wh * (terms.retail if wh > 0 else terms.feed_in)
        return Sums(**total)

    def _owed(self, device: str, _: int, amount: int, __: str, reference: bytes) -> None:
        network, slot = self.network_of[device], int.from_bytes(reference[-8:], "big")
        self.owed[network] = self.owed.get(network, 0) + amount
        self.owed_of_slot[network, slot] = self.owed_of_slot.get((network, slot), 0) + amount

    def tolls_of(self, period: int) -> dict[str, int]:
        """By network, the tolls for what it bought at a bus and did not sell again there in the same slot."""
        there: dict[tuple[str, int, str | None], list[Contract]] = {}
        for (device, slot), of in self.contracts.items():
            if self.terms(slot).period == period:
                there.setdefault((self.network_of[device], slot, self.place_of(device, slot)), []).append(of)
        tolls: dict[str, int] = {}
        for (network, _, _), contracts in there.items():
            bought, paid = sum(of.bought_wh for of in contracts), sum(of.tolls for of in contracts)
            kept = bought - sum(of.sold_wh for of in contracts)
            if kept > 0 and paid:
                tolls[network] = tolls.get(network, 0) + paid * kept // bought
        return {network: paid for network, paid in tolls.items() if paid}

    def _rent_returned(self, period: int, rent: int, returned: int) -> None:
        assert period not in self.closed, "returned twice"
        self.closed.add(period)
        expected = self.rent.get(period, 0)
        if not self.tolls_of(period):
            assert returned == 0
            return
        carried, before = 0, period - 1
        while before in self.rent and not self.tolls_of(before):
            carried += self.rent[before]
            before -= 1
        assert rent == returned == expected + carried
        told = {network: amount for network, amount in self.returned.get(period, {}).items() if amount}
        parts = shares(rent, self.tolls_of(period))
        assert told == {network: amount for network, amount in parts.items() if amount}
