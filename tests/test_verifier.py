"""The worker processes that check signatures."""

import asyncio

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
            first = asyncio.create_task(verifier.check_for_client(transactions))
            await asyncio.sleep(0)
            with pytest.raises(RefusedError) as caught:
                await verifier.check_for_client(transactions)
            assert caught.value.code == "busy"
            assert all(await asyncio.wait_for(first, 20))
            assert all(await asyncio.wait_for(verifier.check_for_client(transactions), 20))
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
