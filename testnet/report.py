"""What the demo's day came to, read from the ledger: queries at a gateway and the blocks themselves, nothing else.

``make_report`` reads, ``faults`` says what is wrong with it (a report that hides an error is worse than none),
``print_report`` and ``report_json`` show it. Energies in Wh, money in base units, as everywhere.
"""

import json
import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, cast

from chaincode.market_certificate import Auction
from chaincode.market_products import FINAL, SETTLED
from chaincode.settlement_ledger import Settled
from cli.answers import ALERT, BUDGET, PRODUCT, SHARE, all_records, as_rows, record, records
from node.gateway.client import Client
from testnet.cluster import Agreement
from testnet.community import SLOTS, Community
from testnet.demo_day import Outage
from testnet.demo_world import POOR_EV, SLOT_S, World, device
from testnet.genesis import Network

BILL = ("slots", "cost", "utility_only", *Settled._fields)


@dataclass(frozen=True, slots=True)
class SlotResult:
    """One product. ``paid`` by buyers, ``received`` by sellers; ``full_lines``: those contracted up to their limit."""

    slot: int
    state: str
    auctions: int
    trades: int
    energy_wh: int
    paid: int
    received: int
    tolls: int
    rent: int
    retail: int
    feed_in: int
    full_lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChainResult:
    """The blocks. ``codes``: how many transactions ended so; ``busiest_second``: most in one second of real time."""

    height: int
    root: str
    nodes: int
    agree: bool
    blocks: int
    transactions: int
    codes: dict[str, int]
    seconds: float
    per_second: float
    busiest_second: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything. ``homes``: network -> the fields of BILL; ``shares``, ``alerts``: the day's, with the fields of SHARE
    and ALERT; ``supply``: (issued, redeemed, sum of balances)."""

    date: str
    seconds: float
    cores: int
    slots: list[SlotResult]
    homes: dict[str, dict[str, int]]
    shares: list[dict[str, Any]]
    alerts: list[dict[str, Any]]
    helped: dict[str, Any]
    supply: tuple[int, int, int]
    chain: ChainResult
    outage: Outage | None

    @property
    def traded_wh(self) -> int:
        """What homes bought from homes."""
        return sum(slot.energy_wh for slot in self.slots)

    @property
    def cost(self) -> int:
        """What all homes together paid."""
        return sum(home["cost"] for home in self.homes.values())

    @property
    def utility_only(self) -> int:
        """What the same energy would have cost them with the utility alone."""
        return sum(home["utility_only"] for home in self.homes.values())


async def make_report(
    world: World, community: Community, agreement: Agreement, outage: Outage | None, begun: float
) -> Report:
    """Read the ledger. ``begun``: monotonic time at which the demo began."""
    async with world.network.client() as client:
        names = [home.name for home in community.homes]
        limits = await _limits(client)
        chain = await chain_result(client, world.network, agreement)
        homes: dict[str, dict[str, int]] = {}
        shares: list[dict[str, Any]] = []
        alerts: list[dict[str, Any]] = []
        for name in names:
            args: dict[str, Any] = {"network": name, "first_slot": world.first_slot, "last_slot": world.end_slot - 1}
            homes[name] = record(await client.query("settlement", "bill", args), BILL)
            of_day = {"network": name, "period": world.period}
            shares += await all_records(client.query, "budget", "shares", of_day, SHARE)
            raised = await all_records(client.query, "budget", "alerts", {"network": name}, ALERT)
            alerts += [alert for alert in raised if alert["period"] == world.period]
        poor = {"device": device(POOR_EV, "ev"), "period": world.period}
        return Report(
            date=str(world.date),
            seconds=round(time.monotonic() - begun, 1),
            cores=os.cpu_count() or 1,
            slots=[await _slot(client, slot, limits) for slot in range(world.first_slot, world.end_slot)],
            homes=homes,
            shares=shares,
            alerts=alerts,
            helped={"device": poor["device"], **record(await client.query("budget", "budget", poor), BUDGET)},
            supply=cast("tuple[int, int, int]", await client.query("accounts", "audit")),
            chain=chain,
            outage=outage,
        )


def faults(report: Report) -> list[str]:
    """What must not be: empty if the report can be believed."""
    issued, redeemed, held = report.supply
    homes = report.homes.values()
    claims = {
        f"the nodes disagree at height {report.chain.height}": not report.chain.agree,
        "nothing was traded": report.traded_wh == 0,
        f"money is not conserved: {issued} issued - {redeemed} redeemed, {held} held": issued - redeemed != held,
        "buyers did not pay what sellers, lines and congestion got": any(
            slot.paid != slot.received + slot.tolls + slot.rent for slot in report.slots
        ),
        "a slot is not settled": any(slot.state not in (SETTLED, FINAL) for slot in report.slots)
        or any(home["slots"] != SLOTS for home in homes),
        "the bills do not hold the energy that was traded": any(
            sum(home[column] for home in homes) != report.traded_wh for column in ("bought_wh", "sold_wh")
        ),
        "the bills do not hold the money that was paid": sum(home["bought"] + home["tolls"] for home in homes)
        != sum(slot.paid for slot in report.slots),
        "nobody ran out of budget and was helped": report.helped["borrowed"] == 0,
        "no node was killed and came back": report.outage is None,
    }
    return [claim for claim, is_so in claims.items() if is_so]


def report_json(report: Report) -> str:
    """The report as one JSON value; bytes as hex."""
    totals = {"traded_wh": report.traded_wh, "cost": report.cost, "utility_only": report.utility_only}
    return json.dumps({**totals, **asdict(report)}, default=bytes.hex)


async def _slot(client: Client, slot: int, limits: "Limits") -> SlotResult:
    product = record(await client.query("market", "product", {"slot": slot}), PRODUCT)
    full: tuple[str, ...] = ()
    if product["auctions"]:
        last = {"slot": slot, "number": product["auctions"] - 1}
        auction = Auction(*as_rows(as_rows(await client.query("market", "auction", last))[0]))  # type: ignore[arg-type]
        full = _full_lines(auction, await _buses(client, slot), limits)
    fields = {name: product[name] for name in SlotResult.__slots__ if name in product}
    return SlotResult(**fields, full_lines=full)


Limits = dict[str, tuple[int | None, int | None]]
"""Bus -> what the line to it may carry per slot, Wh down and up."""


async def _limits(client: Client) -> Limits:
    *_, lines = as_rows(await client.query("grid", "tree"))
    limits: Limits = {}
    for line in as_rows(lines):
        match line:
            case (_, str(bus), _, _, (int() | None) as down_w, (int() | None) as up_w):
                down, up = (None if limit is None else limit * SLOT_S // 3600 for limit in (down_w, up_w))
                limits[bus] = (down, up)
    return limits


async def _buses(client: Client, slot: int) -> list[str]:
    """The names of the buses in the order of an auction's flows."""
    match await client.query("market", "prices", {"slot": slot}):
        case (_, _, tuple(pairs)):
            return [row["bus"] for row in records(pairs, ("bus", "price"))]
        case _:
            return []


def _full_lines(auction: Auction, buses: list[str], limits: Limits) -> tuple[str, ...]:
    full = []
    for bus, before, flow in zip(buses, auction.flows_before, auction.flows, strict=True):
        down, up = limits.get(bus, (None, None))
        if before + flow in (down, -up if up is not None else None) and before + flow:
            full.append(bus)
    return tuple(full)


async def chain_result(client: Client, network: Network, agreement: Agreement) -> ChainResult:
    """Read every block's results, from the first to the height at which the nodes were compared."""
    codes: Counter[str] = Counter()
    seconds: Counter[int] = Counter()
    scale = network.genesis.time_scale
    first = last = None
    async for block in client.subscribe(1):
        codes.update(code for _, code in block.results)
        seconds[block.time // scale] += len(block.results)
        last = block.time
        first = block.time if first is None else first
        if block.height >= agreement.height:
            break
    transactions = codes.total()
    passed = ((last or 0) - (first or 0)) / scale
    return ChainResult(
        height=agreement.height,
        root=agreement.root.hex() if agreement.root else "",
        nodes=agreement.nodes,
        agree=agreement.root is not None and agreement.nodes == len(network.nodes),
        blocks=agreement.height,
        transactions=transactions,
        codes=dict(codes.most_common()),
        seconds=round(passed, 1),
        per_second=round(transactions / passed, 1) if passed else 0.0,
        busiest_second=max(seconds.values(), default=0),
    )
