"""`watt admin rules outages`: all that the ledger knows, however many pages they come in."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from chaincode import rules
from cli.rules import print_outages, read_outages
from node.errors import RefusedError
from tests.chaincode.marketplace import SLOT_S, marketplace
from tests.chaincode.test_market_outage import METERING_S, catch_up, run


def test_outages_of_several_pages_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = marketplace()
    run(world, SLOT_S)
    first = SLOT_S + METERING_S
    world.next_block(first + 600)
    heights = [world.height]
    catch_up(world)
    second = cast("int", world.next_event())
    world.next_block(second + 3_690)
    heights.append(world.height)
    catch_up(world)
    asked = []

    async def read(contract: str, method: str, args: Mapping[str, Any]) -> Any:
        asked.append(args["first"])
        return world.query(contract, method, **args)

    monkeypatch.setattr(rules, "MAX_LISTED", 1)
    rows = asyncio.run(read_outages(read))
    assert asked == [0, 1, 2]
    assert [(row["since"], row["until"]) for row in rows] == [(first, first + 600), (second, second + 3_690)]
    assert [row["height"] for row in rows] == heights

    print_outages(rows, as_json=True)
    assert [row["length_s"] for row in json.loads(capsys.readouterr().out)] == [600, 3_690]
    print_outages(rows, as_json=False)
    title, _, _, *lines = capsys.readouterr().out.splitlines()
    assert title == "Outages"
    assert lines[0].split() == ["0", "1970-01-01", "00:45:00", "1970-01-01", "00:55:00", "10min", str(heights[0])]
    assert "1h 1min 30s" in lines[1]


def test_no_outages_and_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    print_outages([], as_json=False)
    assert capsys.readouterr().out == "no outages\n"

    async def read(contract: str, method: str, args: Mapping[str, Any]) -> Any:
        return ((0, "noon", 1, 1),)[args["first"] :]

    with pytest.raises(RefusedError, match="bad-answer"):
        asyncio.run(read_outages(read))
