"""Who pays for what a gateway is brought, how long one who has used up its share waits, and that clients do."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import grpc.aio
import pytest

from chaincode.registry import Registry
from node.config import Limits
from node.errors import NoRoomError, RefusedError
from node.gateway.admission import Admission, units
from node.gateway.client import Client
from node.gateway.codes import NotNowError
from node.gateway.edge import SLICE, Edge
from node.gateway.guard import Guard
from node.gateway.pace import Connections, address_of
from node.gateway.patience import JITTER_PERCENT, Patience
from node.gateway.service import GatewayService
from node.limits import (
    CONNECTIONS_BURST,
    CONNECTIONS_PER_SECOND,
    FAULTS_BURST,
    LUMP_SECONDS,
    MEMBER_BURST_SECONDS,
    SENDER_BURST_SECONDS,
    UNPROVEN_SIGNATURES,
)
from node.mempool import Mempool
from node.model.keys import SIGNATURE_BYTES, SigningKey, verify
from node.model.transaction import Transaction, decode_transaction, sign_transaction
from protos import gateway_pb2 as pb
from protos import gateway_pb2_grpc as pb_grpc
from tests.ledger.chains import make_genesis
from tests.test_mempool import UsedNonces

LIMITS = Limits(sender_transactions_per_second=7, member_transactions_per_second=100)
GENESIS = make_genesis()
VICTIM, OTHER = SigningKey(b"v" * 32), SigningKey(b"o" * 32)
PEER = "ipv4:10.0.0.1:5000"


def order(key: SigningKey, nonce: int) -> bytes:
    return sign_transaction(key, GENESIS.chain, nonce, "any", "thing", {}, 1000).raw


def forged(raw: bytes) -> bytes:
    return bytes(SIGNATURE_BYTES) + raw[SIGNATURE_BYTES:]


class AnyCall(Registry):
    """Takes every call: what is called is not the question here."""

    def check_call(self, *_: object, **__: object) -> None:
        pass


class Gate:
    """A gateway's edge with its real pool and admission; time stands still unless it is moved."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.now_s = 100.0
        self.checked = 0
        self.waiting_chunks = 0
        self.used = UsedNonces()
        self.pool = Mempool(self.used, whose=lambda key: "victims" if key == VICTIM.public_key else "others")
        self.admission = Admission(self.pool, limits, lambda: self.now_s)
        registry = AnyCall([])
        self.edge = Edge(GENESIS, lambda: registry, self.pool, self, self, lambda: 0, self.admission)  # type: ignore[arg-type]

    async def check_for_client(self, transactions: Sequence[Transaction], *, known: bool) -> list[bool]:
        self.checked += len(transactions)
        await asyncio.sleep(0)
        return [tx.signature_is_valid(verify) for tx in transactions]

    def submit_all(self, transactions: Sequence[Transaction]) -> list[RefusedError | None]:
        answers: list[RefusedError | None] = []
        for tx in transactions:
            try:
                self.pool.add(tx, 0)
                answers.append(None)
            except RefusedError as error:
                answers.append(error)
        return answers

    def bring(self, raws: Sequence[bytes], peer: str = PEER) -> dict[int, RefusedError]:
        return asyncio.run(self.edge.accept(raws, peer)).refused


def test_a_forger_uses_up_its_own_connection_and_not_what_its_victim_may_send() -> None:
    """Checklist 6."""
    gate = Gate()
    refused = gate.bring([forged(order(VICTIM, nonce)) for nonce in range(1, 21)])
    assert {error.code for error in refused.values()} == {"bad-signature"} and len(refused) == 20
    with pytest.raises(NotNowError, match="too-fast") as caught:
        asyncio.run(gate.admission.enter(PEER))
    assert caught.value.retry_ms > 1000
    assert gate.bring([order(VICTIM, nonce) for nonce in range(1, 11)], "ipv4:10.0.0.2:1") == {}
    assert gate.admission.refused["", "bad-signature"] == 20


def test_few_signatures_of_a_connection_are_checked_that_has_shown_no_good_ones() -> None:
    gate = Gate(Limits())
    refused = gate.bring([forged(order(VICTIM, nonce)) for nonce in range(1, 201)])
    assert gate.checked == UNPROVEN_SIGNATURES
    codes = [refused[index].code for index in range(200)]
    assert codes == ["bad-signature"] * UNPROVEN_SIGNATURES + ["too-fast"] * (200 - UNPROVEN_SIGNATURES)
    honest = Gate(Limits())
    assert honest.bring([order(VICTIM, nonce) for nonce in range(1, 201)]) == {} and honest.checked == 200


def test_a_sender_is_told_how_long_to_wait_and_then_let_in() -> None:
    gate = Gate()
    share = LIMITS.sender_transactions_per_second * SENDER_BURST_SECONDS
    refused = gate.bring([order(VICTIM, nonce) for nonce in range(1, share + 11)])
    late = [error for error in refused.values() if isinstance(error, NotNowError)]
    assert len(late) == len(refused) and {error.code for error in late} == {"too-fast"}
    assert 8 <= len(late) <= 10 and gate.checked == share + 10 - len(late)
    assert gate.bring([order(OTHER, 1)]) == {}
    gate.now_s += max(error.retry_ms for error in late) / 1000
    assert gate.bring([order(VICTIM, share + 20)]) == {}
    assert gate.admission.refused["victims", "too-fast"] == len(late)


def test_all_keys_of_a_member_share_what_it_may_hand_in() -> None:
    gate = Gate(Limits(sender_transactions_per_second=100, member_transactions_per_second=20))
    share = 20 * MEMBER_BURST_SECONDS
    raws = [order(SigningKey(bytes([n]) * 32), nonce) for n in range(1, 11) for nonce in range(1, 9)]
    refused = gate.bring(raws)
    assert len(raws) - share - 1 <= len(refused) <= len(raws) - share
    assert {error.code for error in refused.values()} == {"too-fast"}
    assert gate.bring([order(VICTIM, 1)]) == {}


def test_what_came_in_at_other_gateways_counts_when_it_is_in_a_block() -> None:
    gate = Gate(Limits(sender_transactions_per_second=100, member_transactions_per_second=20))
    mine = [decode_transaction(order(OTHER, nonce)) for nonce in range(1, 11)]
    assert gate.bring([tx.raw for tx in mine]) == {}
    gate.admission.committed(mine)  # paid already
    assert len(gate.bring([order(OTHER, nonce) for nonce in range(11, 16)])) == 0
    elsewhere = [decode_transaction(order(SigningKey(b"w" * 32), nonce)) for nonce in range(1, 11)]
    gate.admission.committed(elsewhere)
    refused = gate.bring([order(OTHER, 21)])
    assert [error.code for error in refused.values()] == ["too-fast"] and gate.bring([order(VICTIM, 1)]) == {}


def test_blocks_that_are_fetched_at_once_put_nobody_in_debt_for_long() -> None:
    gate = Gate(Limits(sender_transactions_per_second=5, member_transactions_per_second=20))
    for first in range(1, 2000, 200):
        gate.admission.committed([decode_transaction(order(OTHER, nonce)) for nonce in range(first, first + 200)])
    gate.now_s += SENDER_BURST_SECONDS + LUMP_SECONDS
    assert gate.bring([order(OTHER, 1)]) == {}


def test_who_has_used_up_its_share_is_given_some_at_once_when_it_is_there() -> None:
    """Not one by one: each would be in a block of its own."""
    gate = Gate(Limits(sender_transactions_per_second=100, member_transactions_per_second=20))
    taken: list[int] = []
    for moment in range(100):  # of a twentieth of a second each
        key = SigningKey(bytes([moment + 1]) * 32)
        raws = [order(key, nonce) for nonce in range(1, 13)]
        taken.append(12 - len(gate.bring(raws, f"ipv4:10.0.0.1:{moment}")))
        gate.now_s += 0.05
    for second in range(1, 5):
        of_it = taken[20 * second : 20 * second + 20]
        assert 10 <= sum(of_it) <= 32 and sum(map(bool, of_it)) <= 2 / LUMP_SECONDS
    assert sum(taken) <= 20 * (MEMBER_BURST_SECONDS + 5) + 1


def test_many_connections_at_once_get_a_member_no_more_than_its_share() -> None:
    """Whatever is being checked while a bucket still has something, is charged before it is in the pool."""
    gate = Gate(Limits(sender_transactions_per_second=100, member_transactions_per_second=20))
    share = 20 * MEMBER_BURST_SECONDS

    async def bring_all() -> list[int]:
        requests = [[order(SigningKey(bytes([n]) * 32), nonce) for nonce in range(1, 21)] for n in range(1, 11)]
        calls = (gate.edge.accept(raws, f"ipv4:10.0.0.{n}:1") for n, raws in enumerate(requests))
        return [len(answer.transactions) for answer in await asyncio.gather(*calls)]

    assert sum(asyncio.run(bring_all())) == share + 1 == len(gate.pool)


def test_a_long_list_of_refusals_is_not_read_to_its_end() -> None:
    """Checklist 6: 2,000 in one request cost no more than those that fit into what a connection may be refused."""
    gate = Gate()
    refused = gate.bring([b"\xc1" * 100] * 2000)
    assert len(refused) == 2000 and not gate.checked
    read = sum(error.code != "too-fast" for error in refused.values())
    assert FAULTS_BURST <= read <= FAULTS_BURST + SLICE
    unread = [error for error in refused.values() if error.code == "too-fast"]
    assert all(isinstance(error, NotNowError) and error.retry_ms >= 1 for error in unread)


def test_a_long_list_lets_others_have_their_turn() -> None:
    gate = Gate(Limits())
    order_of_answers: list[str] = []

    async def bring(raws: Sequence[bytes], peer: str) -> None:
        assert (await gate.edge.accept(raws, peer)).refused == {}
        order_of_answers.append(peer)

    async def both() -> None:
        long = bring([order(OTHER, nonce) for nonce in range(1, 257)], "ipv4:10.0.0.1:1")
        await asyncio.gather(long, bring([order(VICTIM, 1)], "ipv4:10.0.0.2:1"))

    asyncio.run(both())
    assert order_of_answers == ["ipv4:10.0.0.2:1", "ipv4:10.0.0.1:1"]


def test_a_forger_does_not_learn_what_its_victim_has_done() -> None:
    """Nonces are times in most wallets: by answers that differ, a dozen forgeries would find out the last one."""
    gate = Gate()
    gate.used.used[VICTIM.public_key] = {1, 5}
    assert gate.bring([order(VICTIM, 7)]) == {}
    tried = [order(VICTIM, nonce) for nonce in (5, 7, 8, 5_000)]
    mine = gate.bring(tried, "ipv4:10.0.0.1:1")
    assert [mine[place].code for place in (0, 1, 3)] == ["nonce-used", "duplicate", "nonce-out-of-window"], mine
    assert 2 not in mine, "the sender is told all of it"
    for raw in (order(VICTIM, nonce) for nonce in (1, 5, 7, 9, 5_000)):
        refused = gate.bring([forged(raw)], "ipv4:10.0.0.2:1")
        assert [error.code for error in refused.values()] == ["bad-signature"]
        gate.now_s += 60
    assert gate.admission.refused["victims", "nonce-used"] == 1


def test_the_same_again_and_again_earns_no_trust() -> None:
    gate = Gate()
    gate.bring([order(VICTIM, 1)])
    for _ in range(3):
        gate.bring([order(VICTIM, 1)], "ipv4:10.0.0.2:1")
    assert not gate.admission.knows("ipv4:10.0.0.2:1")


def test_long_transactions_that_are_refused_use_a_connection_up_sooner() -> None:
    gate = Gate()
    long = sign_transaction(VICTIM, GENESIS.chain, 1, "any", "thing", {"text": b"x" * 15_000}, 1000).raw
    assert gate.bring([long]) == {}
    assert len(gate.bring([long])) == 1 and gate.admission.delay_s(PEER) == 0
    assert len(gate.bring([long])) == 1 and gate.admission.delay_s(PEER) > 0


def test_who_is_refused_and_goes_on_is_not_read_any_more() -> None:
    gate = Gate()
    assert gate.bring([order(VICTIM, 1)]) == {}
    for _ in range(FAULTS_BURST // 20 + 1):
        refused = gate.bring([order(VICTIM, 1)] * 20)
        assert {error.code for error in refused.values()} == {"duplicate"}
    assert gate.admission.delay_s(PEER) > 0 and gate.admission.delay_s("ipv4:10.0.0.1:5001") == 0
    gate.now_s += 10
    assert gate.admission.delay_s(PEER) == 0


def test_waiting_for_room_is_as_long_as_it_takes_to_come() -> None:
    gate = Gate()
    slow = gate.admission.no_room(10)
    for key in (VICTIM, OTHER):
        gate.bring([order(key, nonce) for nonce in range(1, 21)])
    gate.now_s += 1
    gate.pool.committed([gate.pool.get(tx_id) for tx_id in list(gate.pool.ids())])  # type: ignore[misc]
    assert gate.admission.no_room(10) == pytest.approx(250, abs=2)  # forty left in a second
    assert gate.admission.no_room(1) < gate.admission.no_room(100) <= 5001
    assert 50 <= slow <= 5001


def test_large_transactions_count_for_more() -> None:
    many = sign_transaction(VICTIM, GENESIS.chain, 1, "a", "b", {"rows": [0] * 200}, 1000)
    long = sign_transaction(VICTIM, GENESIS.chain, 1, "a", "b", {"text": b"x" * 40_000}, 1000)
    assert units(decode_transaction(order(VICTIM, 1))) == 1
    assert units(many) == many.items // 4 >= 50 and units(long) == len(long.raw) // 4096 >= 9


def test_an_address_opens_so_many_connections_a_second() -> None:
    now = [100.0]
    connections = Connections(lambda: now[0])
    for port in range(CONNECTIONS_BURST + 1):
        connections.meet(f"ipv4:10.0.0.1:{port}")
    with pytest.raises(NotNowError, match="too-many-connections") as caught:
        connections.meet("ipv4:10.0.0.1:60000")
    connections.meet("ipv4:10.0.0.1:1")  # one that is known
    connections.meet("ipv6:[::1]:1")
    assert 0 < caught.value.retry_ms <= 2 * 1000 // CONNECTIONS_PER_SECOND
    now[0] += caught.value.retry_ms / 1000
    connections.meet("ipv4:10.0.0.1:60000")


def test_all_addresses_of_a_network_of_64_bits_are_one_to_whom_they_belong() -> None:
    assert (
        address_of("ipv6:%5B2001:db8:0:1::5%5D:5000")
        == address_of("ipv6:[2001:db8:0:1:ffff::1]:1")
        == "2001:db8:0:1::/64"
    )
    assert address_of("ipv6:[2001:db8:0:2::5]:5000") == "2001:db8:0:2::/64"
    assert address_of("ipv6:[fe80::1%25eth0]:5000") == "fe80::/64"
    assert address_of("ipv4:10.0.0.1:5000") == "ipv4:10.0.0.1" != address_of("ipv4:10.0.0.2:5000")
    assert address_of("unix:/tmp/socket") and address_of("ipv6:what") == "ipv6"


class Full(GatewayService):
    """Has no room for a while, then has; there is no node behind it."""

    def __init__(self, refusals: int, retry_ms: int) -> None:
        self._left = refusals
        self._retry_ms = retry_ms
        self.asked_at: list[float] = []

    async def Submit(self, request: pb.SubmitRequest, context: object) -> pb.SubmitReply:
        self.asked_at.append(time.monotonic())
        self._left -= 1
        if self._left >= 0:
            raise NotNowError("mempool-full", "no room", self._retry_ms)
        return pb.SubmitReply(id=request.transaction)

    async def SubmitMany(self, request: pb.SubmitManyRequest, context: object) -> pb.SubmitManyReply:
        self.asked_at.append(time.monotonic())
        self._left -= 1
        if self._left < 0:
            return pb.SubmitManyReply()
        refused = [pb.Refusal(index=0, code="too-fast"), pb.Refusal(index=1, code="bad-signature")]
        return pb.SubmitManyReply(refused=refused[: len(request.transactions)], retry_ms=self._retry_ms)


def served(service: Full, use: Callable[[Client], Awaitable[object]]) -> object:
    async def scenario() -> object:
        server = grpc.aio.server(interceptors=(Guard(lambda _: None, GENESIS.chain),))
        pb_grpc.add_GatewayServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with Client(f"127.0.0.1:{port}") as client, asyncio.timeout(30):
                return await use(client)
        finally:
            await server.stop(None)

    return asyncio.run(scenario())


def test_a_client_waits_as_it_is_told_and_sends_again() -> None:
    service = Full(2, 200)
    assert served(service, lambda client: client.submit(b"raw")) == b"raw"
    first, second, third = service.asked_at
    assert second - first >= 0.2 and third - second >= 0.2


def test_a_client_sends_again_only_what_was_refused_for_now() -> None:
    service = Full(1, 150)
    answers = served(service, lambda client: client.submit_many([b"a" * 70, b"b" * 70, b"c" * 70]))
    assert [code for _, code in answers] == ["ok", "bad-signature", "ok"]  # type: ignore[attr-defined]
    first, second = service.asked_at
    assert second - first >= 0.15


class Stopping(Full):
    """Takes the first part of a list, and never the rest."""

    async def SubmitMany(self, request: pb.SubmitManyRequest, context: object) -> pb.SubmitManyReply:
        if self.asked_at:
            raise RefusedError("stopping", "this node stops")
        return await super().SubmitMany(request, context)


def test_what_was_taken_of_a_list_is_known_though_the_rest_never_is() -> None:
    service = Stopping(1, 10)
    answers = served(service, lambda client: client.submit_many([b"a" * 70, b"b" * 70, b"c" * 70]))
    assert [code for _, code in answers] == ["unreachable", "bad-signature", "ok"]  # type: ignore[attr-defined]


def test_a_client_does_not_wait_for_ever() -> None:
    service = Full(100, 60_000)
    with pytest.raises(NotNowError, match="mempool-full"):
        served(service, lambda client: client.submit(b"raw"))
    assert len(service.asked_at) == 1


def test_patience_adds_a_little_by_chance_and_ends() -> None:
    async def scenario() -> None:
        patience = Patience(0.2)
        began = time.monotonic()
        assert await patience.wait_ms(100)
        assert 0.1 <= time.monotonic() - began < 0.1 * (100 + JITTER_PERCENT) / 100 + 0.1
        with pytest.raises(NotNowError):
            await patience.wait(NotNowError("busy", "", 150))

    asyncio.run(scenario())


def test_a_pool_without_room_says_how_much_must_go() -> None:
    pool = Mempool(UsedNonces(), max_transactions=3)
    for nonce in (1, 2):
        pool.add(decode_transaction(order(VICTIM, nonce)), 0)
    with pytest.raises(NoRoomError) as caught:
        pool.add(decode_transaction(order(VICTIM, 3)), 0)
    assert caught.value.code == "mempool-full" and caught.value.ahead == 1
