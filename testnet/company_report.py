"""What the company's month came to, read from the ledger: queries at a gateway and the blocks themselves, nothing else.

``make_report`` reads, ``faults`` adds up and says what is wrong, ``report_json`` and ``company_text.py`` show it.
Energies in Wh, money in base units, as everywhere.
"""

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple, cast

from chaincode.account_books import NetworkBook
from chaincode.budget_alerts import SHARE as GIVEN
from chaincode.budget_share import OTHER, POOL
from cli.answers import ALERT, NETWORK_BUDGET, OVERVIEW, PRODUCT, PROOF, SHARE, all_records, as_rows, record, records
from cli.sales import SALE_ROW
from node.gateway.client import Client
from testnet.cluster import Agreement
from testnet.company_money import due
from testnet.company_month import Lived, traders
from testnet.company_plan import HVAC, NetworkPlan
from testnet.company_world import MEMBER, World
from testnet.report import ChainResult, chain_result
from testnet.sender import Sender

INSIDE: Final = "inside"
FROM_POOL: Final = "from the pool"
BETWEEN: Final = "between"
WORST: Final = 3
LATER: Final = 3
"""Periods after the one that was closed: a day's may be over before that."""


class Shared(NamedTuple):
    """Shares of one kind: how many, what was given and what of it came back unspent."""

    number: int = 0
    amount: int = 0
    returned: int = 0


@dataclass(frozen=True, slots=True)
class NetworkResult:
    """``books``: the period's, NETWORK_BUDGET by name; ``later``: those of ``LATER`` periods after it; ``shares``: by
    INSIDE, FROM_POOL, BETWEEN; ``alerts``: how many of each cause; ``metered_wh``: what its devices took; ``due``: what
    the data cost at the utility's tariffs, and ``trades``: whether it may have paid less."""

    shop: int
    kind: str
    books: dict[str, Any]
    later: list[dict[str, Any]]
    shares: dict[str, Shared]
    alerts: dict[str, int]
    metered_wh: int
    due: int
    trades: bool

    @property
    def is_charged_right(self) -> bool:
        """Whether it paid, or owes, what its data cost; by trading nobody pays more, less what was sold again."""
        paid: int = sum(books["spent"] for books in (self.books, *self.later)) + self.books["owed"]
        return paid - self.books["earned"] <= self.due if self.trades else paid == self.due

    @property
    def carried(self) -> int:
        """What the first later period that was not over had carried in."""
        return next((books["carried_in"] for books in self.later if books["carried_in"]), 0)

    @property
    def adds_up(self) -> bool:
        """Whether the law of conservation holds for the period and those after it."""
        return all(_adds_up(books) for books in (self.books, *self.later))


@dataclass(frozen=True, slots=True)
class CompanyReport:
    """Everything. ``company``: the company's own book of the period; ``bought``: what the neighbour received;
    ``worst``: devices that were furthest above their budgets, with their alerts; ``planned_wh``: what the data say that
    the devices take; ``supply``: (issued, redeemed, sum of balances)."""

    days: int
    day_seconds: int
    seconds: float
    cores: int
    devices: int
    readings: int
    orders: int
    late_s: int
    transactions: dict[str, int]
    refused: dict[str, int]
    refused_readings: dict[str, int]
    traded: dict[str, int]
    networks: dict[str, NetworkResult]
    company: dict[str, int]
    sales: list[dict[str, Any]]
    bought: int
    worst: list[dict[str, Any]]
    planned_wh: int
    supply: tuple[int, int, int]
    chain: ChainResult

    def total(self, column: str, *, kind: str = "", shop: int = -1) -> int:
        """The sum of a column of the company's networks, of those of one class or one shop."""
        return sum(network.books[column] for network in self.chosen(kind=kind, shop=shop))

    def shared(self, where: str, *, kind: str = "", shop: int = -1) -> int:
        """What was shared and not returned."""
        rows = [network.shares.get(where, Shared()) for network in self.chosen(kind=kind, shop=shop)]
        return sum(row.amount - row.returned for row in rows)

    def chosen(self, *, kind: str = "", shop: int = -1) -> list[NetworkResult]:
        """The company's networks, of one class or one shop if that is said."""
        return [
            network
            for network in self.networks.values()
            if network.shop and kind in ("", network.kind) and shop in (-1, network.shop)
        ]


async def make_report(
    world: World, lived: Lived, sender: Sender, agreement: Agreement, seconds: float, day_seconds: int
) -> CompanyReport:
    """Read the ledger. ``seconds``: how long all of it took."""
    period, company = lived.agreed.period, world.company
    async with world.network.client() as client:
        networks: dict[str, NetworkResult] = {}
        devices: list[dict[str, Any]] = []
        for network in company.all_networks:
            rows = await _devices(client, network.id, period)
            networks[network.id] = await _network(client, network, period, rows)
            devices += [{**row, "network": network.id} for row in rows if network.shop]
        terms = {"agreement": lived.agreed.sale}
        sales = [record(row, SALE_ROW) for row in as_rows(await client.query("sales", "sales", terms))]
        return CompanyReport(
            days=company.days,
            day_seconds=day_seconds,
            seconds=round(seconds, 1),
            cores=os.cpu_count() or 1,
            devices=sum(len(network.devices) for network in company.networks),
            readings=lived.readings,
            orders=lived.orders,
            late_s=lived.late_s,
            transactions=dict(sender.committed),
            refused=dict(sender.refused),
            refused_readings=dict(sender.refused_rows),
            traded=await _traded(client, world),
            networks=networks,
            company=await _company(client, period),
            sales=sales,
            bought=await _bought(client, company.neighbour.id, sorted({sale["buyer_period"] for sale in sales})),
            worst=await _worst(client, devices, period),
            planned_wh=sum(
                max(0, wh) for network in company.all_networks for each in network.devices for wh in each.wh
            ),
            supply=cast("tuple[int, int, int]", await client.query("accounts", "audit")),
            chain=await chain_result(client, world.network, agreement),
        )


def faults(report: CompanyReport) -> list[str]:
    """What must not be: empty if the report can be believed. Each network's books are added up by the law of
    conservation, and all of them against one another."""
    issued, redeemed, held = report.supply
    sent = report.total("sent") + report.company["sent"]
    received = report.total("received") + report.company["received"]
    sold = report.total("sold") + report.company["sold"]
    expected = (
        {"HVAC without help of other networks": report.shared(BETWEEN, kind=HVAC) == 0} if report.days > 2 else {}
    )
    claims = {
        f"the nodes disagree at height {report.chain.height}": not report.chain.agree,
        f"money is not conserved: {issued} issued - {redeemed} redeemed, {held} held": issued - redeemed != held,
        f"what was sent within the company, {sent}, is not what was received, {received}": sent != received,
        f"what was sold, {sold}, is not what was bought, {report.bought}": sold != report.bought,
        "the company's own book does not add up": not _adds_up(report.company),
        "a reading was refused": bool(report.refused_readings),
        f"{sum(report.transactions.values())} transactions, but refused: {report.refused}": bool(report.refused),
        f"the books do not hold the energy of the data, {report.planned_wh} Wh": report.planned_wh
        != sum(network.metered_wh for network in report.networks.values()),
        "nothing was traded": report.traded["energy_wh"] == 0,
        **{
            f"{name} was not charged what the data cost, {network.due}": not network.is_charged_right
            for name, network in report.networks.items()
        },
        **{f"{name} does not add up": not network.adds_up for name, network in report.networks.items()},
        **{
            f"{name} carried over something else than arrived": network.books["carried_out"] != network.carried
            for name, network in report.networks.items()
        },
        **{
            f"the period of {name} is {network.books['status']}": network.books["status"] != "closed"
            for name, network in report.networks.items()
        },
        **expected,
    }
    return [claim for claim, is_so in claims.items() if is_so]


def report_json(report: CompanyReport) -> str:
    """The report as one JSON value; bytes as hex."""
    return json.dumps(asdict(report), default=bytes.hex)


def _adds_up(books: dict[str, Any]) -> bool:
    """carried in + issued + received + earned = pool + available + reserved + spent + sent + sold + returned + redeemed
    + carried out; a company has neither devices nor earnings."""
    went = ("pool", "available", "reserved", "spent", "sent", "sold", "returned", "redeemed", "carried_out")
    came = ("carried_in", "issued", "received", "earned")
    return bool(sum(books.get(name, 0) for name in came) == sum(books.get(name, 0) for name in went))


async def _devices(client: Client, network: str, period: int) -> list[dict[str, Any]]:
    """All devices of a network: none has more than one answer holds."""
    answer = as_rows(await client.query("overview", "devices", {"network": network, "period": period}))
    return [record(row, OVERVIEW) for row in as_rows(answer[-1])]


async def _network(client: Client, network: NetworkPlan, period: int, devices: list[dict[str, Any]]) -> NetworkResult:
    of = {"network": network.id, "period": period}
    later = [record(await client.query("budget", "network_budget", each), NETWORK_BUDGET) for each in _later(of)]
    alerts: Counter[str] = Counter()
    for device in devices:
        alerts.update(device["alerts"])
    return NetworkResult(
        shop=network.shop,
        kind=network.kind,
        books=record(await client.query("budget", "network_budget", of), NETWORK_BUDGET),
        later=later,
        shares=_summed(await all_records(client.query, "budget", "shares", of, SHARE)),
        alerts=dict(alerts.most_common()),
        metered_wh=sum(device["used_wh"] for device in devices),
        due=due(network),
        trades=bool(traders(network)),
    )


def _later(of: dict[str, Any]) -> list[dict[str, Any]]:
    """The periods after one, into the first of which that is not over at its close something is carried over."""
    return [{**of, "period": of["period"] + ahead} for ahead in range(1, LATER + 1)]


def _summed(shares: list[dict[str, Any]]) -> dict[str, Shared]:
    sums: dict[str, Shared] = {}
    for share in shares:
        where = FROM_POOL if share["giver"] == POOL else BETWEEN if share["giver"].startswith(OTHER) else INSIDE
        before = sums.get(where, Shared())
        sums[where] = Shared(before.number + 1, before.amount + share["amount"], before.returned + share["returned"])
    return sums


async def _company(client: Client, period: int) -> dict[str, int]:
    status_and_book = as_rows(await client.query("companies", "company", {"member": MEMBER, "period": period}))
    return record(status_and_book[1:], NetworkBook._fields)


async def _bought(client: Client, network: str, periods: list[int]) -> int:
    """What a network received in some periods; what is sold at the end of one arrives in a later one."""
    books = [{"network": network, "period": period} for period in periods if period >= 0]
    answers = [record(await client.query("budget", "network_budget", of), NETWORK_BUDGET) for of in books]
    return sum(book["received"] for book in answers)


async def _worst(client: Client, devices: list[dict[str, Any]], period: int) -> list[dict[str, Any]]:
    """Those that used most beyond their budgets, with what the ledger has against them."""
    found = sorted(devices, key=lambda row: (row["budget"] - row["used"], row["device"]))[:WORST]
    for row in found:
        of = {"network": row["network"], "period": period}
        shares = await all_records(client.query, "budget", "shares", of, SHARE)
        raised = await all_records(client.query, "budget", "alerts", {"network": row["network"]}, ALERT)
        row["alerts"] = [
            {**alert, "evidence": [_resolved(proof, shares) for proof in records(alert["evidence"], PROOF)]}
            for alert in raised
            if (alert["device"], alert["period"]) == (row["device"], period)
        ]
    return found


def _resolved(proof: dict[str, Any], shares: list[dict[str, Any]]) -> dict[str, Any]:
    """What an alert rests on; of a share also who gave what by which rule."""
    return {**proof, "share": shares[proof["number"]] if proof["kind"] == GIVEN else None}


async def _traded(client: Client, world: World) -> dict[str, int]:
    """The products' totals over the period, and how many slots are in which state."""
    sums: Counter[str] = Counter()
    for slot in range(world.first_slot, world.end_slot):
        product = record(await client.query("market", "product", {"slot": slot}), PRODUCT)
        sums.update({name: product[name] for name in ("auctions", "trades", "energy_wh", "paid", "tolls", "rent")})
        sums[product["state"]] += 1
    return dict(sums)
