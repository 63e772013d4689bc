"""Devices that use too much, in a network whose half hours take five seconds: their plugs, their alerts with all that
proves them, and who paid."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from cli.session import Account
from node.keyfile import TESTNET, save_key
from testnet.cluster import Cluster, last_line
from testnet.genesis import GENESIS_NAME, build_network
from tests.chaincode.market_chain import KEYS, genesis
from tests.chaincode.marketplace import SLOT_S
from tests.functional.trading import as_validator

SCALE = 360
PATIENCE_S = 60
EV = "home-3/ev"


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    contracts = genesis(tick_s=60).contracts
    directory = tmp_path_factory.mktemp("devices")
    cluster = Cluster(build_network(directory, contracts, base_port=None, time_scale=SCALE, time_origin=0))
    try:
        cluster.start_all()
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.stop_all()
        for node in cluster.network.nodes:
            print(node.name, last_line(node))  # shown by pytest if a test failed


@pytest.fixture(scope="module", autouse=True)
def reading(street: Cluster) -> Iterator[None]:
    """Commands read with a validator's key if they are told no other."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in as_validator(street.network).items():
            patch.setenv(name, value)
        yield


def call(cluster: Cluster, sender: str, contract: str, method: str, **args: Any) -> Any:
    """Sign, submit at the last two nodes, wait; what the transaction returns."""

    async def use() -> Any:
        async with cluster.network.client(cluster.network.gateways[2:]) as client:
            account = Account(client, KEYS[sender], cluster.network.genesis.chain)
            return (await account.settle(contract, method, args)).result

    return asyncio.run(use())


def slot_now(cluster: Cluster) -> int:
    return cluster.network.genesis.block_time(time.time_ns() // 1_000_000) // SLOT_S


def wait_for(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def watt(cluster: Cluster, *words: str) -> Any:
    """The JSON of a command that asks one of the last two nodes."""
    env = {"WATT_GENESIS": str(cluster.network.directory / GENESIS_NAME)}
    result = CliRunner().invoke(main, [*words, "--json", "--node", " ".join(cluster.network.gateways[2:])], env=env)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def run_short(cluster: Cluster) -> None:
    """The car's owner takes its tokens back, and it orders all the same."""
    period = slot_now(cluster) // 48
    available = watt(cluster, "wallet", "balance", EV)["devices"][EV]["available"]
    call(cluster, "home-3", "budget", "withdraw", network="home-3", period=period, amounts=[[EV, available]])
    order = {"slot": slot_now(cluster) + 1, "energy_wh": 500, "price": 80}
    call(cluster, EV, "market", "place", device=EV, side="buy", **order)


def test_a_plug_follows_its_device_through_the_loss_of_a_gateway(street: Cluster, tmp_path: Path) -> None:
    """Each event once, in turn, from the state at the start on; the gateway that is asked first is killed meanwhile."""
    call(street, "utility", "budget", "issue", network="home-3", period=0, amount=10**7, reference=b"1")
    call(street, "home-3", "budget", "allocate", network="home-3", period=0, amounts=[[EV, 10**6]])
    told = tmp_path / "told"
    script = tmp_path / "plug"
    script.write_text('#!/bin/sh\necho "$WATT_EVENT $WATT_DEVICE $WATT_PERIOD $WATT_HEIGHT $WATT_TIME" >> "$1"\n')
    script.chmod(0o755)

    def rows() -> list[list[str]]:
        return [line.split() for line in told.read_text().splitlines()] if told.exists() else []

    command = [sys.executable, "-m", "cli.main", "wallet", "watch", "--device", EV, "--exec", f"{script} '{told}'"]
    command += ["--json", "--node", " ".join(street.network.gateways[:2])]
    save_key(tmp_path / "ev.json", KEYS[EV], "x", TESTNET)
    own = os.environ | {"WATT_KEY": str(tmp_path / "ev.json"), "WATT_PASSPHRASE": "x"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=own)
    try:
        wait_for(lambda: len(rows()) == 1, "the state at the start")
        run_short(street)
        wait_for(lambda: len(rows()) == 2, "curtailed")
        street.kill(street.network.nodes[0])
        call(street, "home-3", "budget", "allocate", network="home-3", period=0, amounts=[[EV, 10**6]])
        wait_for(lambda: len(rows()) == 3, "restored, by another gateway")
        run_short(street)
        wait_for(lambda: len(rows()) == 4, "curtailed again")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        street.start(street.network.nodes[0])
    assert process.returncode == 0 and "stopped" in err, err
    assert [row[:3] for row in rows()] == [[event, EV, "0"] for event in ("restore", "curtail", "restore", "curtail")]
    heights = [int(row[3]) for row in rows()]
    assert heights == sorted(set(heights))
    done = [json.loads(line) for line in out.splitlines()]
    ran = [(row[0], int(row[3]), True) for row in rows()]
    printed = [(row["event"], row["height"], row["done"]) for row in done]
    assert printed in (ran, ran[:-1]), "the signal may come before the last is told of"
    now = watt(street, "wallet", "watch", "--device", EV, "--exec", "true", "--blocks", "1")
    assert now["event"] == "curtail" and now["period"] == 0, "at the start the present state is applied"


@pytest.fixture(scope="module")
def alerted(street: Cluster) -> tuple[int, str]:
    """A battery without budget is helped to an order by a load, which then uses half of its budget in one slot: (the
    slot, the order). The battery's meter stays silent."""
    call(street, "utility", "budget", "issue", network="home-1", period=0, amount=10**7, reference=b"1")
    call(street, "home-1", "budget", "allocate", network="home-1", period=0, amounts=[["home-1/load", 10**6]])
    wait_for(lambda: slot_now(street) >= 3, "some of the period is over, so that the load has something to spare")
    slot = slot_now(street) + 1
    order = {"slot": slot, "energy_wh": 100, "price": 80}
    ordered = call(street, "home-1/battery", "market", "place", device="home-1/battery", side="buy", **order)
    offer = {**order, "price": 30}
    call(street, "home-2/pv", "market", "place", device="home-2/pv", side="sell", **offer)
    wait_for(lambda: slot_now(street) > slot, "the slot is over")
    reading = {"slot": slot, "import_wh": 5_000, "export_wh": 0, "import_register": 5_000, "export_register": 0}
    call(street, "meter home-1/load", "settlement", "report", device="home-1/load", **reading)
    wanted = {("home-1/battery", "borrowed"), ("home-1/load", "ahead"), ("home-1/battery", "estimated")}
    wait_for(lambda: wanted <= set(alerts_of(street)), f"{wanted} are raised")
    return slot, ordered.hex()


def alerts_of(street: Cluster, *words: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Alerts of home-1 by device and cause."""
    found = watt(street, "wallet", "alerts", "home-1", *words)
    rows = found["alerts"] if isinstance(found, dict) else found
    return {(row["device"], row["cause"]): row for row in rows}


def test_an_alert_leads_to_the_order_that_others_paid_for(street: Cluster, alerted: tuple[int, str]) -> None:
    slot, ordered = alerted
    proof = ["--genesis", str(street.network.directory / GENESIS_NAME)]
    borrowed = alerts_of(street, *proof)["home-1/battery", "borrowed"]
    shown = watt(street, "wallet", "alerts", "home-1", "--explain", str(borrowed["number"]), *proof)
    assert shown["proven"].startswith("proven at block ")
    (step,) = shown["steps"]
    assert step["reference"] == ordered and step["by"] == "home-1/load" and step["rule"] == "rank 100"
    assert (step["slot"], step["amount"], step["height"]) == (slot, borrowed["figures"][0], borrowed["height"])
    assert step["note"].startswith("for an order, order to buy 100 Wh at bus b1, ")


def test_an_alert_adds_up_to_the_readings_of_the_period(street: Cluster, alerted: tuple[int, str]) -> None:
    slot, _ = alerted
    proof = ["--genesis", str(street.network.directory / GENESIS_NAME)]
    ahead = alerts_of(street)["home-1/load", "ahead"]
    assert ahead["figures"][1] == 10**6 and ahead["figures"][0] > 400_000
    shown = watt(street, "wallet", "alerts", "home-1", "--explain", str(ahead["number"]), *proof)
    assert shown["complete"] and not shown["deleted"]
    assert sum(step["amount"] for step in shown["steps"]) == ahead["figures"][0]
    (read,) = ahead["evidence"]
    assert (read["kind"], read["number"]) == ("slot", slot)
    assert {step["reference"] for step in shown["steps"]} >= {read["reference"]}
    status = watt(street, "wallet", "status", read["reference"])
    assert (status["state"], status["height"]) == ("committed", read["height"])

    words = ["wallet", "alerts", "home-1", "--trust-node", "--node", " ".join(street.network.gateways[2:])]
    table = CliRunner().invoke(main, words).stdout
    assert "used 0.000 WATT of 0.001 WATT when" in table and "reading of slot " in table and " (1970-01-01 " in table
    text = CliRunner().invoke(main, [*words, "--explain", str(ahead["number"])]).stdout
    assert "it rests on:" in text and "together 0.000" in text and read["reference"] in text
    silent = alerts_of(street)["home-1/battery", "estimated"]
    text = CliRunner().invoke(main, [*words, "--explain", str(silent["number"])]).stdout
    assert "no reading: a slot estimated at 0.000 kWh" in text and "nothing was charged for it" in text
    refused = CliRunner().invoke(main, [*words, "--explain", "99"])
    assert refused.exit_code == 1 and refused.stderr.startswith("watt: unknown-alert: ")


def test_an_owner_has_seen_an_alert(street: Cluster, alerted: tuple[int, str], tmp_path: Path) -> None:
    key, passphrase = tmp_path / "owner.json", tmp_path / "passphrase"
    save_key(key, KEYS["home-1"], "x")
    passphrase.write_text("x\n")
    number = alerts_of(street)["home-1/load", "ahead"]["number"]
    signing = ["--key", str(key), "--passphrase-file", str(passphrase)]
    assert watt(street, "wallet", "alerts", "home-1", "--acknowledge", str(number), *signing)["height"] > 0
    assert alerts_of(street)["home-1/load", "ahead"]["acknowledged"] > 0
    assert ("home-1/load", "ahead") not in alerts_of(street, "--open", "--device", "home-1/load")


def test_who_uses_too_much_and_who_paid(street: Cluster, alerted: tuple[int, str]) -> None:
    proof = ["--genesis", str(street.network.directory / GENESIS_NAME)]
    ranked = watt(street, "admin", "devices", "--over", "--member", "club", *proof)["devices"]
    assert ranked and [row["over"] for row in ranked] == sorted([row["over"] for row in ranked], reverse=True)
    assert all(row["over"] > 0 for row in ranked)
    every = {row["device"]: row for row in watt(street, "admin", "devices")["devices"]}
    assert len(every) == 6 and every["home-1/load"]["alerts"]
    assert every["home-1/battery"]["borrowed"] == every["home-1/load"]["lent"] > 0
    assert every["home-1/battery"]["givers"][0] == {"giver": "home-1/load", "amount": every["home-1/load"]["lent"]}
    words = ["--node", " ".join(street.network.gateways[2:])]
    nobody = CliRunner().invoke(main, ["admin", "devices", "--member", "nobody", *words])
    assert nobody.exit_code == 1 and nobody.stderr.startswith("watt: unknown-member: ")
    table = CliRunner().invoke(main, ["admin", "devices", "home-1", *words]).stdout
    assert "Devices by what they use beyond their budgets: home-1, WATT" in table and "home-1/load 0.000" in table
