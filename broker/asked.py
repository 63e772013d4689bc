"""What a broker asks the ledger for: answers of queries as the figures that it reckons with."""

from collections.abc import Iterable
from typing import NamedTuple

from broker.decision import Budget, Terms
from broker.site_view import Reading
from chaincode import budget_state
from cli.answers import BUDGET, PRODUCT, record, records
from node.errors import RefusedError
from node.gateway.client import Client

CUT_OFF = (budget_state.LIMITED, budget_state.GRACE)
"""The states of a device that may not buy."""


class Period(NamedTuple):
    """A network's billing period: slots from ``first`` on, before ``end``."""

    number: int
    first: int
    end: int


class Cleared(NamedTuple):
    """A slot whose gate has passed. ``prices``: by bus, of its last auction; empty if there was none."""

    terms: Terms
    traded_wh: int
    prices: dict[str, int]


async def span(client: Client) -> tuple[int, int]:
    """(the chain's first slot, the first that has not opened)."""
    match await client.query("market", "span"):
        case (int(first), int(end)):
            return first, end
    raise RefusedError("no-block", "the chain has no slots before its first block")


async def readings(client: Client, devices: Iterable[str], first: int, end: int) -> list[Reading]:
    """What stands for the devices' slots from ``first`` on, before ``end``, all of which have opened."""
    found = []
    names = tuple(devices)
    for slot in range(first, end):
        for device in names:
            match await client.query("settlement", "reading", {"device": device, "slot": slot}):
                case (int(import_wh), int(export_wh), _, _, bool(estimated), *_):
                    found.append(Reading(slot, device, import_wh, export_wh, not estimated))
    return found


async def opened(client: Client) -> list[tuple[int, int, int, int]]:
    """(slot, gate, retail, feed-in) of the products that there are."""
    rows = records(await client.query("market", "products"), PRODUCT)
    return [(row["slot"], row["gate"], row["retail"], row["feed_in"]) for row in rows]


async def period_of(client: Client, network: str, slot: int) -> Period:
    """The billing period in which the slot lies."""
    match await client.query("budget", "period", {"network": network, "slot": slot}):
        case (int(number), int(first), int(end), *_):
            return Period(number, first, end)
    raise RefusedError("bad-answer", "the node's answer is no billing period: another version?")


async def budget(client: Client, devices: Iterable[str], period: Period, now: int, slot_seconds: int) -> Budget:
    """The tokens of the devices in the period; none of those that may not buy."""
    available: dict[str, int] = {}
    allocated = 0
    for device in devices:
        row = record(await client.query("budget", "budget", {"device": device, "period": period.number}), BUDGET)
        available[device] = 0 if row["state"] in CUT_OFF else row["available"]
        allocated += row["allocated"]
    left = 1000 * sum(available.values()) // allocated if allocated else 0
    length = max(1, (period.end - period.first) * slot_seconds)
    time_left = 1000 * max(0, period.end * slot_seconds - now) // length
    return Budget(period.number, available, min(1000, left), min(1000, time_left))


async def cleared(client: Client, slot: int) -> Cleared:
    """At what prices the slot cleared. Raises RefusedError: "no-product", or "pruned" if that has been deleted."""
    product = record(await client.query("market", "product", {"slot": slot}), PRODUCT)
    prices: dict[str, int] = {}
    match await client.query("market", "prices", {"slot": slot}):
        case (_, _, tuple(pairs)):
            prices = {row["bus"]: row["price"] for row in records(pairs, ("bus", "price"))}
    terms = Terms(product["gate"], product["retail"], product["feed_in"])
    return Cleared(terms, product["energy_wh"], prices)
