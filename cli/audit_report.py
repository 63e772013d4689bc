"""A period on one page: what an auditor wants to see first, worked out from tables whose rows are all proven."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

from chaincode.settlement_ledger import Settled
from cli.answers import ALERT, NETWORK_BUDGET, PRODUCT
from cli.audit_tables import COLUMNS, Tables
from cli.output import count, tokens
from cli.units import clock, kwh
from node.model.block import Header
from node.model.codec import Value
from node.model.genesis import Genesis

_IN: Final = ("carried_in", "issued", "received", "earned")
_OUT: Final = (
    "pool", "available", "reserved", "spent", "sent", "sold", "returned", "redeemed", "carried_out",
)  # fmt: skip


class Report(NamedTuple):
    """The figures of a period. Energy in Wh, money in base units of ``decimals`` decimals, times in s (UTC).

    ``unknown``: slots of networks whose sums are not known; ``unbalanced``: products whose buyers did not pay what
    sellers, tolls and rent got; ``budgets``: how many budgets of networks were added up, and how many of them do not
    add up; ``rules``, ``members``: what changed, in words; ``upgrades``: of the contracts' code, all that are in force;
    ``proofs``: the lowest and the highest block that the answers are true of, each with its time and hash;
    ``unseen``: parts that the reader may not see.
    """

    chain: str
    symbol: str
    decimals: int
    begin: int
    end: int
    slots: int
    final: int
    networks: int
    auctions: int
    trades: int
    traded_wh: int
    paid: int
    received: int
    tolls: int
    rent: int
    unbalanced: int
    imported_wh: int
    exported_wh: int
    own_wh: int
    retail_wh: int
    retail: int
    feed_in_wh: int
    feed_in: int
    owed: int
    estimated: int
    unknown: int
    issued: int
    redeemed: int
    budgets: int
    budgets_unbalanced: int
    parked: int
    alerts: dict[str, int]
    deleted_slots: int
    erased: int
    validators: int
    members: tuple[str, ...]
    rules: tuple[str, ...]
    upgrades: tuple[str, ...]
    proofs: tuple[tuple[int, int, str], ...]
    unseen: tuple[str, ...]


def report_of(tables: Tables, genesis: Genesis, oldest: Header, newest: Header) -> Report:
    """Add the tables up. ``oldest``, ``newest``: between which blocks the answers are true."""
    scope, rows = tables.scope, tables.rows
    begin, end = cast("int", scope.first) * tables.slot_seconds, cast("int", scope.end) * tables.slot_seconds
    products = [dict(zip(PRODUCT, row, strict=True)) for row in rows["products"]]
    settled = [Settled(*cast("Any", row[4:])) for row in rows["settlements"] if row[4] is not None]
    sums = Settled()
    for each in settled:
        sums = sums.plus(each)
    budgets = [_budget(row) for row in rows["budgets"]]
    issued, redeemed = cast("tuple[int, int]", rows["supply"][0])
    epochs = [cast("tuple[int, int, int]", row) for row in rows["epochs"]]
    erased = COLUMNS["networks"].index("erased_asked")
    return Report(
        chain=genesis.chain.hex(),
        symbol=genesis.token.symbol,
        decimals=genesis.token.decimals,
        begin=begin,
        end=end,
        slots=len(products),
        final=sum([each["state"] == "FINAL" for each in products]),
        networks=len(rows["networks"]),
        auctions=_sum(products, "auctions"),
        trades=_sum(products, "trades"),
        traded_wh=_sum(products, "energy_wh"),
        paid=_sum(products, "paid"),
        received=_sum(products, "received"),
        tolls=_sum(products, "tolls"),
        rent=_sum(products, "rent"),
        unbalanced=sum([_int(each, "paid") != _sum([each], "received", "tolls", "rent") for each in products]),
        imported_wh=sums.import_wh,
        exported_wh=sums.export_wh,
        own_wh=sums.internal_wh,
        retail_wh=sums.retail_wh,
        retail=sums.retail,
        feed_in_wh=sums.feed_in_wh,
        feed_in=sums.feed_in,
        owed=sums.owed,
        estimated=sums.estimated,
        unknown=len(rows["settlements"]) - len(settled),
        issued=issued,
        redeemed=redeemed,
        budgets=len(budgets),
        budgets_unbalanced=sum([_sum([each], *_IN) != _sum([each], *_OUT) for each in budgets]),
        parked=len(rows["parked"]),
        alerts=dict(sorted(Counter([str(row[1 + ALERT.index("cause")]) for row in rows["alerts"]]).items())),
        deleted_slots=len({row[0] for row in rows["deleted"]}),
        erased=sum([row[erased] is not None for row in rows["networks"]]),
        validators=epochs[-1][2] if epochs else len(genesis.members),
        members=tuple(
            [f"epoch {number}: {size} validators from block {first} on" for number, first, size in epochs[1:]]
        ),
        rules=tuple([_rule(row) for row in rows["rules"] if row[3] is not None and begin <= cast("int", row[2]) < end]),
        upgrades=tuple([_upgrade(row) for row in rows["upgrades"]]),
        proofs=tuple([(head.height, head.time, head.hash.hex()) for head in dict.fromkeys((oldest, newest))]),
        unseen=tuple([f"{part} {name}".strip() for part, name in scope.left_out]),
    )


def lines_of(page: Report) -> list[tuple[str, list[tuple[str, str]]]]:
    """The page in words: (heading, [(what, how much), ...]), for text and PDF alike."""
    return [
        ("The exchange", _exchange(page)),
        ("Metered, and imbalance", _metered(page)),
        ("Money", _money(page)),
        ("Alerts, members, rules", _events(page)),
        ("Proofs", _proofs(page)),
    ]


def _exchange(page: Report) -> list[tuple[str, str]]:
    mean = "-" if not page.traded_wh else f"{_amount(page, page.paid * 1000 // page.traded_wh)} a kWh"
    holds, fails = "paid = received + tolls + rent in every slot", f"wrong in {page.unbalanced} slots"
    return [
        ("Energy traded", _energy(page.traded_wh)),
        ("Trades, in auctions", f"{page.trades:,} in {page.auctions:,}"),
        ("Buyers paid, on average", f"{_amount(page, page.paid)}, {mean}"),
        ("Sellers received", _amount(page, page.received)),
        ("Tolls, and rent of full lines", f"{_amount(page, page.tolls)}, {_amount(page, page.rent)}"),
        ("Check", fails if page.unbalanced else holds),
    ]


def _metered(page: Report) -> list[tuple[str, str]]:
    return [
        ("Taken from the grid, fed into it", f"{_energy(page.imported_wh)}, {_energy(page.exported_wh)}"),
        ("Own sun within networks", _energy(page.own_wh)),
        ("Bought from the utility", f"{_energy(page.retail_wh)}, {_amount(page, page.retail)}"),
        ("Sold to the utility", f"{_energy(page.feed_in_wh)}, {_amount(page, page.feed_in)}"),
        ("Estimated readings", f"{page.estimated:,}"),
        ("Not in these", f"{count(page.unknown, 'slot')} of networks: not settled yet, or deleted"),
        ("Owed when booked", _amount(page, page.owed)),
        ("Settlement parked", f"{page.parked:,}"),
    ]


def _money(page: Report) -> list[tuple[str, str]]:
    verdict = f"{page.budgets_unbalanced} not conserved" if page.budgets_unbalanced else "all conserved"
    return [
        ("Issued, redeemed (ever)", f"{_amount(page, page.issued)}, {_amount(page, page.redeemed)}"),
        ("In circulation", _amount(page, page.issued - page.redeemed)),
        ("Budgets of networks", f"{count(page.budgets, 'budget')} added up, {verdict}"),
    ]


def _events(page: Report) -> list[tuple[str, str]]:
    return [
        ("Alerts", ", ".join(f"{number} {cause}" for cause, number in page.alerts.items()) or "none"),
        ("Validators", "; ".join((str(page.validators), *page.members[-3:]))),
        ("Rules changed", "; ".join(page.rules[-3:]) or "no"),
        ("Contracts upgraded", "; ".join(page.upgrades[-3:]) or "no"),
        ("Details deleted", f"{count(page.deleted_slots, 'slot')}; {count(page.erased, 'network')} by request"),
    ]


def _proofs(page: Report) -> list[tuple[str, str]]:
    return [
        ("Chain", page.chain[:32]),
        *[(f"Block {height}", f"{clock(at)} UTC, {name[:32]}") for height, at, name in page.proofs],
        ("Not shown to the reader", ", ".join(page.unseen[:6]) or "nothing"),
    ]


def _amount(page: Report, amount: int) -> str:
    return f"{tokens(amount, page.decimals)} {page.symbol}"


def _energy(wh: int) -> str:
    return f"{kwh(wh)} kWh"


def title_of(page: Report) -> str:
    """What the page is of."""
    return f"{clock(page.begin)[:16]} to {clock(page.end)[:16]} UTC"


def subtitle_of(page: Report) -> str:
    """How much of it is over for good."""
    return f"{count(page.slots, 'slot')}, {page.final} of them FINAL; {count(page.networks, 'network')}"


def text_of(page: Report) -> str:
    """The page for a terminal."""
    lines = [f"Audit of {title_of(page)}", subtitle_of(page)]
    for heading, rows in lines_of(page):
        lines += ["", heading, *(f"  {what:<34}{value}" for what, value in rows)]
    return "\n".join(lines)


def _budget(row: Sequence[Value]) -> dict[str, Value]:
    return dict(zip(NETWORK_BUDGET, row[2:], strict=True))


def _rule(row: Sequence[Value]) -> str:
    version, height, time = cast("tuple[int, int, int]", row[:3])
    return f"version {version} from block {height} on, {clock(time)[:16]}"


def _upgrade(row: Sequence[Value]) -> str:
    name, _, height = cast("tuple[str, bytes, int]", row[:3])
    return f"{name} from block {height} on"


def _int(row: dict[str, Value], name: str) -> int:
    return cast("int", row[name])


def _sum(rows: Sequence[dict[str, Value]], *names: str) -> int:
    return sum([_int(row, name) for row in rows for name in names])
