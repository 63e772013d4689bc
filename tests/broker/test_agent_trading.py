"""From a decision's actions to transactions, and that sites of one process do not stand in each other's way."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import pytest

from broker.agents import _agent, _recalled, _to_their_ends
from broker.batches import batches, call_of
from broker.changes import Action, Cancel, Place, Replace
from broker.journal import Journal, entries
from broker.prices import PriceBook
from broker.registered import find_site
from broker.site_file import SiteFile
from broker.terms import TermsBook
from broker.trading import Site, Trading
from chaincode.contract import Value
from chaincode.market_products import Settings
from cli.answers import record
from cli.session import Account
from node.errors import RefusedError
from node.gateway.answers import NodeInfo
from node.gateway.client import Client, tx_id_of
from node.model.keys import SigningKey
from tests.chaincode.marketplace import DEVICES, SLOT_S, key_of, marketplace
from tests.chaincode.world import CHAIN, World


def place(device: str, number: int) -> Place:
    return Place(device, "buy", 7, 500 + number, 600_000, False, bytes([number]), "why")


def test_a_devices_new_orders_go_as_one_list_after_what_makes_room_for_them() -> None:
    actions: tuple[Action, ...] = (
        Cancel("h/load", b"a", "why"),
        Replace(b"b", place("h/ev", 1), "why"),
        place("h/load", 2),
        place("h/ev", 3),
        place("h/load", 4),
    )
    calls = [call_of(batch) for batch in batches(actions)]
    assert [method for method, _ in calls] == ["cancel", "replace", "place_many", "place"]
    assert calls[0][1] == {"order": b"a"}
    assert calls[1][1]["order"] == b"b" and calls[1][1]["device"] == "h/ev"
    assert calls[2][1] == {
        "device": "h/load",
        "orders": [("buy", 7, 502, 600_000, "gate", False, b"\2"), ("buy", 7, 504, 600_000, "gate", False, b"\4")],
    }
    assert calls[3][1]["device"] == "h/ev" and calls[3][1]["energy_wh"] == 503
    assert list(batches(())) == []


class Gateway:
    """A client as far as trading asks, answered by contracts in this process; nothing that is handed in is executed.
    ``refusals``: network -> what whoever asks for its devices' orders is answered."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.refusals: dict[str, Exception] = {}
        self.turned = 0
        self.handed_in = 0
        self.asked: list[str] = []

    def turn_away(self) -> None:
        self.turned += 1

    async def node_info(self) -> NodeInfo:
        now, height = self.world.time, self.world.height
        return NodeInfo("", CHAIN, "", "", 0, 1, height, b"", b"", now, now, 0, 0, 0, 0, (), "", 6)

    async def query(self, contract: str, method: str, args: Mapping[str, Any] | None = None) -> Value:
        self.asked.append(f"{contract}.{method}")
        return self.world.query(contract, method, **(args or {}))

    async def query_at(self, contract: str, method: str, args: Mapping[str, Any]) -> tuple[int, Value]:
        refusal = self.refusals.get(str(args["device"]).partition("/")[0])
        if refusal is not None:
            raise refusal
        return self.world.height, await self.query(contract, method, args)

    async def nonce(self, public_key: bytes) -> int:
        return 0

    async def submit_many(self, raws: list[bytes]) -> list[tuple[bytes, str]]:
        self.handed_in += len(raws)
        return [(tx_id_of(raw), "ok") for raw in raws]


START: Final = 4 * SLOT_S + 60


async def begin(gateway: Gateway, directory: Path, orders_ahead: int = 2) -> Trading:
    """Of home-1 and home-2, in this order."""
    client, info = cast("Client", gateway), await gateway.node_info()
    settings = Settings(**record(await client.query("market", "settings"), Settings._fields))
    prices, sites = PriceBook(settings.slot_seconds), list[Site]()
    for name in ("home-1", "home-2"):
        file = SiteFile(
            name,
            ("127.0.0.1:7401",),
            "k.json",
            chain=CHAIN.hex(),
            orders_ahead=orders_ahead,
            directory=directory / name,
        )
        found = await find_site(client, file, key_of(name), settings, info.now // settings.slot_seconds)
        agent = _agent(file, found, info, prices, Journal(directory / name / "journal"))
        sites.append(_recalled(agent, Account(client, SigningKey(key_of(name)), CHAIN), info, set()))
    return Trading(client, sites, TermsBook(settings), settings, prices, set(), None)


def told(directory: Path, name: str, kind: str) -> list[dict[str, Any]]:
    return [dict(entry) for entry in entries(directory / name / "journal") if entry["kind"] == kind]


@pytest.mark.parametrize(
    "failure",
    [*(RefusedError(code, "not now") for code in ("internal", "bad-answer", "no-block", "unreachable")), KeyError("x")],
)
def test_what_goes_wrong_with_one_site_keeps_no_other_from_its_turn(tmp_path: Path, failure: Exception) -> None:
    async def case() -> None:
        gateway = Gateway(marketplace(start=START))
        trading = await begin(gateway, tmp_path)
        gateway.refusals["home-1"] = failure
        assert not await trading._round(await gateway.node_info())
        assert told(tmp_path, "home-1", "decision") == [] != told(tmp_path, "home-2", "decision")
        words = [
            entry["words"] for entry in told(tmp_path, "home-1", "said") if entry["concern"] in ("gateway", "failure")
        ]
        assert len(words) == 1 and ("not now" in words[0] or "a mistake of this program" in words[0])
        assert gateway.turned == (0 if "unreachable" in str(failure) or isinstance(failure, KeyError) else 1)
        gateway.refusals.clear()
        gateway.world.next_block(START + 300)
        assert not await trading._round(await gateway.node_info())
        assert len(told(tmp_path, "home-1", "decision")) == 1 and gateway.handed_in
        assert told(tmp_path, "home-1", "said")[-1]["words"] == "", "and that it is over"

    asyncio.run(case())


def test_one_ledgers_failure_does_not_end_anothers_sites(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    async def fails() -> None:
        raise RefusedError("wrong-network", "another ledger")

    async def goes_on() -> None:
        await asyncio.sleep(0.05)
        ended.append("home-2")

    with pytest.raises(RefusedError, match="another ledger"):
        asyncio.run(_to_their_ends([("home-1", fails()), ("home-2", goes_on())]))
    assert ended == ["home-2"] and "home-1: no longer traded for" in caplog.text


def test_a_billing_period_is_asked_for_once_however_many_slots_are_traded(tmp_path: Path) -> None:
    async def case() -> None:
        gateway = Gateway(marketplace(start=START))
        trading = await begin(gateway, tmp_path, orders_ahead=4)
        await trading._round(await gateway.node_info())
        (decision,) = told(tmp_path, "home-1", "decision")
        assert len(decision["slots"]) == 4
        devices = [device for site in trading._sites for device in site.agent.site.devices]
        assert gateway.asked.count("budget.budget") == len(devices), "once for each of the sites' devices"
        assert gateway.asked.count("budget.period") == len(trading._sites) == 2

    asyncio.run(case())


def test_a_home_is_where_it_hangs_now_and_moves_that_were_missed_are_asked_for(tmp_path: Path) -> None:
    """A move on record that is still to come does not count yet; nor need its event have been seen."""

    async def case() -> None:
        gateway = Gateway(marketplace(start=START))
        trading = await begin(gateway, tmp_path)
        slot = START // SLOT_S
        for device in DEVICES:
            if device.startswith("home-1/"):
                args = {"device": device, "bus": "b2", "slot": slot + 2}
                gateway.world.call(key_of("club"), "identity", "connect", **args)
        await trading._round(await gateway.node_info())
        gateway.world.next_block(START + 2 * SLOT_S)
        agents = [site.agent for site in trading._sites]
        settings = Settings(**record(await gateway.query("market", "settings"), Settings._fields))
        buses = [
            (await find_site(cast("Client", gateway), agents[0].file, key_of("home-1"), settings, at)).site.bus
            for at in (slot, slot + 2)
        ]
        assert buses == ["b1", "b2"] and agents[0].site.bus == "b1"
        await trading._round(await gateway.node_info())
        assert [agent.site.bus for agent in agents] == ["b2", "b2"]

    asyncio.run(case())


def test_an_entry_that_names_no_transaction_does_not_keep_a_broker_from_starting(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "home-1" / "journal")
    for tx in ("none", "ab", 7, None, "cd" * 32):
        journal.write("sent", START, tx=tx, not_after=START + 60)
    journal.close()
    trading = asyncio.run(begin(Gateway(marketplace(start=START)), tmp_path))
    assert list(trading._sites[0].pending) == [b"\xcd" * 32]
