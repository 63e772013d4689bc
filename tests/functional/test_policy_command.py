"""`watt admin policy` on a real network whose slots last a second: checked, applied, compared, and tried on a period
that is over; allocation by policy, by forecast, and back into the pool."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.gateway.client import Client
from tests.functional.metered import SLOT_S, VALIDATOR, Street, key, started_street

LOAD, EV, OTHER = "home-1/load", "home-1/ev", "home-2/load"
PERIOD_SLOTS = 25
POLICY = f"""\
network = "home-1"
pool_helps = true
allocation = "fixed"

[devices."{LOAD}"]
limit = 0.00007
amount = 0.00006

[devices."{EV}"]
rank = 1
floor = 0.000002
share_permille = 200
"""


class Owned(Street):
    """`watt` and what the ledger answers."""

    def ask(self, contract: str, method: str, **args: Any) -> Any:
        async def ask() -> Any:
            async with Client([self.node], key("club")) as client:
                return await client.query(contract, method, args)

        return asyncio.run(ask())

    def until(self, found: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 90
        while not (answer := found()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return answer

    def policy(self, text: str) -> str:
        path = self.directory / "policy.toml"
        path.write_text(text)
        return str(path)

    def open_slots(self, state: str) -> list[int]:
        return [row["slot"] for row in self.json("market", "products") if row["state"] == state]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owned]:
    devices = (LOAD, EV, OTHER)
    yield from started_street(Owned, tmp_path_factory.mktemp("street"), devices, 6 * SLOT_S, PERIOD_SLOTS)


def test_all_that_is_wrong_is_told_and_nothing_is_sent(street: Owned, tmp_path: Path) -> None:
    file = street.policy(
        'network = "home-1"\nproceds = "pool"\nexcess = "sell"\nagreement = 7\ncarry_cap = 0\n'
        '[devices."home-1/lod"]\nrank = 1\n[devices."home-2/load"]\nfloor = 2\nlimit = 1\n'
    )
    (tmp_path / "two.toml").write_text('network = "home-2"\n[devices."home-2/load"]\nrank = 1\n')
    (tmp_path / "three.toml").write_text('network = "home-22"\npool_floor = \n')
    files = [file, str(tmp_path / "two.toml"), str(tmp_path / "three.toml")]
    problems = street.json("admin", "policy", "check", *files, status=1)
    assert [(problem["line"], problem["code"]) for problem in problems] == [
        (2, "unknown-key"), (4, "unknown-agreement"), (6, "unknown-device"), (8, "other-network"),
        (9, "floor-above-limit"), (2, "device-in-two-files"), (2, "bad-toml"),
    ]  # fmt: skip
    assert 'did you mean "home-1/load"?' in problems[2]["message"]
    told = street.run("admin", "policy", "check", *files)
    assert told.exit_code == 1 and f"{file}:2:1: unknown-key: " in told.stderr and "7 problems" in told.stderr
    for command in (["diff", file], ["try", file], ["apply", file]):
        refused = street.run("admin", "policy", *command, by="home-1" if command[0] == "apply" else None)
        assert refused.exit_code == 1 and "unknown-device" in refused.stderr, refused.output
    unknown = ("admin", "policy", "check", street.policy('network = "home-3"\n'))
    by_validator = street.run(*unknown, by=VALIDATOR).stderr
    assert 'unknown-network: there is no network home-3; did you mean "home-' in by_validator
    assert "not-allowed: there is no network home-3, or this key may not read it" in street.run(*unknown).stderr
    assert street.run("admin", "policy", "show", "home-1").stdout == 'network = "home-1"\n'


def test_a_policy_is_compared_applied_and_shown(street: Owned) -> None:
    file = street.policy(POLICY)
    assert street.json("admin", "policy", "check", file) == []
    changes = street.json("admin", "policy", "diff", file)
    assert [(change["device"], change["term"], change["after"]) for change in changes] == [
        ("", "pool_helps", "true"), ("", "allocation", '"fixed"'), (EV, "rank", "1"), (EV, "floor", "0.000002"),
        (EV, "share_permille", "200"), (LOAD, "limit", "0.00007"), (LOAD, "amount", "0.00006"),
    ]  # fmt: skip
    refused = street.run("admin", "policy", "apply", file, by="home-2")
    assert refused.exit_code == 1 and "not-allowed: there is no network home-1, or this key may" in refused.stderr
    done = street.run("admin", "policy", "apply", file, by="home-1")
    assert done.exit_code == 0 and f"{LOAD}: limit none -> 0.00007" in done.stdout and "done in block" in done.stdout
    assert street.json("admin", "policy", "apply", file, by="home-1") == {"height": None, "changes": []}
    shown = street.run("admin", "policy", "show", "home-1").stdout
    assert street.json("admin", "policy", "diff", street.policy(shown)) == []
    assert street.json("admin", "policy", "show", "home-1")["devices"][LOAD]["limit"] == 70_000


def test_a_period_is_allocated_by_policy_and_tried_under_another(street: Owned) -> None:
    street.run("admin", "policy", "apply", street.policy(POLICY), by="home-1")
    now = street.until(lambda: street.open_slots("OPEN"))[0]
    period = street.ask("budget", "period", network="home-1", slot=now)[0] + 1
    of = ["--period", str(period)]
    street.json("admin", "issue", "home-1", "0.0001", "--reference", "a bill", *of, by="utility")
    early = street.run("admin", "policy", "try", street.policy(POLICY), *of)
    assert early.exit_code == 1 and early.stderr.startswith("watt: period-not-over: ")
    given = street.json("admin", "allocate", "home-1", "--by-policy", *of, by="home-1")["result"]
    assert given == [[LOAD, 60_000], [EV, 20_000]]
    refused = street.run("admin", "allocate", "home-1", f"{LOAD}=0.000011", *of, by="home-1")
    assert refused.stderr.startswith("watt: over-limit: the limit leaves room for"), refused.stderr
    assert street.json("admin", "take-back", "home-1", f"{EV}=0.000005", *of, by="home-1")["result"] == 25_000
    street.json("wallet", "forecast", EV, "0.00003", *of, by="home-1")
    given = street.json("admin", "allocate", "home-1", "--by-forecast", "0.000005", *of, by="home-1")["result"]
    assert given == [[EV, 5_000]]

    first = period * PERIOD_SLOTS
    delivered = street.until(lambda: [slot for slot in street.open_slots("DELIVERED") if slot > first])
    slot = max(delivered)
    for device, wh in ((LOAD, 700), (EV, 0)):
        reading = street.file("readings.csv", [(slot, wh, 0, wh, 0)])
        assert street.run("meter", "day", device, reading, by=f"{device}.meter").exit_code == 0
    street.until(lambda: street.ask("settlement", "settled", network="home-1", slot=slot))
    over = ("closing", "closed")
    street.until(lambda: street.ask("periods", "period", network="home-1", period=period)[0] in over)
    tried = street.json("admin", "policy", "try", street.policy(POLICY.replace("0.00006", "0.00007")), *of)
    then, new = tried["then"]["devices"], tried["new"]["devices"]
    assert (then[LOAD]["spent"], then[LOAD]["out"], new[LOAD]["out"]) == (60_000, slot, None)
    assert new[LOAD]["spent"] == 70_000 and new[LOAD]["left"] == 0
    text = street.run("admin", "policy", "try", street.policy(POLICY), *of).stdout
    assert f"would run out: {LOAD}; no more: none" in text and "Simpler than it was" in text
