"""What the utility, a company and owners do with tokens by commands, on real nodes whose clock runs fast: caps, issue,
assignment, redemption, return; and a published tariff that a product pins."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testnet.cluster import Cluster
from testnet.genesis import GENESIS_NAME
from testnet.neighbourhood import build_neighbourhood
from tests.functional.conftest import started
from tests.functional.test_people import Watt

SCALE = 300  # a slot takes six seconds
MIDNIGHT = 1_497_571_200  # 16 June 2017
DAY_SLOTS = 48
TOKEN = 10**9


class Office(Watt):
    """`watt`, and the genesis document to check it by. The member "utility" is the homes' company as well."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.genesis = str(cluster.network.directory / GENESIS_NAME)

    def refused(self, *words: str, key: str) -> str:
        result = self.run(*words, key=key)
        assert result.exit_code == 1, result.output
        return result.stderr

    def until(self, found: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 120
        while not (answer := found()):
            assert time.monotonic() < deadline
            time.sleep(0.3)
        return answer

    def slot_now(self) -> int:
        """The slot under way: a product opens a day before its slot begins."""
        slots: list[int] = [row["slot"] for row in self.json("market", "products")]
        return max(slots) - DAY_SLOTS


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    whole = build_neighbourhood(
        tmp_path_factory.mktemp("fast") / "net",
        nodes=4,
        base_port=None,
        time_scale=SCALE,
        time_origin=MIDNIGHT,
        market={"outage_s": 86_400},
    )
    for cluster in started(Cluster(replace(whole, nodes=whole.nodes[:3]))):
        yield Office(cluster)


def test_tokens_from_the_utility_to_a_network_and_back(office: Office) -> None:
    before = office.json("admin", "supply")
    office.json("admin", "cap", "set", "home-1", "350", "--every", key="utility")
    told = office.refused("admin", "issue", "home-1", "51", "--reference", "b", key="utility")
    assert told.startswith("watt: over-cap: 300.000 of at most 350.000 tokens are issued")
    office.json("admin", "issue", "home-1", "50", "--reference", "b", key="utility")
    caps = office.json("admin", "cap", "show", "home-1")
    assert (caps["cap"], caps["every_period"], caps["issued"]) == (None, 350 * TOKEN, 350 * TOKEN)

    office.json("admin", "issue", "utility", "500", "--company", "--reference", "a", key="utility")
    office.json("admin", "company", "limit", "home-2", "100", key="utility")
    office.json("admin", "company", "classify", "home-2", "cooling", key="utility")
    assign = ("admin", "company", "assign", "home-2", "80")
    assert "not-allowed" in office.refused(*assign, key="home-2"), "the company's calendar is not its homes' to see"
    named = [
        f"--{name}={office.json('wallet', 'balance', 'home-2')['period']}" for name in ("period", "network-period")
    ]
    assert "wrong-key" in office.refused(*assign, *named, key="home-2")
    office.json("admin", "company", "assign", "home-2", "80", key="utility")
    told = office.refused("admin", "company", "assign", "home-2", "30", key="utility")
    assert "the limit leaves room for 20.000 tokens, not 30.000" in told
    office.json("admin", "company", "take-back", "home-2", "10", key="utility")
    shown = office.json("admin", "company", "show", "utility")
    assert (shown["company"]["pool"], shown["company"]["sent"], shown["company"]["received"]) == (
        430 * TOKEN, 80 * TOKEN, 10 * TOKEN,
    )  # fmt: skip
    (home,) = [row for row in shown["networks"] if row["network"] == "home-2"]
    assert (home["class"], home["limit"], home["given"]) == ("cooling", 100 * TOKEN, 70 * TOKEN)
    proven = office.json("wallet", "balance", "utility", "--genesis", office.genesis)
    assert proven["company"] == shown["company"] and proven["proven"].startswith("at block ")
    assert "Networks of utility" in office.run("wallet", "balance", "utility").stdout

    assert "no-redemption" in office.refused("admin", "redeem", "home-2", "20", "--reference", "r", key="home-2")
    slot = str(office.slot_now() + 3)
    office.json("admin", "redemption", "price", "85.5%", "--from", slot, key="utility")
    (price,) = office.json("admin", "redemption", "prices")
    assert price == {"from_slot": int(slot), "permille": 855}
    office.until(lambda: office.slot_now() >= int(slot))
    low = office.refused("admin", "redeem", "home-2", "20", "--reference", "r", "--least", "90%", key="home-2")
    assert low.startswith("watt: price-changed: the utility pays 85.5% of par now, less than 90%")
    done = office.run("admin", "redeem", "home-2", "20", "--reference", "r", key="home-2")
    assert "17.100 tokens of credit at 85.5% of par" in done.stdout
    (row,) = office.json("admin", "redemption", "list")
    assert office.json("admin", "redemption", "list", "home-2") == [row]
    office.json("admin", "redemption", "credit", str(row["number"]), "--bill", "2017-06/7", key="utility")
    again = ("admin", "redemption", "credit", str(row["number"]), "--bill", "x")
    assert "already-credited" in office.refused(*again, key="utility")
    assert office.json("admin", "redemption", "list") == []
    assert "2017-06/7" in office.run("admin", "redemption", "list", "home-2").stdout

    office.json("admin", "return", "--yes", "home-2", "5", "--reference", "spare", key="home-2")
    office.json("admin", "return", "--yes", "utility", "30", "--company", "--reference", "spare", key="utility")
    office.json("admin", "redemption", "burn", "--yes", "35", "--reference", "june", key="utility")
    after = office.json("admin", "supply")
    assert (after["issued"] - before["issued"], after["redeemed"]) == (550 * TOKEN, 55 * TOKEN)
    assert "500.000" in office.run("admin", "cap", "show", "utility", "--company").stdout
    office.json("admin", "cap", "lift", "home-1", "--every", key="utility")
    office.json("admin", "company", "limit", "home-2", "--none", key="utility")


def test_a_published_tariff_is_what_a_product_opens_under(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "summer.csv"
    file.write_text("from,retail,feed_in\n00:00,0.6,0.25\n07:00,0.9,0.35\n21:00,0.6,0.25\n")
    later = office.slot_now() + 2 * DAY_SLOTS
    worse = ("admin", "tariff", "publish", "--row", "00:00", "0.8", "0.3", "--from", str(later))
    told = office.refused(*worse, key="utility")
    assert told.startswith("watt: tariff-out-of-bounds: from 00:00 on retail is at most 0.7, feed-in at least 0.2")
    early = ("admin", "tariff", "publish", str(file), "--from", str(later - 2 * DAY_SLOTS))
    assert "tariff-too-late: the first slot for which" in office.refused(*early, key="utility")
    assert "not-allowed" in office.refused("admin", "tariff", "publish", str(file), key="home-1")
    slot = office.slot_now() + DAY_SLOTS + 4
    office.json("admin", "tariff", "publish", str(file), "--from", str(slot), key="utility")

    night = slot + (-slot % DAY_SLOTS)  # the next midnight
    shown = office.json("admin", "tariff", "show", "--slot", str(night))
    assert [row["from_slot"] for row in shown["published"]] == [slot]
    assert shown["voted"][0] == {"from_second": 0, "retail": 700_000, "feed_in": 200_000}
    assert (shown["slot"], shown["retail"], shown["feed_in"]) == (night, 600_000, 250_000)
    text = office.run("admin", "tariff", "show").stdout
    assert "Voted tariff" in text and f"Published from slot {slot} (2017-06-17 " in text
    expected = (900_000, 350_000) if 7 <= slot % DAY_SLOTS // 2 < 21 else (600_000, 250_000)
    opened = office.until(lambda: [row for row in office.json("market", "products") if row["slot"] == slot])
    assert (opened[0]["retail"], opened[0]["feed_in"]) == expected
