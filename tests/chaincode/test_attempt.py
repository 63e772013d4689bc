"""Units of a hook's work: each fails by itself, and leaves nothing behind."""

from collections.abc import Callable
from typing import Any

import pytest

from chaincode.contract import Context, ContractError
from node.errors import NodeFault
from node.model.keys import verify
from tests.chaincode.world import World

KEY, OTHER = b"units/one", b"units/two"


def refuse() -> None:
    raise ContractError("refused", "by the rules", (1,))


def wrong() -> None:
    raise AssertionError("does not add up")


def written(ctx: Context, value: Any, then: Callable[[], None] | None = None) -> Callable[[], None]:
    """A unit that writes, tells, and then perhaps fails."""

    def work() -> None:
        ctx.put(KEY, value)
        ctx.delete(OTHER)
        ctx.emit("told", (), value)
        if then is not None:
            then()

    return work


def test_a_unit_that_succeeds_stays() -> None:
    world = World([])
    with world.transaction() as ctx:
        assert ctx.attempt(written(ctx, 3)) is None
        assert (ctx.get(KEY), ctx.failures, [event.data for event in ctx.events]) == (3, (), [3])


@pytest.mark.parametrize(
    ("value", "then", "code"),
    [(3, refuse, "refused"), (3, wrong, "internal"), (3, lambda: 1 // 0, "internal"), (2**64, None, "internal")],
)
def test_a_unit_that_fails_is_undone_alone(value: Any, then: Callable[[], None] | None, code: str) -> None:
    world = World([])
    with world.transaction() as ctx:
        ctx.put(OTHER, 7)
        ctx.emit("before", (), 1)
        failure = ctx.attempt(written(ctx, value, then))
        assert failure is not None and failure.code == code
        assert (ctx.get(KEY), ctx.get(OTHER)) == (None, 7)
        assert [event.topic for event in ctx.events] == ["before"]
        assert ctx.failures == (failure,)
        assert ctx.attempt(written(ctx, 4)) is None
    with world.transaction() as ctx:
        assert (ctx.get(KEY), ctx.get(OTHER)) == (4, None)


def test_an_event_that_cannot_be_told_fails_its_unit() -> None:
    with World([]).transaction() as ctx:
        failure = ctx.attempt(lambda: ctx.emit("told", (), (1, (2**64,))))
        assert failure is not None and failure.code == "internal"
        assert ctx.events == ()


def test_units_within_a_unit() -> None:
    with World([]).transaction() as ctx:

        def outer() -> None:
            ctx.put(OTHER, 1)
            assert ctx.attempt(written(ctx, 2, refuse)) is not None
            assert ctx.get(OTHER) == 1
            wrong()

        failure = ctx.attempt(outer)
        assert failure is not None and failure.code == "internal"
        assert (ctx.get(KEY), ctx.get(OTHER)) == (None, None)


def test_an_endless_unit_leaves_steps_to_those_after_it() -> None:
    def endless(ctx: Context) -> None:
        while True:
            ctx.get(KEY)

    world = World([])
    ctx = Context(
        world.state,
        chain=bytes(32),
        height=1,
        time=0,
        previous_time=0,
        sender=b"",
        tx_id=b"",
        step_limit=100,
        verifier=verify,
    )
    world.state.begin()
    for _ in range(3):
        failure = ctx.attempt(lambda: endless(ctx))
        assert failure is not None and failure.code == "step-limit"
    assert ctx.attempt(written(ctx, 1)) is None
    world.state.undo()


@pytest.mark.parametrize("fault", [NodeFault("machine", "broken"), OSError("disk"), MemoryError()])
def test_faults_of_the_machine_pass_through(fault: Exception) -> None:
    def fail() -> None:
        raise fault

    with pytest.raises(type(fault)), World([]).transaction() as ctx:
        ctx.attempt(fail)


def test_a_transaction_cannot_attempt() -> None:
    with pytest.raises(AssertionError, match="transaction"), World([]).transaction(b"key") as ctx:
        ctx.attempt(lambda: None)
