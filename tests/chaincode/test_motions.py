"""Motions: tolls and auditors by vote, and what a grid operator may do without one."""

from typing import Any, cast

from chaincode.ballot import NOTICE
from chaincode.contract import ContractError, Value
from chaincode.motions import digest_of
from chaincode.registry import default_registry
from chaincode.roles import AUDITOR, MEMBER_ROLES, has_role
from tests.chaincode.keyed import agreed, signer
from tests.chaincode.marketplace import ADMIN, DEVICES, STREET, UTILITY, settings
from tests.chaincode.town import NAMES, admin, key, pem
from tests.chaincode.world import CHAIN, World


class Council(World):
    """The street, with four validators and a grid operator."""

    def __init__(self, *, governed: bool = True) -> None:
        parts = settings(DEVICES, STREET)
        if governed:
            parts["governance"] = {
                "validators": tuple((name, key(name).hex(), pem(name)) for name in NAMES),
                "admins": tuple((name, admin(name).hex()) for name in NAMES),
            }
        super().__init__(default_registry(), parts)

    def propose(self, who: str, method: str, **args: Any) -> tuple[int, bytes, int]:
        args.setdefault("first_height", self.height + NOTICE)
        return cast("tuple[int, bytes, int]", self.call(admin(who), "motions", method, **args))

    def approve(self, who: str, number: int, digest: bytes) -> int:
        return cast("int", self.call(admin(who), "motions", "approve", proposal=number, digest=digest))

    def decide(self, method: str, **args: Any) -> None:
        """Three of four vote, and the height comes."""
        number, digest, missing = self.propose("ada", method, **args)
        assert missing == 2 and self.approve("bob", number, digest) == 1 and self.approve("cyd", number, digest) == 0
        self.height += NOTICE - 1
        self.next_block()

    def history(self) -> list[tuple[Value, ...]]:
        return list(cast("tuple[tuple[Value, ...], ...]", self.query("motions", "history")))

    def tree(self) -> tuple[str, int, Any]:
        _, root, rate, lines = cast("tuple[int, str, int, Any]", self.query("grid", "tree"))
        return root, rate, lines

    def publish(self, rate: int, lines: Any) -> str:
        """What the operator's publication ends with."""
        try:
            self.call(UTILITY, "grid", "publish", root=self.tree()[0], rate=rate, lines=lines)
        except ContractError as error:
            return error.code
        return "ok"


def stepped(lines: Any, more: int) -> Any:
    return tuple((*line[:3], line[3] + more, *line[4:]) for line in lines)


def test_tolls_are_raised_by_vote_alone() -> None:
    world = Council()
    _, rate, lines = world.tree()
    assert world.publish(rate, stepped(lines, 1)) == "toll-too-high"
    assert world.publish(rate + 1, tuple((*line[:2], 7, *line[3:]) for line in lines)) == "toll-too-high"
    parent, child = lines[0][:2]
    world.decide("propose_tolls", steps=((parent, child, lines[0][3] + 500),))
    assert world.tree()[2][0][3] == lines[0][3] + 500 and world.tree()[2][1:] == lines[1:]
    assert world.history()[-1][5] == "ok"
    raised = world.tree()[2]
    assert world.publish(rate, lines) == "ok", "to lower them is the operator's"
    assert world.publish(rate, raised) == "ok", "and to take that back"
    assert world.publish(rate, stepped(raised, 1)) == "toll-too-high"
    world.decide("propose_tolls", rate=rate + 10)
    assert world.tree()[:2] == (world.tree()[0], rate + 10)


def test_new_lines_cost_what_was_voted_for_lines_at_most() -> None:
    world = Council()
    root, rate, lines = world.tree()
    highest = max(line[3] for line in lines)
    new = (root, "new-bus", 0, highest, None, None)
    assert world.publish(rate, (*lines, (*new[:3], highest + 1, None, None))) == "toll-too-high"
    assert world.publish(rate, (*lines, new)) == "ok"
    assert world.publish(rate, (*lines, (root, "new-bus", 5, highest, 1_000, None))) == "ok", (
        "limits are the operator's"
    )


def test_without_votes_the_operator_publishes_as_it_likes() -> None:
    world = Council(governed=False)
    _, rate, lines = world.tree()
    assert world.publish(rate + 5, stepped(lines, 1_000)) == "ok"


def test_tolls_that_cannot_come_into_force_are_said_to_have_failed() -> None:
    """The operator has built the line another way meanwhile."""
    world = Council()
    root, rate, lines = world.tree()
    assert world.publish(rate, (*lines, (root, "new-bus", 0, 0, None, None))) == "ok"
    number, digest, _ = world.propose("ada", "propose_tolls", steps=((root, "new-bus", 0), (*lines[0][:2], 9_000)))
    world.approve("bob", number, digest)
    world.approve("cyd", number, digest)
    assert world.publish(rate, (*lines, (lines[0][1], "new-bus", 0, 0, None, None))) == "ok"
    before = world.tree()
    world.height += NOTICE - 1
    world.next_block()
    assert world.tree() == before
    assert world.history()[-1][5:] == ("unknown-line", world.height)
    assert world.events[-1].topic == "motion-failed" or "motion-failed" in [event.topic for event in world.events]
    assert world.query("motions", "scheduled") == ()


def test_what_no_motion_of_tolls_can_be() -> None:
    world = Council()
    parent, child, _, step, *_ = world.tree()[2][0]

    def refused(**args: Any) -> str:
        args["first_height"] = world.height + NOTICE
        return world.refused(admin("ada"), "motions", "propose_tolls", **args)

    assert refused(steps=((parent, "nowhere", 1),)) == "unknown-line"
    assert refused(steps=((parent, child, 1), (parent, child, 1))) == "unknown-line"
    assert refused(steps=((parent, child, step),)) == "no-change"
    assert refused() == "no-change"
    assert refused(rate=-1) == "bad-rate"
    assert refused(steps=((parent, child, -1),)) == "bad-step"
    assert refused(steps=((parent, child, 1),) * 401) == "too-many"
    args: dict[str, Any] = {"first_height": world.height + NOTICE, "rate": 3}
    assert world.refused(UTILITY, "motions", "propose_tolls", **args) == "not-allowed"
    assert world.refused(admin("ada"), "motions", "propose_tolls", rate=3, first_height=5) == "too-soon"


def test_an_auditor_is_made_and_dismissed_by_vote_alone() -> None:
    world = Council()
    regulator = key("regulator")
    assert AUDITOR not in MEMBER_ROLES
    refused = agreed(ADMIN, member="regulator", key=signer("regulator"), roles=(AUDITOR,))
    assert world.refused(ADMIN, "identity", "register_member", **refused) == "bad-role"
    world.decide("propose_auditor", name="regulator", key=regulator)
    with world.transaction() as ctx:
        assert has_role(ctx, regulator, AUDITOR)
    assert world.query("motions", "auditors") == (("regulator", regulator),)
    args: dict[str, Any] = {"first_height": world.height + NOTICE, "name": "regulator"}
    assert world.refused(admin("ada"), "motions", "propose_auditor", key=regulator, **args) == "no-change"
    world.decide("dismiss_auditor", name="regulator")
    with world.transaction() as ctx:
        assert not has_role(ctx, regulator, AUDITOR)
    assert world.query("motions", "auditors") == ()
    args["first_height"] = world.height + NOTICE
    assert world.refused(admin("ada"), "motions", "dismiss_auditor", **args) == "no-change"
    assert world.refused(admin("ada"), "motions", "propose_auditor", key=key("another"), **args) == "duplicate-id"
    assert [row[5] for row in world.history()] == ["ok", "ok"]


def test_a_member_keeps_its_roles_beside() -> None:
    world = Council()
    world.decide("propose_auditor", name="utility", key=UTILITY)
    with world.transaction() as ctx:
        assert has_role(ctx, UTILITY, AUDITOR) and has_role(ctx, UTILITY, "grid-operator")
    world.decide("dismiss_auditor", name="utility")
    with world.transaction() as ctx:
        assert not has_role(ctx, UTILITY, AUDITOR) and has_role(ctx, UTILITY, "grid-operator")


def test_one_of_a_kind_is_scheduled_at_a_time() -> None:
    world = Council()
    one = world.propose("ada", "propose_auditor", name="one", key=key("one"))
    two = world.propose("bob", "propose_auditor", name="two", key=key("two"), first_height=world.height + 200)
    tolls = world.propose("ada", "propose_tolls", rate=77)
    for number, digest, _ in (one, tolls):
        for who in ("bob", "cyd"):
            world.approve(who, number, digest)
    world.approve("ada", *two[:2])
    assert world.refused(admin("cyd"), "motions", "approve", proposal=two[0], digest=two[1]) == "change-pending"
    coming = cast("tuple[tuple[Value, ...], ...]", world.query("motions", "scheduled"))
    assert [row[2] for row in coming] == ["auditor", "tolls"]
    world.height += NOTICE - 1
    world.next_block()
    assert world.approve("cyd", *two[:2]) == 0


def test_a_motion_is_listed_approved_by_digest_and_withdrawn() -> None:
    world = Council()
    number, digest, _ = world.propose("ada", "propose_upgrade", name="rates", digest=bytes(32))
    assert digest == digest_of(CHAIN, number, "upgrade", ("rates", bytes(32)), world.height + NOTICE)
    ((*row,),) = cast("Any", world.query("motions", "proposals"))
    assert row[:5] == [number, digest, "upgrade", ("rates", bytes(32)), world.height + NOTICE]
    assert row[7:] == [("ada",), ("bob", "cyd", "dan"), 2]
    assert world.refused(admin("bob"), "motions", "approve", proposal=number, digest=bytes(32)) == "wrong-digest"
    assert world.refused(admin("bob"), "motions", "withdraw", proposal=number) == "not-allowed"
    world.approve("bob", number, digest)
    world.call(admin("bob"), "motions", "withdraw", proposal=number)
    world.call(admin("ada"), "motions", "withdraw", proposal=number)
    assert world.query("motions", "proposals") == ()
    args: dict[str, Any] = {"first_height": world.height + NOTICE}
    assert world.refused(admin("ada"), "motions", "propose_upgrade", name="x", digest=b"short", **args) == "bad-digest"
    assert world.refused(admin("ada"), "motions", "propose_upgrade", name="X", digest=bytes(32), **args) == "bad-id"
    assert world.refused(admin("ada"), "motions", "cancel_upgrade", digest=bytes(32)) == "no-upgrade"
    assert Council(governed=False).refused(
        admin("ada"), "motions", "propose_upgrade", name="x", digest=bytes(32), **args
    ) == "no-governance"  # fmt: skip
