"""The worker processes that check signatures."""

import asyncio
import signal

import pytest

from node.errors import NodeFault, RefusedError
from node.model.keys import SIGNATURE_BYTES, generate_key
from node.model.transaction import Transaction, decode_transaction, sign_transaction
from node.verifier import Verifier

KEY = generate_key()


def unexpected(fault: NodeFault) -> None:
    raise fault


def made(count: int) -> list[Transaction]:
    return [sign_transaction(KEY, bytes(32), i, "market", "place", {"n": i}, 100) for i in range(count)]


def forged(tx: Transaction) -> Transaction:
    return decode_transaction(bytes(SIGNATURE_BYTES) + tx.raw[SIGNATURE_BYTES:])


def test_answers_come_in_order_whatever_the_size() -> None:
    async def scenario() -> None:
        verifier = Verifier(2, 5000, unexpected)
        await verifier.start()
        transactions = made(1200)
        for wrong in (0, 3, 249, 250, 1199):
            transactions[wrong] = forged(transactions[wrong])
        try:
            for count in (1, 4, 5, 251, 1200):
                answers = await asyncio.wait_for(verifier.check_for_client(transactions[:count]), 20)
                assert [i for i, ok in enumerate(answers) if not ok] == [i for i in (0, 3, 249, 250, 1199) if i < count]
                urgent: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
                verifier.check(transactions[:count], urgent.set_result)
                assert await asyncio.wait_for(urgent, 20) == answers
        finally:
            await verifier.stop()

    asyncio.run(scenario())


def test_the_queue_for_clients_is_bounded() -> None:
    async def scenario() -> None:
        verifier = Verifier(1, 100, unexpected)
        await verifier.start()
        transactions = made(60)
        try:
            first = asyncio.create_task(verifier.check_for_client(transactions, known=True))
            await asyncio.sleep(0)
            with pytest.raises(RefusedError) as caught:
                await verifier.check_for_client(transactions, known=True)
            assert caught.value.code == "busy"
            assert all(await asyncio.wait_for(first, 20))
            assert all(await asyncio.wait_for(verifier.check_for_client(transactions, known=True), 20))
        finally:
            await verifier.stop()

    asyncio.run(scenario())


def test_strangers_wait_for_those_who_have_shown_good_signatures_and_not_for_ever() -> None:
    """Checklist 6: a forger's signatures are checked after those of honest clients that came later."""

    async def scenario() -> None:
        verifier = Verifier(1, 8000, unexpected)
        await verifier.start()
        transactions = made(250)
        answered: list[str] = []

        async def check(who: str, *, known: bool) -> None:
            assert all(await verifier.check_for_client(transactions, known=known))
            answered.append(who)

        try:
            strangers = [check("stranger", known=False) for _ in range(6)]
            known = [check("known", known=True) for _ in range(6)]
            await asyncio.wait_for(asyncio.gather(*strangers, *known), 20)
            # Two were given out before anybody else came; then one stranger for every three of the others.
            assert answered == ["stranger"] * 2 + ["known"] * 3 + ["stranger"] + ["known"] * 3 + ["stranger"] * 3
        finally:
            await verifier.stop()

    asyncio.run(scenario())


def test_strangers_fill_no_more_than_half_of_the_queue() -> None:
    async def scenario() -> None:
        verifier = Verifier(1, 100, unexpected)
        await verifier.start()
        transactions = made(50)
        try:
            strange = asyncio.create_task(verifier.check_for_client(transactions))
            await asyncio.sleep(0)
            with pytest.raises(RefusedError, match="busy"):
                await verifier.check_for_client(transactions[:5])
            assert all(await asyncio.wait_for(verifier.check_for_client(transactions, known=True), 20))
            assert all(await asyncio.wait_for(strange, 20))
        finally:
            await verifier.stop()

    asyncio.run(scenario())


def test_a_dead_worker_is_a_fault_of_the_node() -> None:
    async def scenario() -> None:
        fault: asyncio.Future[NodeFault] = asyncio.get_running_loop().create_future()
        verifier = Verifier(1, 100, fault.set_result)
        await verifier.start()
        verifier._workers[0].process.kill()
        assert (await asyncio.wait_for(fault, 10)).code == "verifier-died"
        await verifier.stop()

    asyncio.run(scenario())


def test_an_interrupt_of_the_terminal_is_left_to_the_node() -> None:
    """All processes get it at once: a worker that ended of it would put its traceback over the node's last words."""

    async def scenario() -> None:
        verifier = Verifier(1, 100, unexpected)
        await verifier.start()
        try:
            assert all(await verifier.check_for_client(made(20)))  # it has begun
            verifier._workers[0].process.send_signal(signal.SIGINT)
            assert all(await asyncio.wait_for(verifier.check_for_client(made(20)), 20))
        finally:
            await verifier.stop()

    asyncio.run(scenario())
