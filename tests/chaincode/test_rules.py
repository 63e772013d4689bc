"""The market's rules, changed by vote: who decides, what is refused, and what a change does to the calendar."""

from typing import Any, cast

import pytest

from chaincode.ballot import MAX_AHEAD, MAX_OPEN_PER_ADMIN, NOTICE
from chaincode.contract import ContractError
from chaincode.rules import digest_of
from tests.chaincode.council import Council
from tests.chaincode.marketplace import FEED_IN, RETAIL, SLOT_S, TICK_S, marketplace, order, product_state, refusal
from tests.chaincode.town import admin
from tests.chaincode.world import CHAIN


def code(council: Council, who: str, method: str, **args: Any) -> tuple[str, tuple[int, ...]]:
    with pytest.raises(ContractError) as caught:
        council.call(admin(who), "rules", method, **args)
    return caught.value.code, caught.value.details


def refused(council: Council, at: int | None = None, who: str = "ada", **changes: Any) -> str:
    return code(council, who, "propose", **council.proposed(at, changes))[0]


def open_slots(council: Council) -> list[int]:
    return [slot for slot, row in council.products().items() if row[1] == "OPEN"]


def test_more_than_two_thirds_change_the_rules_at_the_stated_height() -> None:
    council = Council()
    at = council.height + NOTICE + 5
    number, digest, missing = council.propose("ada", at=at, gate_before_end_s=900, tick_s=60)
    assert missing == 2
    assert digest == digest_of(CHAIN, number, (("gate_before_end_s", 900), ("tick_s", 60)), (), at)
    row = cast("Any", council.query("rules", "proposals"))[0]
    assert row[:5] == (number, digest, (("gate_before_end_s", 900), ("tick_s", 60)), (), at)
    assert row[5:] == (at - NOTICE, admin("ada"), ("ada",), ("bob", "cyd", "dan"), 2)
    assert council.approve("bob", number, digest) == 1
    assert council.approve("bob", number, digest) == 1, "one vote each"
    assert council.query("rules", "scheduled") is None
    assert council.approve("cyd", number, digest) == 0
    assert council.query("rules", "proposals") == ()
    before = council.rules()
    after = before._replace(gate_before_end_s=900, tick_s=60)
    assert council.query("rules", "scheduled") == (at, number, tuple(after))
    council.height = at - 2
    council.next_block()
    assert council.rules() == before
    council.next_block()
    assert council.height == at and council.rules() == after
    assert council.query("rules", "scheduled") is None
    history = cast("Any", council.query("rules", "history"))
    assert history == ((0, 0, 0, None, tuple(before)), (1, at, council.time, number, tuple(after)))
    assert council.query("rules", "history", first=1) == history[1:]


def test_a_change_comes_into_force_late_if_nobody_made_a_block_at_its_height() -> None:
    """A null batch runs no hooks: the first block after it that does finds the change due."""
    council = Council()
    council.height = council.decide(tick_s=60) + 3
    council.next_block()
    assert council.rules().tick_s == 60
    assert cast("Any", council.query("rules", "history"))[1][1] == council.height


def test_open_products_keep_what_they_pinned() -> None:
    council = Council()
    old = council.products()
    council.change(
        gate_before_end_s=900, tick_s=0, metering_window_s=60, dispute_window_s=0, internal_permille=500,
        mix_permille=250, tariffs=((0, 300, 40),),
    )  # fmt: skip
    assert {slot: row for slot, row in council.products().items() if slot in old} == old
    assert refusal(council, "home-1/load", "buy", slot=3, price=150) == "bad-price"
    council.next_block(SLOT_S)
    new = council.products()[4]
    ends = 5 * SLOT_S
    assert new[2:8] == (SLOT_S, 4 * SLOT_S, ends, ends - 900, ends + 60, ends + 60)
    assert (new[9], new[10], new[12], new[13], new[14]) == (300, 40, 0, 170, 250)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"slot_seconds": 900},
        {"tick_s": -1},
        {"outage_s": 59},
        {"ticks": 10},
        {"open_before_s": 10**7},
        {"gate_before_end_s": 4 * SLOT_S},
        {"internal_permille": 1_001},
        {"tariffs": ((0, FEED_IN, RETAIL),)},
        {"tariffs": ((1, RETAIL, FEED_IN),)},
        {"tariffs": ((0, 2**40, 0),)},
        {"tick_s": TICK_S},
    ],
)
def test_what_no_genesis_could_say_cannot_be_proposed(changes: dict[str, Any]) -> None:
    council = Council()
    expected = "no-change" if changes in ({}, {"tick_s": TICK_S}) else "bad-settings"
    assert refused(council, **changes) == expected
    assert council.query("rules", "proposals") == ()


def test_a_setting_is_named_once() -> None:
    council = Council()
    twice = {"first_height": council.height + NOTICE, "settings": (("tick_s", 20), ("tick_s", 30))}
    assert code(council, "ada", "propose", **twice)[0] == "bad-settings"
    tariffs = {"first_height": council.height + NOTICE, "settings": (("tariffs", 20),)}
    assert code(council, "ada", "propose", **tariffs)[0] == "bad-settings"


def test_a_change_is_looked_at_again_when_it_is_decided() -> None:
    """Alone, either leaves the gate within the time for which a product is open; together they do not."""
    council = Council()
    late = council.propose("ada", at=council.height + 500, gate_before_end_s=3 * SLOT_S)
    council.change(open_before_s=SLOT_S)
    assert council.approve("bob", *late[:2]) == 1
    assert code(council, "cyd", "approve", proposal=late[0], digest=late[1])[0] == "bad-settings"
    same = council.propose("bob", at=council.height + 500, tick_s=30)
    council.change(tick_s=30)
    council.approve("ada", *same[:2])
    assert code(council, "cyd", "approve", proposal=same[0], digest=same[1])[0] == "no-change"


def test_one_change_is_scheduled_at_a_time() -> None:
    council = Council()
    other = council.propose("dan", at=council.height + 300, tick_s=20)
    council.approve("ada", *other[:2])
    at = council.decide(tick_s=60, at=council.height + 50)
    assert code(council, "bob", "approve", proposal=other[0], digest=other[1]) == ("change-pending", (at,))
    assert refused(council, tick_s=60) == "no-change", "what is scheduled counts"
    council.height = at - 1
    council.next_block()
    assert council.approve("bob", *other[:2]) == 0


def test_heights_and_numbers_of_proposals_are_bounded() -> None:
    council = Council()
    assert code(council, "ada", "propose", **council.proposed(council.height + NOTICE - 1, {"tick_s": 20})) == (
        "too-soon",
        (council.height + NOTICE,),
    )
    assert refused(council, at=council.height + MAX_AHEAD + 1, tick_s=20) == "too-far"
    assert refused(council, at=-1, tick_s=20) == "too-soon"
    for turn in range(MAX_OPEN_PER_ADMIN):
        council.propose("ada", tick_s=20 + turn)
    assert refused(council, tick_s=40) == "too-many-proposals"
    first = cast("Any", council.query("rules", "proposals"))[0]
    council.height += 1
    lapsed = code(council, "bob", "approve", proposal=first[0], digest=first[1])
    assert lapsed == ("lapsed", (council.height - 1,))
    assert council.query("rules", "proposals") == ()
    council.propose("ada", tick_s=40)


def test_who_may_not_vote_is_refused() -> None:
    council = Council()
    assert refused(council, who="home-1", tick_s=20) == "not-allowed"
    number, digest, _ = council.propose("ada", tick_s=20)
    assert code(council, "bob", "withdraw", proposal=number)[0] == "not-allowed"
    assert code(council, "bob", "approve", proposal=number, digest=bytes(32))[0] == "wrong-digest"
    assert code(council, "bob", "approve", proposal=number + 1, digest=digest)[0] == "unknown-proposal"
    council.approve("bob", number, digest)
    council.call(admin("bob"), "rules", "withdraw", proposal=number)
    council.call(admin("ada"), "rules", "withdraw", proposal=number)
    assert code(council, "cyd", "approve", proposal=number, digest=digest)[0] == "unknown-proposal"
    topics = [event.topic for event in council.events if event.contract == "rules"]
    assert topics == [
        "rules-proposed", "rules-approved", "rules-approved", "rules-approval-withdrawn", "rules-withdrawn",
    ]  # fmt: skip


def test_the_membership_and_the_rules_have_ballots_of_their_own() -> None:
    council = Council()
    number, digest, _ = council.propose("ada", tick_s=20)
    assert number == 0 and council.query("governance", "proposals") == ()
    with pytest.raises(ContractError, match="unknown-proposal"):
        council.call(admin("bob"), "governance", "approve", proposal=number, digest=digest)


def test_without_governance_nobody_changes_the_rules() -> None:
    world = marketplace()
    args = {"first_height": 99, "settings": (("tick_s", 20),)}
    assert world.refused(admin("ada"), "rules", "propose", **args) == "no-governance"
    assert len(cast("Any", world.query("rules", "history"))) == 1
    assert world.refused(admin("ada"), "rules", "approve", proposal=0, digest=b"") == "no-governance"


def test_if_products_open_earlier_those_that_are_missing_open_at_once() -> None:
    council = Council()
    assert open_slots(council) == [0, 1, 2, 3]
    council.change(open_before_s=10 * SLOT_S)
    assert open_slots(council) == list(range(11))
    council.next_block(SLOT_S - 600)
    council.next_block(SLOT_S)
    assert open_slots(council) == list(range(1, 12))
    assert council.query("rules", "outages") == (), "to open late is no outage"


def test_many_products_open_in_several_blocks() -> None:
    council = Council()
    council.change(open_before_s=900 * SLOT_S)
    blocks = 0
    while len(open_slots(council)) < 901:
        assert council.next_event() is not None and cast("int", council.next_event()) <= council.time
        council.next_block()
        blocks += 1
    assert 2 <= blocks <= 5
    council.next_block(council.time + 299)
    assert council.query("rules", "outages") == ()


def test_if_products_open_later_none_opens_until_one_is_due() -> None:
    council = Council()
    council.change(open_before_s=SLOT_S)
    seen = []
    while council.time < 4 * SLOT_S:
        due = council.next_event()
        assert due is not None
        council.next_block(due)
        seen.append((council.time, max(council.products())))
    assert {time: last for time, last in seen if time % SLOT_S == 0} == {
        SLOT_S: 3, 2 * SLOT_S: 3, 3 * SLOT_S: 4, 4 * SLOT_S: 5,
    }  # fmt: skip


def test_orders_stay_in_products_that_would_not_be_open_by_the_new_rules() -> None:
    council = Council()
    sell = order(council, "home-2/pv", "sell", slot=3, price=30)
    council.change(open_before_s=0)
    council.next_block(TICK_S)
    assert product_state(council, 3) == "OPEN"
    assert cast("Any", council.query("market", "order", order=sell))[12] == "ACCEPTED"


def test_what_is_not_pinned_counts_at_once() -> None:
    council = Council()
    council.change(outage_s=5_000, retention_s=86_400)
    council.next_block(council.time + 4_000)
    assert council.query("rules", "outages") == ()
    assert council.rules().retention_s == 86_400


def test_lists_begin_at_0() -> None:
    council = Council()
    for method in ("history", "outages"):
        with pytest.raises(ContractError, match="bad-range"):
            council.query("rules", method, first=-1)
