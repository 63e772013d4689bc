"""Who is told what came of a transaction, and for how long who signed a subscription hears what comes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from node.enrolment import possession
from node.errors import RefusedError
from node.gateway.access import Access
from node.gateway.feed import Feed
from node.limits import MAX_STRANGERS_FOLLOWING, MAX_SUBSCRIBERS
from tests.chaincode.busy_chain import ADMINS, KEYS, BusyChain
from tests.test_access_gateway import FRIEND, PUBLIC_KEYS, STRANGER, day


def test_results_are_for_the_sender_and_those_who_may_read_what_it_acts_for() -> None:
    chain, access = day()
    may = {PUBLIC_KEYS[name] for name in ("home-1/load", "home-1", "club", *ADMINS)}
    load = {order for device, order in chain.orders if device == "home-1/load"}
    found = 0
    for height in range(1, chain.ledger.head.height + 1):
        for place, receipt in enumerate(chain.ledger.receipts(height)):
            if receipt.result in load:
                found += 1
                everybody = (*PUBLIC_KEYS.values(), STRANGER, FRIEND, b"")
                tx = access.stored(height, place)
                assert tx is not None
                assert {key for key in everybody if access.may_see_result(key, tx)} == may | {FRIEND}
    assert found


def test_who_registers_anothers_key_does_not_see_what_comes_of_its_transactions() -> None:
    """Not without its holder's word, and not with it."""
    chain = BusyChain()
    access = Access(chain.ledger, chain.executor)
    tx = chain.tx("home-1", "budget", "set_policy", network="home-1", devices=[])
    assert not access.may_see_result(PUBLIC_KEYS["utility"], tx) and access.may_see_result(PUBLIC_KEYS["club"], tx)
    trap = {"network": "trap", "member": "utility", "owner_key": PUBLIC_KEYS["home-1"], "bus": "t"}
    word = possession(chain.chain, "network", "trap", PUBLIC_KEYS["utility"], KEYS["home-1"])
    calls = [chain.tx("utility", "identity", "register_network", **trap, proof=proof) for proof in (bytes(64), word)]
    chain.commit(chain.execute(0, calls))
    assert [receipt.code for receipt in chain.ledger.receipts(1)] == ["bad-signature", "ok"]
    assert not access.may_see_result(PUBLIC_KEYS["utility"], tx)
    assert access.may_see_result(PUBLIC_KEYS["home-1"], tx)


def test_who_has_seen_a_signed_subscription_does_not_hear_for_ever_what_is_still_to_come() -> None:
    """Checklist 4."""
    chain, access = day()
    last = chain.ledger.head.height

    async def heard(reader: bytes) -> int:
        feed, count = Feed(chain.ledger, access), 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20 if reader else 2):
                async for _ in feed.blocks(last - 1, reader, "ipv4:10.0.0.1", 1):
                    count += 1
                return -count
        return count

    assert asyncio.run(heard(PUBLIC_KEYS["home-1"])) == -2, "all there was, then the end"
    assert asyncio.run(heard(b"")) == 2, "what is public goes on"


def test_strangers_who_follow_blocks_for_ever_keep_nobody_out_who_is_known_here() -> None:
    """Not from one address, nor from many, nor with keys that they have made. Of known keys each has its share."""
    chain, access = day()

    async def followed(feed: Feed, reader: bytes, address: str, most: int) -> list[AsyncIterator[bytes]]:
        held: list[AsyncIterator[bytes]] = []
        with contextlib.suppress(RefusedError):
            while len(held) < most:
                following = feed.blocks(1, reader, address)
                await anext(following)
                held.append(following)
        return held

    async def scenario() -> None:
        feed = Feed(chain.ledger, access)
        alone = await followed(feed, b"", "ipv4:10.0.0.1", MAX_SUBSCRIBERS)
        assert len(alone) == 2 * MAX_STRANGERS_FOLLOWING // 3 + 1
        others = await followed(feed, STRANGER, "ipv4:10.0.0.2", MAX_SUBSCRIBERS)
        assert 0 < len(others) < len(alone), "room for who comes next"
        for number in range(3, 20):
            others += await followed(feed, b"", f"ipv4:10.0.0.{number}", MAX_SUBSCRIBERS)
        assert len(alone) + len(others) == MAX_STRANGERS_FOLLOWING
        greedy = await followed(feed, PUBLIC_KEYS["home-2"], "ipv4:10.0.0.1", MAX_SUBSCRIBERS)
        assert len(greedy) == 2 * (MAX_SUBSCRIBERS - MAX_STRANGERS_FOLLOWING) // 3 + 1
        assert await followed(feed, PUBLIC_KEYS["home-1"], "ipv4:10.0.0.1", 1)
        assert not await followed(feed, b"", "ipv4:10.0.0.99", 1)
        for each in alone:
            await each.aclose()  # type: ignore[attr-defined]
        assert await followed(feed, b"", "ipv4:10.0.0.99", 1)

    asyncio.run(scenario())
