"""`watt market verify`: every lie about a market that its own figures can show is found, and named."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import accounts, grid, market_certificate, market_products
from chaincode.auction import Order, clear
from chaincode.contract import Context, ContractError, Value
from chaincode.market_certificate import Auction, OrderRow
from cli.answers import PRODUCT, Reader
from cli.verify import Checked, Fault, Outcome, verify_product, verify_products
from node.errors import RefusedError
from node.limits import QUERY_ROWS, QUERY_STEPS
from node.model.codec import sha256
from node.model.keys import verify
from node.witness import MAX_PROVEN_READS, RecordingState
from tests.chaincode.market_chain import MarketChain, day
from tests.chaincode.marketplace import SLOT_S, marketplace

Answer = tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]


@cache
def chain() -> MarketChain:
    """A day on a street."""
    made = MarketChain()
    for time, transactions in day(made, 7):
        made.commit(made.execute(time, transactions))
    return made


async def honest(contract: str, method: str, args: Mapping[str, Any]) -> Value:
    """What the ledger says."""
    return chain().executor.query(contract, method, args)


def verified(read: Reader, slot: int) -> Outcome:
    return asyncio.run(verify_product(read, slot, SLOT_S))


@cache
def busiest() -> tuple[int, Outcome]:
    """A product with several auctions in which one order took part twice."""
    found = asyncio.run(every(honest))
    assert not any(outcome.faults for outcome in found)
    busy = max(found, key=lambda outcome: outcome.checked.orders)
    return busy.slot, busy


async def every(read: Reader) -> list[Outcome]:
    return [outcome async for outcome in verify_products(read, None)]


def faults(read: Reader) -> list[Fault]:
    return list(verified(read, busiest()[0]).faults)


def lying(method: str, lie: Callable[[Any, int], Any]) -> Reader:
    """``lie``: what is said in place of the answer to ``method``; given the auction's number too."""

    async def read(contract: str, asked: str, args: Mapping[str, Any]) -> Value:
        answer: Value = await honest(contract, asked, args)
        return lie(answer, args.get("number", 0)) if asked == method else answer

    return read


def in_auction(change: Callable[[Auction, list[OrderRow], int], tuple[Auction, list[OrderRow]]]) -> Reader:
    """A reader that lies about the record and the orders of auctions."""

    def lie(answer: Answer, number: int) -> Value:
        auction, rows = change(Auction(*answer[0]), [OrderRow(*row) for row in answer[1]], number)
        return tuple(auction), tuple(tuple(row) for row in rows), answer[2]

    return lying("auction", lie)


def in_product(name: str, change: int) -> Reader:
    """A reader that lies about one figure of the product."""
    at = PRODUCT.index(name)
    return lying("product", lambda row, _: (*row[:at], row[at] + change, *row[at + 1 :]))


def test_an_honest_product_has_no_fault() -> None:
    _, outcome = busiest()
    assert outcome.checked.auctions > 1 and outcome.checked.trades > 1
    assert [part.name for part in outcome.details] == ["auction", "auction-order", "auction-trade"]


@pytest.mark.parametrize("name", ["trades", "energy_wh", "paid", "received", "tolls", "rent"])
def test_a_total_that_is_not_the_auctions_sum(name: str) -> None:
    found = faults(in_product(name, 1))
    assert found[0].code == "wrong-total" and found[0].auction == -1 and found[0].message.startswith(name)


@pytest.mark.parametrize("change", [-1, 1])
def test_escrow_that_does_not_hold_what_buyers_paid(change: int) -> None:
    found = faults(lying("account", lambda held, _: held + change))
    assert [fault.code for fault in found] == ["wrong-escrow"]


@pytest.mark.parametrize("change", [0, 1])
def test_of_a_product_without_details_sums_and_escrow_are_checked(change: int) -> None:
    slot, _ = busiest()
    product = in_product("paid", change)

    async def read(contract: str, method: str, args: Mapping[str, Any]) -> Value:
        assert method != "auction"
        return () if method == "pruned" else await product(contract, method, args)

    outcome = verified(read, slot)
    assert outcome.checked == Checked(products=1, pruned=1) and not outcome.details
    assert "wrong-sum" in [fault.code for fault in outcome.faults] if change else not outcome.faults


def test_flows_that_do_not_follow_from_those_before() -> None:
    def other(auction: Auction, rows: list[OrderRow], number: int) -> tuple[Auction, list[OrderRow]]:
        return auction._replace(flows_before=tuple(flow + 1 for flow in auction.flows_before)), rows

    assert {fault.code for fault in faults(in_auction(other))} == {"wrong-flows"}


@pytest.mark.parametrize(
    ("field", "code"), [("grid_version", "wrong-grid"), ("welfare", "wrong-sum"), ("energy_wh", "wrong-fill")]
)
def test_a_record_that_says_something_else(field: str, code: str) -> None:
    def other(auction: Auction, rows: list[OrderRow], number: int) -> tuple[Auction, list[OrderRow]]:
        return auction._replace(**{field: getattr(auction, field) + 1}), rows

    assert code in {fault.code for fault in faults(in_auction(other))}


def test_auctions_out_of_time() -> None:
    def other(auction: Auction, rows: list[OrderRow], number: int) -> tuple[Auction, list[OrderRow]]:
        return auction._replace(time=auction.time - number * 10_000), rows

    assert {fault.code for fault in faults(in_auction(other))} == {"wrong-time"}


def test_an_order_that_changes_between_auctions() -> None:
    """It comes back with more than was left, with another tag, younger than the auction, or beyond the tariffs."""
    seen: dict[bytes, int] = {}
    lies: tuple[Callable[[OrderRow], OrderRow], ...] = (
        lambda row: row._replace(energy_wh=row.energy_wh + 1),
        lambda row: row._replace(renewable=not row.renewable),
        lambda row: row._replace(age=row.age + 100),
        lambda row: row._replace(price=row.price + 1_000) if not row.side else row,
    )
    for lie in lies:
        seen.clear()

        def other(auction: Auction, rows: list[OrderRow], number: int) -> tuple[Auction, list[OrderRow]]:
            changed = [lie(row) if row.id in seen and not row.filled_wh else row for row in rows]  # noqa: B023
            seen.update((row.id, number) for row in rows)
            return auction, changed

        assert faults(in_auction(other)), "an order that nobody filled came back as another one"
    assert seen


def test_no_product_is_left_out() -> None:
    """Not even where the slot between others could not be opened, so that there is none of it."""
    whole = [outcome.slot for outcome in asyncio.run(every(honest))]
    assert whole == list(range(*cast("Any", chain().executor.query("market", "span", {})))) and len(whole) > 3
    gone = whole[2]

    async def holed(contract: str, method: str, args: Mapping[str, Any]) -> Value:
        if method == "product" and args["slot"] == gone:
            raise ContractError("no-product", "it could not be opened")
        return await honest(contract, method, args)

    assert [outcome.slot for outcome in asyncio.run(every(holed))] == [slot for slot in whole if slot != gone]
    for span in ((0, 2**62), (5, 4), (-1, 3), "x"):
        with pytest.raises(RefusedError, match="bad-answer"):
            asyncio.run(every(lying("span", lambda _, __, span=span: span)))  # type: ignore[misc]
    assert asyncio.run(every(lying("span", lambda _, __: None))) == []


def test_an_auction_of_many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large an auction is, an answer has so many pages of it, and all together are the same."""
    rows = 2 * market_certificate.ANSWER_PAGES * market_certificate.PAGE_ROWS
    assert rows < QUERY_ROWS and 2 * market_certificate.ANSWER_PAGES < MAX_PROVEN_READS, "more than a gateway answers"
    slot, _ = busiest()
    asked = []
    small = MarketChain()
    monkeypatch.setattr(market_certificate, "PAGE_ROWS", 2)
    for time, transactions in day(small, 7):
        small.commit(small.execute(time, transactions))

    async def paged(contract: str, method: str, args: Mapping[str, Any]) -> Value:
        asked.append((method, args.get("first", 0)))
        return small.executor.query(contract, method, args)

    whole = verified(paged, slot)
    assert whole.checked.trades > 2 and max(first for _, first in asked) == 0
    monkeypatch.setattr(market_certificate, "ANSWER_PAGES", 1)
    assert verified(paged, slot) == whole and not whole.faults
    assert max(first for _, first in asked) > 1

    async def stuck(contract: str, method: str, args: Mapping[str, Any]) -> Value:
        answer: Any = await paged(contract, method, args)
        return answer if not args.get("first") else (answer[0], (), ())

    with pytest.raises(RefusedError) as refused:
        verified(stuck, slot)
    assert refused.value.code == "bad-answer"
    with pytest.raises(ContractError) as negative:
        small.executor.query("market", "auction", {"slot": slot, "number": 0, "first": -1})
    assert negative.value.code == "bad-range"


@settings(deadline=None)
@given(st.data())
def test_whatever_a_node_answers_is_judged_or_refused(data: st.DataObject) -> None:
    """Anything may stand anywhere in its answers."""

    def other(value: Any) -> Any:
        if isinstance(value, tuple) and value and data.draw(st.integers(0, 9)):
            at = data.draw(st.integers(0, len(value) - 1))
            return (*value[:at], other(value[at]), *value[at + 1 :])
        return data.draw(st.sampled_from((None, 0, -1, 1, 2**62, True, "x", b"", bytes(32), (), (1,), value)))

    method = data.draw(st.sampled_from(("product", "auction", "tree", "account", "pruned")))
    with suppress(RefusedError, ContractError):
        verified(lying(method, lambda answer, _: other(answer)), busiest()[0])


def test_an_auction_of_more_orders_than_a_gateway_answers_at_once() -> None:
    """Ten thousand orders take part in one auction; each answer stays within what a gateway reads for a query."""
    world, rng = marketplace(), Random(1)
    with world.transaction() as ctx:
        tree = grid.pinned(ctx, 1).tree
        orders = [
            Order(sha256(number.to_bytes(4, "big")), rng.randrange(1, 3), number % 2, rng.randint(20, 100), 500)
            for number in range(10_000)
        ]
        none = (0,) * len(tree.buses)
        clearing = clear(tree, *market_certificate.capacities(tree, none), orders)
        energy_wh = sum(trade.energy_wh for trade in clearing.trades)
        money = clearing.paid, clearing.received, clearing.tolls, clearing.rent
        auction = Auction(
            ctx.time, 1, len(orders), len(clearing.trades), energy_wh, *money, clearing.welfare,
            clearing.key_prices, clearing.prices, none, clearing.flows, ctx.height,
        )  # fmt: skip
        market_certificate.write(ctx, 1, 0, auction, orders, clearing)
        totals = market_products.Totals(1, len(clearing.trades), energy_wh, *money)
        market_products.put_totals(ctx, 1, totals)
        market_products.put_flows(ctx, 1, clearing.flows)
        accounts.mint(ctx, "escrow:1", clearing.paid, "test", b"1")
    world.next_block()
    most = 0

    async def read(contract: str, method: str, args: Mapping[str, Any]) -> Value:
        nonlocal most
        state = RecordingState(world.state._base, QUERY_ROWS)
        ctx = Context(
            state, chain=bytes(32), height=world.height, time=world.time, previous_time=0, sender=b"", tx_id=b"",
            step_limit=QUERY_STEPS, verifier=verify,
        )  # fmt: skip
        answer = world.registry.call(ctx, contract, method, args, "query")
        most = max(most, len(state.reads))
        return answer

    outcome = asyncio.run(verify_product(read, 1, 1_800))
    assert outcome.checked.orders == 10_000 and outcome.checked.trades > 1_000 and not outcome.faults
    assert 64 < most < MAX_PROVEN_READS
