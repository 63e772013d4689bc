"""What peers forward: each is listened to so much, and none holds up what another forwards."""

from collections.abc import Callable, Sequence

import pytest

from node.errors import PeerError
from node.forwarding import Forwarding, units_of
from node.intake import Intake, Verified
from node.limits import (
    FORWARD_TRANSACTIONS,
    FORWARD_UNITS_BURST,
    FORWARD_UNITS_PER_TICK,
    FORWARDS_CHECKED_AT_ONCE,
    PEER_BAN_TICKS,
    PEER_UNITS_BURST,
    PEER_UNITS_PER_TICK,
)
from node.mempool import Mempool
from node.model.keys import SIGNATURE_BYTES, SigningKey
from node.model.transaction import Transaction, decode_transaction, sign_transaction
from tests.test_mempool import CHAIN, UsedNonces


class Checker:
    """Checks signatures when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Sequence[Transaction], Callable[[list[bool]], None]]] = []

    def __call__(self, transactions: Sequence[Transaction], done: Callable[[list[bool]], None]) -> None:
        self.waiting.append((transactions, done))

    def answer(self, good: bool = True) -> int:
        transactions, done = self.waiting.pop(0)
        done([good] * len(transactions))
        return len(transactions)


def listening() -> tuple[Intake, Mempool, Checker]:
    pool, checker = Mempool(UsedNonces()), Checker()
    return Intake(pool, Forwarding(pool), Verified(), CHAIN, checker), pool, checker


def raws(peer: int, count: int, first: int = 1, memo: int = 0) -> list[bytes]:
    """Of ``count`` senders; nobody looks at the signatures but the checker."""
    key = SigningKey(bytes([peer]) * 32)
    signed = sign_transaction(key, CHAIN, 1, "bank", "pay", {"memo": "m" * memo}, 1000).raw
    place = signed.index(key.public_key)
    return [
        bytes(SIGNATURE_BYTES) + signed[SIGNATURE_BYTES:place] + bytes([peer]) * 28 + n.to_bytes(4, "big")
        + signed[place + 32 :]
        for n in range(first, first + count)
    ]  # fmt: skip


def nothing() -> None:
    """Nobody need be told."""


def test_peers_are_checked_in_turn() -> None:
    """Checklist 6: what one forwards a flood of waits for itself; what another forwards is next but one."""
    intake, pool, checker = listening()
    for number in range(8):
        intake.forwarded("flooder", raws(1, 400, 1 + 400 * number), 0, 0, nothing)
    intake.forwarded("other", raws(2, 5), 0, 0, nothing)
    assert sum(len(transactions) for transactions, _ in checker.waiting) <= FORWARDS_CHECKED_AT_ONCE + 400
    checked = []
    while checker.waiting:
        checked.append(checker.answer())
    assert checked.index(5) <= 4 and len(checked) == 9
    assert len(pool) == 8 * 400 + 5 and intake.unverified == 0


def test_a_peer_is_listened_to_so_much_a_second_in_transactions_and_bytes() -> None:
    for count, memo in ((500, 0), (50, 15_000)):
        intake, pool, checker = listening()
        sent = 0
        for number in range(100):
            message = raws(1, count, 1 + count * number, memo)
            intake.forwarded("flooder", message, 0, 0, nothing)
            sent += units_of(len(message), sum(map(len, message)))
            while checker.waiting:
                checker.answer()
        size = units_of(count, count * (memo + 200))
        taken = units_of(len(pool), pool.size_bytes)
        assert PEER_UNITS_BURST - size <= taken <= PEER_UNITS_BURST + size < sent
        assert intake.dropped() == {"flooder": 100 * count - len(pool)}
        held = len(pool)
        for tick in range(1, 1 + 4 * size // PEER_UNITS_PER_TICK):
            intake.forwarded("flooder", raws(1, count, 10**6 * tick, memo), tick, 0, nothing)
            while checker.waiting:
                checker.answer()
        assert len(pool) > held


def test_a_correct_peer_never_says_more_than_is_listened_to() -> None:
    assert FORWARD_UNITS_PER_TICK < PEER_UNITS_PER_TICK and FORWARD_UNITS_BURST + 1024 <= PEER_UNITS_BURST
    source = Mempool(UsedNonces())
    forwarding = Forwarding(source)
    intake, pool, checker = listening()
    raw = raws(1, 12_000)
    for each in raw:
        tx = decode_transaction(each)
        source.add(tx, 0)
        forwarding.submitted(tx.id)
    for tick in range(40):
        for message in forwarding.for_primary():
            intake.forwarded("peer", message, tick, 0, nothing)
        while checker.waiting:
            checker.answer()
        forwarding.tick()
    assert len(pool) == 12_000 and intake.dropped() == {}


def test_a_bad_signature_or_a_message_too_long_and_the_peer_is_not_heard_for_a_while() -> None:
    intake, pool, checker = listening()
    intake.forwarded("liar", raws(1, 3), 0, 0, nothing)
    checker.answer(good=False)
    intake.forwarded("liar", raws(1, 3, 10), PEER_BAN_TICKS - 1, 0, nothing)
    assert not checker.waiting and len(pool) == 0
    intake.forwarded("liar", raws(1, 3, 10), PEER_BAN_TICKS, 0, nothing)
    assert checker.answer() == 3 and len(pool) == 3
    with pytest.raises(PeerError, match="forward-too-long"):
        intake.forwarded("talker", [b""] * (FORWARD_TRANSACTIONS + 1), 0, 0, nothing)


def test_a_checker_that_answers_at_once_is_not_asked_within_its_answer() -> None:
    pool = Mempool(UsedNonces())
    depth = deepest = 0

    def check(transactions: Sequence[Transaction], done: Callable[[list[bool]], None]) -> None:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        done([True] * len(transactions))
        depth -= 1

    intake = Intake(pool, Forwarding(pool), Verified(), CHAIN, check)
    for number in range(10):
        intake.forwarded(f"peer-{number % 3}", raws(1, 10, 1 + 10 * number), 0, 0, nothing)
    assert len(pool) == 100 and deepest == 1


def test_no_signature_is_checked_of_what_the_pool_would_not_take_anyway() -> None:
    """Checklist 6: a member's node that forwards rightly signed transactions of keys that it has made up."""
    pool, checker = Mempool(UsedNonces(), whose=lambda key: None if key[0] == 1 else "member"), Checker()
    intake = Intake(pool, Forwarding(pool), Verified(), CHAIN, checker)
    intake.forwarded("liar", raws(1, 400), 0, 0, nothing)
    intake.forwarded("other", raws(2, 5), 0, 0, nothing)
    assert [checker.answer() for _ in list(checker.waiting)] == [5]
    for number in range(1, 5):
        intake.forwarded("liar", raws(1, 400, 1 + 400 * number), 0, 0, nothing)
    assert intake.dropped()["liar"] > 400  # and it is soon not even decoded
    assert not checker.waiting


def test_nothing_is_checked_for_a_pool_without_room() -> None:
    pool, checker = Mempool(UsedNonces(), max_transactions=5), Checker()
    intake = Intake(pool, Forwarding(pool), Verified(), CHAIN, checker)
    intake.forwarded("peer", raws(1, 5), 0, 0, nothing)
    assert checker.answer() == 5
    intake.forwarded("peer", raws(1, 5, 6), 0, 0, nothing)
    assert not checker.waiting
