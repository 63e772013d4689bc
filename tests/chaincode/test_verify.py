"""Signatures that contracts check: with the node's one verifier, and not for nothing."""

import pytest

from chaincode.contract import VERIFY_STEPS, Context, ContractError
from node.model.keys import SigningKey, verify
from tests.chaincode.world import World

KEY = SigningKey(bytes([7]) * 32)
MESSAGE = b"watt/test/1\0 the meter says so"


def context(steps: int) -> Context:
    """A transaction's context with so many steps."""
    return Context(
        World([]).state,
        chain=bytes(32),
        height=1,
        time=0,
        previous_time=0,
        sender=b"",
        tx_id=b"",
        step_limit=steps,
        verifier=verify,
    )


def test_a_signature_holds_for_its_key_and_message_alone() -> None:
    ctx = context(10_000)
    signature = KEY.sign(MESSAGE)
    assert ctx.verify(KEY.public_key, MESSAGE, signature)
    assert not ctx.verify(KEY.public_key, MESSAGE + b".", signature)
    assert not ctx.verify(SigningKey(bytes(32)).public_key, MESSAGE, signature)
    assert not ctx.verify(KEY.public_key, MESSAGE, bytes(64))


@pytest.mark.parametrize(("key", "signature"), [(b"", b""), (bytes(32), bytes(64)), (bytes(31), bytes(64))])
def test_malformed_input_is_no_error(key: bytes, signature: bytes) -> None:
    assert context(1_000).verify(key, MESSAGE, signature) is False


def test_checking_costs_steps() -> None:
    ctx = context(2 * VERIFY_STEPS)
    assert ctx.verify(KEY.public_key, b"", KEY.sign(b""))
    assert ctx.verify(KEY.public_key, b"", KEY.sign(b""))
    with pytest.raises(ContractError, match="step-limit"):
        ctx.verify(KEY.public_key, b"", KEY.sign(b""))
    with pytest.raises(ContractError, match="step-limit"):
        context(2 * VERIFY_STEPS).verify(KEY.public_key, bytes(64 * 1024), bytes(64))
