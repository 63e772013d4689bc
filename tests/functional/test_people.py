"""What people touch, on a real network: wallet, admin and market commands, and a broker's process."""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from chaincode.market_certificate import Auction
from cli.main import main
from cli.session import Account
from cli.verify import verify_product
from node.gateway.client import Client
from node.keyfile import PASSPHRASE_VARIABLE, load_key
from node.model.block import decode_batch
from node.model.keys import SigningKey
from testnet.cluster import Cluster
from testnet.genesis import GENESIS_NAME, PASSPHRASE_NAME, free_ports
from testnet.neighbourhood import KEYS_NAME
from tests.functional.trading import as_validator


class Watt:
    """The command, run against one network, with one of its keys where a key is needed; else it reads as the utility,
    to which all homes belong, or as a validator."""

    def __init__(self, cluster: Cluster, *, is_validator: bool = False) -> None:
        self.keys = cluster.network.directory / KEYS_NAME
        self.passphrase_file = self.keys / PASSPHRASE_NAME
        self.node = cluster.network.gateways[1]
        self.env = {
            "WATT_GENESIS": str(cluster.network.directory / GENESIS_NAME),
            "WATT_KEY": str(self.keys / "utility.json"),
            "WATT_PASSPHRASE": self.passphrase_file.read_text().strip(),
        }
        if is_validator:
            self.env |= as_validator(cluster.network)

    def run(self, *words: str, key: str | None = None) -> Result:
        """The result of `watt WORDS`; ``key``: sign with this one."""
        signing = []
        if key is not None:
            signing = ["--key", str(self.keys / f"{key}.json"), "--passphrase-file", str(self.passphrase_file)]
        return CliRunner().invoke(main, [*words, "--node", self.node, *signing], env=self.env)

    def json(self, *words: str, key: str | None = None) -> Any:
        """The JSON that `watt WORDS --json` prints."""
        result = self.run(*words, "--json", key=key)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def slot(self, ahead: int) -> str:
        """The number of an open slot."""
        products = self.json("market", "products")
        return str([row["slot"] for row in products if row["state"] == "OPEN"][ahead])


@pytest.fixture
def watt(network: Cluster) -> Watt:
    return Watt(network)


def test_an_order_from_placing_to_trading_and_its_proof(watt: Watt, network: Cluster) -> None:
    slot = watt.slot(6)
    tariff = next(row for row in watt.json("market", "products") if str(row["slot"]) == slot)
    price = str((tariff["retail"] + tariff["feed_in"]) // 2 / 1_000_000)
    bid = watt.json(
        "wallet", "order", "home-2/load", "buy", "1.2kWh", "--slot", slot, "--price", price, key="home-2.load"
    )
    offer = watt.json(
        "wallet", "order", "home-1/pv", "sell", "800", "--slot", slot, "--price", str(tariff["feed_in"] / 1_000_000),
        key="home-1.pv",
    )  # fmt: skip
    assert offer["order"] != bid["order"] and offer["height"] > 0
    deadline = time.monotonic() + 30
    while not (trades := watt.json("wallet", "trades", "home-2/load", "--slot", slot)):
        assert time.monotonic() < deadline, "ticks come every 10 s"
        time.sleep(0.5)
    assert trades[0]["side"] == "buy" and trades[0]["energy_wh"] == 800
    orders = watt.json("wallet", "orders", "home-2/load", "--slot", slot)
    assert [(row["id"], row["state"], row["filled_wh"]) for row in orders] == [(bid["order"], "PARTIAL", 800)]
    assert watt.json("market", "book", slot)[0]["energy_wh"] == 400
    assert watt.json("market", "prices", slot)["prices"]["bus-2"] == trades[0]["price"]
    assert watt.json("wallet", "cancel", bid["order"], key="home-2.load")["order"] == bid["order"]
    assert watt.run("wallet", "cancel", bid["order"], key="home-2.load").exit_code == 1
    refused = watt.run("market", "verify", slot)
    assert refused.stderr.startswith("watt: not-allowed: "), "every home's orders are in it"
    watt = Watt(network, is_validator=True)
    checked = watt.json("market", "verify", slot)
    assert checked["faults"] == [] and checked["trades"] == 1 and checked["energy_wh"] == 800
    assert watt.json("market", "verify")["auctions"] >= 1
    genesis = ["--genesis", str(network.network.directory / GENESIS_NAME)]
    proven = watt.json("market", "verify", slot, *genesis)
    assert {**proven, "read": ""} == {**checked, "read": ""} and "under certificates" in proven["read"]
    assert "as the node shows them" in watt.json("market", "verify", slot, "--trust-node")["read"]
    assert watt.json("market", "verify", "--product", slot)["trades"] == 1
    everything = watt.json("market", "verify", "--all", *genesis)
    assert everything["auctions"] >= 1 and everything["faults"] == []
    for part, code in (("price", "wrong-price"), ("energy", "wrong-split"), ("flows", "wrong-flows")):
        assert code in asyncio.run(_faults_of_a_lying_node(network, int(slot), part))


def test_products_are_taken_along_and_checked_without_a_node(watt: Watt, network: Cluster, tmp_path: Path) -> None:
    genesis = ["--genesis", str(network.network.directory / GENESIS_NAME)]
    whole, one = tmp_path / "all.export", tmp_path / "one.export"
    slot = watt.slot(6)
    refused = watt.run("market", "export", "--all", "--out", str(whole), *genesis)
    assert refused.stderr.startswith("watt: not-allowed: "), "every home's orders are in it"
    watt = Watt(network, is_validator=True)
    written = watt.json("market", "export", "--all", "--out", str(whole), *genesis)
    assert written["bytes"] == whole.stat().st_size and written["faults"] == []
    figures = ("products", "pruned", "auctions", "orders", "trades", "energy_wh")
    watt.json("market", "export", "--product", slot, "--out", str(one), *genesis)
    nowhere = Watt(network)
    nowhere.node = "127.0.0.1:1"
    checked = nowhere.json("market", "verify", "--file", str(whole), *genesis)
    assert {name: checked[name] for name in figures} == {name: written[name] for name in figures}
    alone = nowhere.json("market", "verify", "--file", str(one), *genesis)
    assert alone["products"] == 1 and alone["faults"] == [] and "block " in alone["read"]
    assert nowhere.json("market", "verify", "--file", str(whole), "--product", slot, *genesis)["products"] == 1
    compared = watt.json("market", "verify", "--file", str(one), "--compare", *genesis)
    assert compared["compared"] == 0, "nothing has been deleted"
    again = watt.run("market", "export", "--all", "--out", str(whole), *genesis)
    assert again.exit_code == 1 and again.stderr.startswith("watt: file-exists: ")
    for data, code in ((whole.read_bytes()[:-1], "bad-export"), (b"", "bad-export")):
        one.write_bytes(data)
        refused = nowhere.run("market", "verify", "--file", str(one), *genesis)
        assert refused.exit_code == 1 and refused.stderr.startswith(f"watt: {code}: "), refused.output
    missing = nowhere.run("market", "verify", "--file", str(tmp_path / "none"), *genesis)
    assert missing.exit_code == 1 and missing.stderr.startswith("watt: no-export: ")
    wrong = (["--trust-node", "--file", str(whole)], ["--compare"], ["1", "--all"], ["--config", "x", "--file", "y"])
    for words in wrong:
        assert nowhere.run("market", "verify", *words).exit_code == 2
    for words in (["--all", "--trust-node"], genesis, ["--product", "1", "--all"]):
        assert nowhere.run("market", "export", "--out", str(tmp_path / "never"), *words).exit_code == 2


async def _faults_of_a_lying_node(network: Cluster, slot: int, part: str) -> set[str]:
    """The codes of what is found when a node changes one thing in the auctions that it shows."""
    async with network.network.client() as client:

        async def read(contract: str, method: str, args: Mapping[str, Any]) -> Any:
            answer: Any = await client.query(contract, method, args)
            if method != "auction":
                return answer
            fields, orders, trades = answer
            auction = Auction(*fields)
            if part == "price":
                auction = auction._replace(prices=tuple(price + 1 for price in auction.prices))
            elif part == "flows":
                auction = auction._replace(flows_before=tuple(flow + 1 for flow in auction.flows_before))
            else:
                trades = tuple((buy, sell, wh - 1, *rest) for buy, sell, wh, *rest in trades)
            return tuple(auction), orders, trades

        outcome = await verify_product(read, slot, 1800)
        return {fault.code for fault in outcome.faults}


def test_money_from_issue_to_share(watt: Watt) -> None:
    before = watt.json("wallet", "balance", "home-3")["devices"]
    watt.json("admin", "issue", "home-3", "12.5", "--reference", "a bill", key="utility")
    watt.json("admin", "allocate", "home-3", "home-3/load=10", "home-3/ev=2.5", key="home-3")
    watt.json("wallet", "share", "home-3/load", "home-3/ev", "0.75", key="home-3")
    balance = watt.json("wallet", "balance", "home-3")
    gained = {name: book["available"] - before[name]["available"] for name, book in balance["devices"].items()}
    assert gained == {"home-3/load": 9_250_000_000, "home-3/ev": 3_250_000_000}
    shares = watt.json("wallet", "share", "--list", "home-3")
    assert [(row["giver"], row["receiver"], row["amount"]) for row in shares] == [
        ("home-3/load", "home-3/ev", 750_000_000)
    ]
    assert watt.json("wallet", "alerts", "home-3")["alerts"] == [], "the owner did it: nothing that it does not know"
    unknown = watt.run("wallet", "alerts", "home-3", "--acknowledge", "1", key="home-3")
    assert unknown.stderr.startswith("watt: unknown-alert: ")


def test_a_balance_is_proven_by_the_genesis_document(watt: Watt, network: Cluster, tmp_path: Path) -> None:
    document = network.network.directory / GENESIS_NAME
    proven = watt.json("wallet", "balance", "home-3")
    assert proven.pop("proven").startswith("at block ")
    assert proven == watt.json("wallet", "balance", "home-3", "--trust-node")
    assert watt.json("wallet", "balance", "home-3/ev", "--genesis", str(document))["network"] is None
    other = msgspec.json.decode(document.read_bytes()) | {"name": "another"}
    (tmp_path / "genesis.json").write_bytes(msgspec.json.encode(other))
    for command in (["wallet", "balance", "home-3"], ["market", "verify"]):
        refused = watt.run(*command, "--genesis", str(tmp_path / "genesis.json"))
        assert refused.exit_code == 1 and refused.stderr.startswith("watt: other-chain: "), refused.output


def test_registering_a_new_home(watt: Watt, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("correct horse\n")
    secret = ["--passphrase-file", str(tmp_path / "passphrase")]
    result = CliRunner().invoke(main, ["wallet", "new", "--out", str(tmp_path / "new.key"), *secret])
    public = result.stdout.strip()
    assert load_key(tmp_path / "new.key", "correct horse").public_key.hex() == public
    again = CliRunner().invoke(main, ["wallet", "new", "--out", str(tmp_path / "new.key"), *secret])
    assert again.exit_code == 1 and "key-exists" in again.stderr

    def proven(kind: str, name: str) -> str:
        """What the holder of the new key hands to the utility."""
        words = ["keys", "prove", name, "--kind", kind, "--by", "utility", "--key", str(tmp_path / "new.key")]
        said = watt.run(*words, *secret)
        assert said.exit_code == 0 and said.stdout.startswith(f"{public}:"), said.output
        return said.stdout.strip()

    member = ["admin", "member", "add", "sunrise", "--role", "aggregator", "--public-key"]
    refused = watt.run(*member, proven("member", "sunset"), key="utility")
    assert refused.exit_code == 1 and refused.stderr.startswith(f"watt: bad-signature: {public} "), refused.output
    watt.json(*member, proven("member", "sunrise"), key="utility")
    watt.json(
        "admin", "network", "add", "home-9", "--member", "sunrise", "--owner-key", proven("owner", "home-9"),
        "--bus", "bus-1", key="utility",
    )  # fmt: skip
    watt.json(
        "admin", "device", "add", "home-9/ev", "--network", "home-9", "--kind", "ev", "--bus", "bus-1",
        "--device-key", proven("device", "home-9/ev"), "--meter-key", proven("meter", "home-9/ev"),
        "--import-w", "3600", key="utility",
    )  # fmt: skip
    balance = ["wallet", "balance", "home-9"]
    assert watt.run(*balance).stderr.startswith("watt: not-allowed: "), "it is another member's"
    watt.env |= {"WATT_KEY": str(tmp_path / "new.key"), "WATT_PASSPHRASE": "correct horse"}
    assert list(watt.json(*balance)["devices"]) == ["home-9/ev"]
    assert watt.run("admin", "member", "add", "sunset", "--public-key", "abc", key="utility").exit_code == 2


def test_watching_events(watt: Watt) -> None:
    result = watt.run("wallet", "watch", "--from-height", "1", "--blocks", "1", "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert events and all(event["height"] == 1 for event in events)


def test_every_event_of_a_live_network_has_named_fields(watt: Watt) -> None:
    head = watt.json("node", "status")["height"]
    result = watt.run("wallet", "watch", "--from-height", "1", "--blocks", str(head), "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"order", "transfer", "product"} <= {event["topic"] for event in events}
    assert [event for event in events if not isinstance(event["data"], dict)] == []


def test_asking_for_a_device_that_is_not_there(watt: Watt) -> None:
    for words in (["orders", "nobody"], ["trades", "nobody", "--slot", watt.slot(3)]):
        result = watt.run("wallet", *words)
        assert result.exit_code == 1 and result.stderr.startswith("watt: not-allowed: "), "that is proven to nobody"


def test_cancelling_by_the_first_digits_of_an_order(watt: Watt) -> None:
    slot = watt.slot(8)
    sell = ["sell", "--slot", slot, "--price", "0.4"]
    placed = [watt.json("wallet", "order", "home-1/pv", *sell, wh, key="home-1.pv")["order"] for wh in ("200", "300")]
    cancel = ["wallet", "cancel", "--device", "home-1/pv"]
    assert watt.run(*cancel, "", key="home-1.pv").stderr.startswith("watt: unknown-order: ")
    for order in placed:
        assert watt.json(*cancel, order[:12].upper(), key="home-1.pv")["order"] == order
    assert watt.run(*cancel, placed[0], key="home-1.pv").stderr.startswith("watt: unknown-order: 0 open orders")


def test_what_became_of_a_transaction(watt: Watt, network: Cluster) -> None:
    assert watt.json("wallet", "status", "00" * 32) == {
        "transaction": "00" * 32, "state": "unknown", "height": None, "code": None, "details": None, "result": None,
    }  # fmt: skip
    order = ["wallet", "order", "home-1/pv", "sell", "1kWh", "--price", "0.4", "--slot", watt.slot(9)]
    height = watt.json(*order, key="home-1.pv")["height"]

    async def placed() -> bytes:
        async with network.network.client(watt.node) as client:
            return decode_batch((await client.block(height)).body).transactions[0].id

    tx_id = asyncio.run(placed())
    found = watt.json("wallet", "status", tx_id.hex())
    assert (found["state"], found["height"], found["code"]) == ("committed", height, "ok")
    assert watt.run("wallet", "status", tx_id.hex()).stdout.startswith(f"committed in block {height}: ok")
    assert watt.run("wallet", "status", tx_id.hex(), key="home-2.load").stdout == "unknown\n"


def test_who_does_not_wait_learns_how_to_ask(watt: Watt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.session.WAIT_S", 0)
    order = ["wallet", "order", "home-1/pv", "sell", "1kWh", "--price", "0.4", "--slot", watt.slot(10)]
    result = watt.run(*order, key="home-1.pv")
    assert result.exit_code == 1 and result.stderr.startswith("watt: timed-out: ")
    assert "may still be executed until 2" in result.stderr
    tx_id = result.stderr.rpartition("`watt wallet status ")[2].rstrip("`\n")
    deadline = time.monotonic() + 20
    while watt.json("wallet", "status", tx_id)["state"] != "committed":
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("words", "key", "code"),
    [
        (["wallet", "order", "home-1/pv", "sell", "1kWh", "--price", "0.5"], "home-2.load", "wrong-key"),
        (["wallet", "order", "home-9x/pv", "sell", "1kWh", "--price", "0.5"], "home-2.load", "unknown-device"),
        (["wallet", "order", "home-1/pv", "sell", "1kWh", "--price", "5000"], "home-1.pv", "bad-price"),
        (["wallet", "order", "home-1/pv", "sell", "50Wh", "--price", "0.3"], "home-1.pv", "bad-energy"),
        (["wallet", "order", "home-1/pv", "sell", "50kWh", "--price", "0.3"], "home-1.pv", "over-capacity"),
    ],
)
def test_refusals_are_one_line_with_a_code(watt: Watt, words: list[str], key: str, code: str) -> None:
    result = watt.run(*words, "--slot", watt.slot(3), key=key)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"watt: {code}: ") and result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_nobody_answers() -> None:
    (port,) = free_ports(1)
    result = CliRunner().invoke(main, ["market", "products", "--node", f"127.0.0.1:{port}"])
    assert result.exit_code == 3 and result.stderr.startswith("watt: unreachable: ")


def test_wrong_passphrase(watt: Watt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "wrong")
    key_file = str(watt.keys / "utility.json")
    result = CliRunner().invoke(main, ["admin", "issue", "home-1", "1", "--reference", "x", "--key", key_file])
    assert result.exit_code == 1 and "wrong-passphrase" in result.stderr


def test_two_programs_with_one_key(network: Cluster, watt: Watt) -> None:
    """Both take the same next nonce; the one that comes second takes another."""
    key = load_key(watt.keys / "utility.json", watt.passphrase_file.read_text().strip())
    heights = asyncio.run(_two_issues(network.network.gateways, key))
    assert all(height > 0 for height in heights)


async def _two_issues(gateways: list[str], key: SigningKey) -> list[int]:
    async with Client(gateways, key) as client:
        info = await client.node_info()
        period = info.now // 1800 // 1440
        accounts = [Account(client, key, info.chain) for _ in range(2)]
        calls = [{"network": "home-2", "period": period, "amount": 1, "reference": b"%d" % i} for i in range(2)]
        pairs = zip(accounts, calls, strict=True)
        done = await asyncio.gather(*(account.settle("budget", "issue", call) for account, call in pairs))
        return [status.height for status in done]
