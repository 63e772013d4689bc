"""What a regulator gets: the tables of an audit, asked from a ledger in one fixed order.

The order is fixed so that the same questions can be asked again of the answers that were exported with the tables
(``node/export.py``): then every row is made anew from entries that are proven, and compared. Nothing can be missing
either: which slots, networks, devices, periods and alerts there are is itself answered, with proofs. What the ledger
has deleted is listed with the digests that it keeps (table ``deleted``; ``erased`` of ``networks`` and ``devices``).

A part that the reader may not see is left out and named (``Scope.left_out``); the node's word is all there is for that.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast

from chaincode.contract import ContractError
from chaincode.settlement_ledger import Entry, Settled
from chaincode.settlement_readings import Reading
from cli.answers import ALERT, NETWORK_BUDGET, ORDER, PRODUCT, Reader, as_rows
from cli.slots import slot_seconds_of
from cli.statement_facts import Fill, gather_device, gather_slots
from cli.units import clock
from node.errors import RefusedError
from node.model.codec import Value

T = TypeVar("T")

_UNSEEN: Final = ("not-allowed", "sign-first")
_ERASED: Final = ("asked", "first_kept", "entries", "digest", "due")
_BILL: Final = ("network", "period", "slots", "cost", "utility_only_cost", "rent")
_READING: Final = Reading._fields[:-1]
_RULES: Final = ("version", "height", "time", "proposal")
PAGE: Final = 100

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "products": PRODUCT,
    "tariffs": ("slot", "starts", "ends", "retail", "feed_in", "internal", "mix_permille"),
    "deleted": ("slot", "table", "entries", "digest"),
    "supply": ("issued", "redeemed"),
    "rules": _RULES,
    "upgrades": ("name", "digest", "height", "contracts"),
    "epochs": ("epoch", "first_height", "validators"),
    "parked": ("network", "slot", "code", "time", "unit", "released"),
    "networks": ("network", "member", "bus", "devices", *(f"erased_{name}" for name in _ERASED)),
    "settlements": ("network", "slot", "state", "note", *Settled._fields),
    "entries": ("network", "slot", *Entry._fields),
    "bills": (*_BILL, *Settled._fields),
    "budgets": ("network", "period", *NETWORK_BUDGET),
    "alerts": ("network", *ALERT),
    "devices": ("device", "network", "kind", "import_w", "export_w", "renewable", *(f"erased_{n}" for n in _ERASED)),
    "readings": ("device", "slot", *_READING),
    "orders": ORDER,
    "trades": ("device", *Fill._fields),
}
"""Table -> its columns. Energy in Wh, money in base units, prices in base units per Wh, times in s since 1970 (UTC)."""


class Scope(NamedTuple):
    """What is asked for: slots from ``first`` on, before ``end`` (None: all there are), of ``networks`` (None: of all);
    ``devices``: whether each device's rows are asked for; ``left_out``: (part, name) that the reader may not see."""

    first: int | None
    end: int | None
    networks: tuple[str, ...] | None = None
    devices: bool = True
    left_out: tuple[tuple[str, str], ...] = ()


class Tables(NamedTuple):
    """What was found: rows by table; ``scope`` with what came out of it; ``slot_seconds``."""

    scope: Scope
    slot_seconds: int
    rows: dict[str, list[tuple[Value, ...]]]


Told = Callable[[str], None]
"""Is told what is being asked about, for people who wait."""


async def collect(read: Reader, scope: Scope, tell: Told = lambda what: None, *, again: bool = False) -> Tables:
    """Ask for everything. ``again``: of answers that were exported: what is left out is known then.

    Raises RefusedError: "no-product" if the chain has none in the range, and what ``read`` raises.
    """
    return await _Collection(read, scope, tell, again).run()


class _Collection:
    def __init__(self, read: Reader, scope: Scope, tell: Told, again: bool) -> None:
        self._read = read
        self._scope = scope
        self._tell = tell
        self._again = again
        self._left_out = list(scope.left_out)
        self._rows: dict[str, list[tuple[Value, ...]]] = {name: [] for name in COLUMNS}

    async def run(self) -> Tables:
        slot_seconds = await slot_seconds_of(self._read)
        span = as_rows(await self._read("market", "span", {}) or ())
        if not span:
            raise RefusedError("no-product", "the ledger has no products yet")
        start, stop = cast("tuple[int, int]", span)
        first = start if self._scope.first is None else max(start, self._scope.first)
        end = stop if self._scope.end is None else min(stop, self._scope.end)
        if first >= end:
            times = [clock(slot * slot_seconds)[:16] for slot in (start, stop)]
            raise RefusedError("no-product", f"the ledger has products from {times[0]} to {times[1]} UTC only")
        self._first, self._end, self._times = first, end, (first * slot_seconds, end * slot_seconds)
        await self._market()
        networks = self._scope.networks
        if networks is None:
            try:
                networks = await self._pages("identity", "networks", {}, 500, names=True)
            except RefusedError as error:
                if error.code not in _UNSEEN:
                    raise
                message = f"{error.message}: which networks there are; name those that it may see by --network"
                raise RefusedError(error.code, message) from error
        for network in networks:
            await self._seen("network", network, lambda name=network: self._network(name))  # type: ignore[misc]
        scope = self._scope._replace(first=first, end=end, left_out=tuple(self._left_out))
        return Tables(scope, slot_seconds, self._rows)

    async def _market(self) -> None:
        """What is public: products with their tariffs, what is deleted, rules, code, members, supply, what waits."""
        for slot in range(self._first, self._end):
            self._tell(f"slot {slot}")
            try:
                row = dict(zip(PRODUCT, as_rows(await self._read("market", "product", {"slot": slot})), strict=True))
            except (RefusedError, ContractError) as error:
                if error.code != "no-product":
                    raise
                continue
            self._rows["products"].append(tuple(row.values()))
            self._rows["tariffs"].append(tuple([row[name] for name in COLUMNS["tariffs"]]))
            parts = as_rows(await self._read("market", "pruned", {"slot": slot}) or ())
            self._rows["deleted"] += [(slot, *as_rows(part)) for part in parts]
        self._rows["supply"].append(as_rows(await self._read("accounts", "supply", {})))
        rules = await self._pages("rules", "history", {}, PAGE)
        self._rows["rules"] += [as_rows(row)[: len(_RULES)] for row in rules]
        self._rows["upgrades"] += [as_rows(row) for row in as_rows(await self._read("motions", "upgrades", {}))]
        self._rows["epochs"] += [as_rows(row) for row in await self._pages("governance", "epochs", {}, PAGE)]
        await self._seen("parked", "", self._parked)

    async def _parked(self) -> None:
        rows = [as_rows(row) for row in await self._pages("settlement", "parked", {}, 500)]
        self._rows["parked"] += [row for row in rows if self._first <= cast("int", row[1]) < self._end]

    async def _network(self, network: str) -> None:
        self._tell(network)
        _, member, _, bus, devices = as_rows(await self._read("identity", "network", {"network": network}))
        erased = await self._erased(network)
        self._rows["networks"].append((network, member, bus, devices, *erased))
        await self._seen("settlement", network, lambda: self._settlement(network))
        await self._seen("budget", network, lambda: self._budget(network))
        if self._scope.devices:
            for device in as_rows(await self._read("identity", "devices", {"network": network})):
                name = cast("str", device)
                await self._seen("device", name, lambda name=name: self._device(network, name))  # type: ignore[misc]

    async def _erased(self, network: str, device: str = "") -> tuple[Value, ...]:
        """What was erased at the owner's request: that it is missing, and of which digest."""
        found: list[tuple[Value, ...]] = []

        async def ask() -> None:
            args = {"network": network, **({"device": device} if device else {})}
            found.append(as_rows(await self._read("erasure", "erased", args) or ()))

        await self._seen("erased", device or network, ask)
        return found[0] if found and found[0] else (None,) * len(_ERASED)

    async def _settlement(self, network: str) -> None:
        for slot in (await gather_slots(self._read, network, self._first, self._end)).values():
            sums: Sequence[Value] = (None,) * len(Settled._fields) if slot.sums is None else slot.sums
            self._rows["settlements"].append((network, slot.slot, slot.state, slot.note, *sums))
            self._rows["entries"] += [(network, slot.slot, *entry) for entry in slot.entries]
        for period in await self._periods(network):
            bill = as_rows(await self._read("settlement", "bill_of_period", {"network": network, "period": period}))
            self._rows["bills"].append((network, period, *bill))

    async def _budget(self, network: str) -> None:
        for period in await self._periods(network):
            row = as_rows(await self._read("budget", "network_budget", {"network": network, "period": period}))
            self._rows["budgets"].append((network, period, *row))
        for row in await self._pages("budget", "alerts", {"network": network}, 500):
            alert = as_rows(row)
            if self._times[0] <= cast("int", alert[ALERT.index("time")]) < self._times[1]:
                self._rows["alerts"].append((network, *alert))

    async def _periods(self, network: str) -> list[int]:
        """The billing periods of a network that have slots in the range."""
        found, slot = [], self._first
        while slot < self._end:
            answer = as_rows(await self._read("budget", "period", {"network": network, "slot": slot}))
            period, _, slot = cast("tuple[int, int, int]", answer[:3])
            found.append(period)
        return found

    async def _device(self, network: str, device: str) -> None:
        row = as_rows(await self._read("identity", "device", {"device": device}))
        _, _, kind, _, _, import_w, export_w, _, renewable, _ = row
        erased = await self._erased(network, device)
        self._rows["devices"].append((device, network, kind, import_w, export_w, renewable, *erased))
        found = await gather_device(self._read, device, self._first, self._end, {})
        for slot, each in found.held.items():
            for reading in each.readings:
                self._rows["readings"].append((device, slot, *reading[:-1]))
            if each.position is not None and each.position.orders:
                self._rows["orders"] += await self._orders(device, slot)
        self._rows["trades"] += [(device, *fill) for fill in found.fills]

    async def _orders(self, device: str, slot: int) -> list[tuple[Value, ...]]:
        """A device's orders in a slot, part by part, newest first."""
        rows: list[tuple[Value, ...]] = []
        while True:
            before = {"before": rows[-1][0]} if rows else {}
            args = {"device": device, "slot": slot, "most": PAGE, **before}
            page = [as_rows(row) for row in as_rows(await self._read("market", "orders", args))]
            rows += page
            if len(page) < PAGE:
                return rows

    async def _seen(self, part: str, name: str, ask: Callable[[], Awaitable[None]]) -> None:
        """Ask for a part, unless the reader may not see it: then it is left out as a whole."""
        if (part, name) in self._left_out:
            return
        before = {table: len(rows) for table, rows in self._rows.items()}
        try:
            await ask()
        except RefusedError as error:
            if error.code not in _UNSEEN or self._again:
                raise
            self._left_out.append((part, name))
            for table, count in before.items():
                del self._rows[table][count:]

    async def _pages(self, contract: str, method: str, args: dict[str, Any], page: int, *, names: bool = False) -> Any:
        rows: list[Value] = []
        while True:
            found = as_rows(await self._read(contract, method, {**args, "first": len(rows)}))
            rows += found
            if len(found) < page:
                return tuple(rows) if names else rows
