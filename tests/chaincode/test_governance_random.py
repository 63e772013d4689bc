"""What holds whatever admins propose and approve, and whenever."""

from itertools import pairwise
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from chaincode.contract import ContractError
from chaincode.governance import MAX_OPEN_PER_ADMIN, NOTICE
from chaincode.validators import MAX_VALIDATORS, MIN_VALIDATORS, EpochRow, epoch_count
from node.consensus.quorum import max_faulty, quorum
from tests.chaincode.town import POOL, Town, admin, joining, rotated


class Changes(RuleBasedStateMachine):
    """Admins propose, approve and withdraw at random while blocks pass."""

    @initialize(size=st.integers(4, 6))
    def begin(self, size: int) -> None:
        self.town = Town(POOL[:size])
        self.seen: list[EpochRow] = []
        self.decided: dict[int, int] = {}
        self.versions = 0

    def _try(self, who: str, method: str, **args: Any) -> None:
        before = epoch_count(self.town.state.get)
        try:
            self.town.call(admin(who), "governance", method, **args)
        except ContractError as refusal:
            assert refusal.code != "internal"
        for number in range(before, epoch_count(self.town.state.get)):
            self.decided[number] = self.town.height

    @rule(
        who=st.sampled_from(POOL),
        kind=st.sampled_from(("add", "remove", "rotate")),
        name=st.sampled_from(POOL),
        of=st.sampled_from(POOL),
        ahead=st.integers(NOTICE - 2, NOTICE + 30),
        new=st.booleans(),
    )
    def propose(self, who: str, kind: str, name: str, of: str, ahead: int, new: bool) -> None:
        self.versions += 1
        what = f"{of} {self.versions}" if new else of
        keys = {"add": joining(what) | {"admin_key": admin(name)}, "remove": {}, "rotate": rotated(what)}[kind]
        self._try(who, "propose", kind=kind, name=name, first_height=self.town.height + ahead, **keys)

    @rule(who=st.sets(st.sampled_from(POOL), min_size=4), turn=st.integers(0, 20))
    def approve(self, who: set[str], turn: int) -> None:
        rows = cast("tuple[tuple[Any, ...], ...]", self.town.query("governance", "proposals"))
        for name in sorted(who) if rows else ():
            row = rows[turn % len(rows)]
            self._try(name, "approve", proposal=row[0], digest=row[1])

    @rule(kind=st.sampled_from(("add", "remove", "rotate")), index=st.integers(0, 9), ahead=st.integers(0, 30))
    def agree(self, kind: str, index: int, ahead: int) -> None:
        """All want the same sensible change."""
        self.versions += 1
        names = self.town.names()
        name = f"new-{self.versions}" if kind == "add" else names[index % len(names)]
        keys = {"add": joining(name), "remove": {}, "rotate": rotated(f"{name} {self.versions}")}[kind]
        at = self.town.height + NOTICE + ahead
        for who in (*POOL, *names):
            rows = cast("tuple[tuple[Any, ...], ...]", self.town.query("governance", "proposals"))
            mine = next((row for row in rows if row[2:4] == (kind, name) and row[8] == at), None)
            if mine is None:
                self._try(who, "propose", kind=kind, name=name, first_height=at, **keys)
            else:
                self._try(who, "approve", proposal=mine[0], digest=mine[1])

    @rule(who=st.sampled_from(POOL), number=st.integers(0, 8))
    def withdraw(self, who: str, number: int) -> None:
        self._try(who, "withdraw", proposal=number)

    @rule(blocks=st.integers(1, 40))
    def pass_blocks(self, blocks: int) -> None:
        self.town.at(self.town.height + blocks)

    @invariant()
    def holds(self) -> None:
        """Checklist 47, 48."""
        epochs = self.town.epochs()
        assert epochs[: len(self.seen)] == self.seen, "what was decided never changes"
        self.seen = epochs
        assert [epoch.number for epoch in epochs] == list(range(len(epochs)))
        for before, after in pairwise(epochs):
            assert after.first_height >= self.decided[after.number] + NOTICE
            assert self.decided[after.number] >= before.first_height, "one at a time"
            assert abs(len(after.seats) - len(before.seats)) <= 1 and after.seats != before.seats
        for epoch in epochs:
            n = len(epoch.seats)
            assert MIN_VALIDATORS <= n <= MAX_VALIDATORS and 2 * quorum(n) - n >= max_faulty(n) + 1
            for field in ("name", "public_key", "tls_certificate"):
                assert len({getattr(seat, field) for seat in epoch.seats}) == n
        rows = cast("tuple[tuple[Any, ...], ...]", self.town.query("governance", "proposals"))
        assert len(rows) <= MAX_OPEN_PER_ADMIN * MAX_VALIDATORS


def test_whatever_admins_do_epochs_are_sound() -> None:
    """Checklist 47, 48: epochs follow one another with due notice, and every set could run a network."""
    run_state_machine_as_test(Changes, settings=settings(max_examples=40, stateful_step_count=40, deadline=None))


@given(st.integers(4, 40))
def test_more_than_two_thirds_are_a_quorum_of_every_size(n: int) -> None:
    """Whoever can decide who the members are, could certify blocks, too: governance adds no power to anybody."""
    town = Town(tuple(f"node-{i}" for i in range(n)))
    missing = town.propose("node-0", "rotate", "node-1", **rotated("new"))[2]
    assert missing + 1 >= quorum(n)
