"""Statements: every line is the sum of what it rests on, and the bill is what the ledger booked, or it is refused."""

import asyncio
import csv
import io
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import market_orders, statements
from chaincode.contract import ContractError
from chaincode.settlement_ledger import Settled
from cli.answers import Reader
from cli.statement import Statement, make_statement
from cli.statement_facts import Device, Facts, gather_facts
from cli.statement_files import COLUMNS, explanation_json, statement_csv, statement_json
from cli.statement_lines import MISMATCH, MONEY_KINDS, Line
from cli.statement_pdf import statement_pdf
from cli.statement_text import print_line, print_statement
from cli.statement_words import Token, remarks, verdict
from cli.wallet_statement import write
from node.errors import RefusedError
from tests.chaincode.marketplace import PERIOD_SLOTS, SLOT_S, STREET
from tests.chaincode.statement_days import NETWORKS, a_day
from tests.chaincode.world import World
from tests.ledger.test_store import no_room

TOKEN = Token("WATT", 6)
LATE = 8 * SLOT_S


def reader(world: World) -> Reader:
    async def read(contract: str, method: str, args: Mapping[str, Any]) -> Any:
        return world.query(contract, method, **args)

    return read


def facts_of(world: World, network: str, period: int = 0) -> Facts:
    return asyncio.run(gather_facts(reader(world), network, period))


def statement_of(world: World, network: str, period: int = 0) -> Statement:
    return make_statement(facts_of(world, network, period))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_every_line_is_the_sum_of_its_explanation_and_the_total_is_the_bill(seed: int) -> None:
    """Random days; each line adds up, and all of them to ``settlement.bill``."""
    world = a_day(seed)
    made = {network: statement_of(world, network) for network in NETWORKS}
    for network, statement in made.items():
        bill = cast("Any", world.query("settlement", "bill", network=network, first_slot=0, last_slot=47))
        settled, cost, alone, sums = bill[0], bill[1], bill[2], Settled(*bill[3:])
        assert statement.settled == settled
        assert statement.line("total").amount == statement.facts.rent - cost
        assert statement.line("utility-only").amount == -alone
        assert statement.line("difference").amount == statement.facts.rent - cost + alone
        assert sum(line.energy_wh for line in statement.of_kind("bought")) == sums.bought_wh
        assert sum(line.amount for line in statement.of_kind("sold")) == sums.sold
        assert statement.line("toll").amount == -sums.tolls
        assert statement.line("retail").energy_wh == sums.retail_wh
        assert statement.line("feed-in").amount == sums.feed_in
        assert statement.line("internal-paid").amount == -statement.line("internal-received").amount == -sums.internal
        assert statement.line("owed").amount == -sums.owed
        assert [line.number for line in statement.lines] == list(range(1, len(statement.lines) + 1))
        for line in statement.lines:
            explained = explanation_json(statement.numbered(line.number))
            assert sum(item["amount"] for item in explained["items"]) == line.amount == explained["amount"]
            if line.kind not in ("total", "difference", "owed"):
                assert sum(item["energy_wh"] for item in explained["items"]) == line.energy_wh
            if line.kind in ("total", "utility-only", "difference", "rent", "owed"):
                assert explained["energy_wh"] is None  # a sum of what was bought and what was sold would mean nothing
            assert all(item.sources for item in line.items)
        _check_csv(statement)
    _check_both_sides(made)


def _check_csv(statement: Statement) -> None:
    """The file's rows add up to the lines, and its amounts to the total."""
    rows = list(csv.DictReader(io.StringIO(statement_csv(statement, TOKEN))))
    for line in statement.lines:
        if line.kind not in ("total", "difference"):
            of_line = [row for row in rows if row["line"] == str(line.number)]
            assert sum(int(row["amount"]) for row in of_line) == line.amount
    total = sum(int(row["amount"]) for row in rows if row["kind"] in MONEY_KINDS)
    assert total == statement.line("total").amount
    for row in rows:
        for cell in row.values():
            assert not cell.startswith(("=", "+", "@", "\t", "\r")) and (cell[:1] != "-" or float(cell) <= 0)


def _check_both_sides(made: Mapping[str, Statement]) -> None:
    """What one says that it bought of another, the other says that it sold to the one."""
    for network, statement in made.items():
        for line in statement.of_kind("bought"):
            if line.items:
                others = [each for each in made[line.counterpart].of_kind("sold") if each.counterpart == network]
                assert [each.energy_wh for each in others] == [line.energy_wh]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(220, 900))
def test_small_answers_say_the_same_as_large_ones(seed: int, work: int) -> None:
    """However often an answer ends and goes on: no fill is left out, and none comes twice."""
    world = a_day(seed)
    whole = {network: facts_of(world, network) for network in NETWORKS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statements, "MAX_WORK", work)
        assert {network: facts_of(world, network) for network in NETWORKS} == whole


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_fills_beyond_what_an_order_remembers_are_found_by_walking(seed: int) -> None:
    whole = [statement_of(a_day(seed), network).lines for network in NETWORKS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(market_orders, "MAX_AUCTIONS", 1)
        world = a_day(seed)
        assert [statement_of(world, network).lines for network in NETWORKS] == whole


def test_corrections_appear_as_reversal_and_new_entry() -> None:
    found = [statement_of(a_day(seed, until_s=LATE), network) for seed in range(8) for network in NETWORKS]
    corrected = [each for each in found if each.corrected]
    assert corrected
    items = [item for each in corrected for line in each.lines for item in line.items if item.revision]
    assert any(item.energy_wh < 0 for item in items) and any(item.energy_wh > 0 for item in items)
    assert any("settled anew" in remark for remark in remarks(corrected[0], TOKEN))


def test_rent_that_came_back_is_part_of_the_bill(capsys: pytest.CaptureFixture[str]) -> None:
    """A whole period over a line that is full: what came back to all is what was returned, in proportion to tolls."""
    narrow = (STREET[0], (*STREET[1][:4], 300, 300))
    world = a_day(9, until_s=(PERIOD_SLOTS + 6) * SLOT_S, lines=narrow)
    made = [statement_of(world, network) for network in NETWORKS]
    (of_all,) = [row.of_all for row in made[0].facts.rents]
    assert of_all.state == "returned" and of_all.returned == sum(each.line("rent").amount for each in made) > 0
    for statement in made:
        bill = cast("Any", world.query("settlement", "bill_of_period", network=statement.facts.network, period=0))
        assert statement.line("total").amount == statement.line("rent").amount - bill[1]
        assert not statement.is_so_far and statement.final == statement.settled == PERIOD_SLOTS
        assert not any(line.is_provisional for line in statement.lines)
        print_line(statement, statement.line("rent"), TOKEN)
        text = capsys.readouterr().out
        assert ("pro rata of tolls" in text) is (statement.line("rent").amount > 0)
        for item in statement.line("rent").items:
            (paid,) = item.sources
            assert f"payment     {paid.tx.hex()}, block {paid.height}" in text and 0 < paid.height <= world.height
            assert [row["settled_block"] for row in _rent_rows(statement)] == [str(paid.height)]


def _rent_rows(statement: Statement) -> list[dict[str, str]]:
    rows = csv.DictReader(io.StringIO(statement_csv(statement, TOKEN)))
    return [row for row in rows if row["kind"] == "rent"]


def test_what_is_not_final_is_marked() -> None:
    early, late = (statement_of(a_day(3, until_s=at), "home-1") for at in (3 * SLOT_S + 60, LATE))
    assert early.is_so_far and early.pending.slots > 0 and early.settled > early.final
    assert any(line.is_provisional for line in early.lines)
    for line in early.lines:
        assert line.provisional == sum(item.amount for item in line.items if not item.is_final)
    assert late.final > early.final


def test_a_slot_without_money_keeps_the_total_provisional(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was booked in the one slot that is not final; a correction may still book something."""
    facts = facts_of(a_day(3, until_s=3 * SLOT_S + 60), "home-1")
    idle = max(slot.slot for slot in facts.slots.values() if slot.sums is not None)
    sums = facts.slots[idle].sums
    assert sums is not None and not facts.slots[idle].is_final
    for slot in list(facts.slots.values()):
        if slot.slot == idle:
            facts.slots[idle] = slot._replace(entries=(), sums=Settled())
        elif slot.sums is not None:
            facts.slots[slot.slot] = slot._replace(state="FINAL")
    for name, device in list(facts.devices.items()):
        held = {number: each for number, each in device.held.items() if number != idle}
        facts.devices[name] = Device(held, tuple(fill for fill in device.fills if fill.slot != idle))
    facts.origins.pop(idle, None)

    for last_state, mark in (("SETTLED", "*"), ("FINAL", " ")):
        facts.slots[idle] = facts.slots[idle]._replace(state=last_state)
        statement = make_statement(facts._replace(kept=facts.kept.less(sums)))
        assert not any(line.is_provisional for line in statement.lines if line.kind in MONEY_KINDS)
        print_statement(statement, TOKEN)
        rows = capsys.readouterr().out.splitlines()
        for kind, name in (("total", "Total"), ("difference", "Difference")):
            line = statement.line(kind)
            assert line.is_provisional is (mark == "*") and line.provisional == 0
            assert any(name in row and f"{TOKEN.rounded(line.amount)}{mark}" in f"{row} " for row in rows)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_bill_stays_when_the_details_of_its_slots_are_gone(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines still add up to the period's sums; a line that cannot be traced any more says so."""
    whole, left = (statement_of(a_day(4, until_s=LATE, retention_s=kept), network) for kept in (0, 600))
    assert left.pruned and not whole.pruned and left.settled == whole.settled
    for kind in ("toll", "retail", "feed-in", "total", "utility-only", "difference", "owed", "imported", "used"):
        assert left.line(kind).amount == whole.line(kind).amount
        if kind not in ("toll", "total", "difference", "owed"):
            assert left.line(kind).energy_wh == whole.line(kind).energy_wh
    for kind in ("bought", "sold"):
        figures = [sum(line.energy_wh for line in each.of_kind(kind)) for each in (left, whole)]
        assert figures[0] == figures[1]
    with pytest.raises(RefusedError, match="pruned"):
        left.numbered(left.line("utility-only").number)
    print_statement(left, TOKEN)
    assert "details deleted" in capsys.readouterr().out
    toll = left.line("toll")
    if toll.gone:  # the money is kept, the energy that it was paid on is not
        row = next(row for row in statement_json(left, TOKEN, "")["lines"] if row["kind"] == "toll")
        assert (row["energy_wh"], row["price_average"], row["amount"]) == (None, None, whole.line("toll").amount)
    assert any(f"details of {len(left.pruned)} slot" in remark for remark in remarks(left, TOKEN))


@pytest.mark.parametrize("part", ["entry", "fill", "sums", "period", "order", "slots", "blocks"])
def test_a_statement_that_does_not_add_up_is_refused(part: str) -> None:
    facts = facts_of(a_day(5, until_s=LATE), "home-1")
    slot = next(slot for slot in facts.slots.values() if slot.entries and slot.sums)
    if part == "entry":
        entry = slot.entries[0]
        facts.slots[slot.slot] = slot._replace(entries=(entry._replace(amount=entry.amount - 1), *slot.entries[1:]))
    elif part == "fill":
        name, device = next((name, each) for name, each in facts.devices.items() if each.fills)
        fill = device.fills[0]
        changed = (fill._replace(energy_wh=fill.energy_wh + 1), *device.fills[1:])
        facts.devices[name] = Device(device.held, changed)
    elif part == "sums":
        assert slot.sums is not None
        facts.slots[slot.slot] = slot._replace(sums=slot.sums._replace(utility_only=slot.sums.utility_only + 1))
    elif part == "period":
        facts = facts._replace(kept=facts.kept._replace(retail=facts.kept.retail + 1))
    elif part == "order":
        facts.orders.clear()
    elif part == "blocks":
        facts.slots[slot.slot] = slot._replace(blocks=())
    else:
        facts = facts._replace(settled_slots=facts.settled_slots - 1)
    with pytest.raises(RefusedError) as refused:
        make_statement(facts)
    assert refused.value.code == MISMATCH


@cache
def third_day() -> World:
    return a_day(3)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_a_node_answers_is_shown_or_refused(data: st.DataObject) -> None:
    """Anything may stand anywhere in one of its answers."""
    honest, lie, asked = reader(third_day()), data.draw(st.integers(0, 30)), iter(range(10**6))

    def other(value: Any) -> Any:
        if isinstance(value, tuple) and value and data.draw(st.integers(0, 9)):
            at = data.draw(st.integers(0, len(value) - 1))
            return (*value[:at], other(value[at]), *value[at + 1 :])
        return data.draw(st.sampled_from((None, 0, -1, 1, 2**62, True, "x", b"", bytes(32), (), (1,), value)))

    async def read(contract: str, method: str, args: Mapping[str, Any]) -> Any:
        answer = await honest(contract, method, args)
        return other(answer) if next(asked) == lie else answer

    with suppress(RefusedError, ContractError):
        made = make_statement(asyncio.run(gather_facts(read, "home-1", 0)))
        print_statement(made, TOKEN)
        assert statement_csv(made, TOKEN) and statement_json(made, TOKEN, "") and statement_pdf(made, TOKEN, "")


def test_what_is_asked_wrongly_is_refused() -> None:
    world = a_day(1)
    statement = statement_of(world, "home-1")
    for number in (0, len(statement.lines) + 1):
        with pytest.raises(RefusedError, match="no-line"):
            statement.numbered(number)
    for network, period in (("home-9", 0), ("home-1", 10_000)):
        with pytest.raises(ContractError, match=r"unknown-(network|period)"):
            facts_of(world, network, period)
    for method, whose in (("slots", {"network": "home-1"}), ("contracts", {"device": "home-1/load"})):
        args: dict[str, Any] = {**whose, "first_slot": 2, "end_slot": 1}
        with pytest.raises(ContractError, match="bad-range"):
            world.query("statements", method, **args)


def test_a_period_that_has_not_begun_has_an_empty_bill(capsys: pytest.CaptureFixture[str]) -> None:
    statement = statement_of(a_day(1, until_s=LATE), "home-1", period=1)
    assert statement.is_so_far and not any(line.amount or line.energy_wh for line in statement.lines)
    print_statement(statement, TOKEN)
    assert "0 slots of 48 settled" in capsys.readouterr().out
    assert statement_pdf(statement, TOKEN, "as the node shows it").startswith(b"%PDF-")


def test_a_verdict_is_honest() -> None:
    statement = statement_of(a_day(2, until_s=LATE), "home-2")

    def with_difference(amount: int, alone: int) -> str:
        def figure(line: Line) -> Line:
            wanted = {"difference": amount, "utility-only": alone}.get(line.kind)
            return line if wanted is None else line._replace(items=(), gone=wanted)

        return verdict(statement._replace(lines=tuple(figure(line) for line in statement.lines)), TOKEN)

    assert with_difference(500_000, -2_000_000) == "0.500 WATT (25.0 %) better than with the utility alone"
    assert with_difference(-500_000, -2_000_000) == "0.500 WATT (25.0 %) worse than with the utility alone"
    assert with_difference(-500_000, 0) == "0.500 WATT worse than with the utility alone"
    assert with_difference(0, -2_000_000) == "neither better nor worse than with the utility alone"


def test_a_table_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    statement = statement_of(a_day(4, until_s=LATE), "home-1")
    for width in (80, 120):
        print_statement(statement, TOKEN, width=width)
        table = capsys.readouterr().out.split("\n")[1 : len(statement.lines) + 3]
        assert max(len(line) for line in table) <= width and "Of this renewable" in table[-1]


def test_an_explanation_names_whole_transactions_and_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    statement = statement_of(a_day(4, until_s=LATE), "home-1")
    for line in statement.lines:
        print_line(statement, line, TOKEN)
        text = capsys.readouterr().out
        for item in line.items:
            for source in item.sources:
                assert source.id.hex() in text and source.tx.hex() in text
                assert source.height > 0 and f"block {source.height}" in text
        assert text.endswith(f"= line {line.number}\n")


def test_the_json_has_every_line() -> None:
    statement = statement_of(a_day(4, until_s=LATE), "home-1")
    found = statement_json(statement, TOKEN, "as the node shows it")
    assert [line["line"] for line in found["lines"]] == [line.number for line in statement.lines]
    assert found["ends"] - found["starts"] == found["end_slot"] * SLOT_S
    assert set(COLUMNS) >= {"order_tx", "other_tx", "reading_tx", "settled_block"}


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A bill cut off in the middle looks like a bill."""
    file = tmp_path / "bill.csv"
    write(file, b"before")
    write(file, b"after")
    with no_room(20), pytest.raises(RefusedError) as refusal:
        write(file, b"x" * 100)
    assert (refusal.value.code, refusal.value.message) == ("cannot-write", f"{file}: File too large")
    assert file.read_bytes() == b"after" and list(tmp_path.iterdir()) == [file]
    with pytest.raises(RefusedError):
        write(Path("/dev/full"), b"x")


def test_rent_of_several_periods_of_the_consortium_has_a_line_in_the_explanation_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    narrow = (STREET[0], (*STREET[1][:4], 300, 300))
    facts = facts_of(a_day(9, until_s=(PERIOD_SLOTS + 6) * SLOT_S, lines=narrow), "home-1")
    (row,) = facts.rents
    half = row._replace(rent=row.rent // 2), row._replace(rent=row.rent - row.rent // 2, period=1, block=row.block + 1)
    statement = make_statement(facts._replace(rents=half))
    assert [item.amount for item in statement.line("rent").items] == [part.rent for part in half]
    print_line(statement, statement.line("rent"), TOKEN)
    assert "pro rata of tolls, 2 times: " in capsys.readouterr().out
