"""Who validates: what may be proposed, and who decides."""

from typing import Any, cast

import pytest

from chaincode.contract import ContractError
from chaincode.governance import MAX_AHEAD, MAX_OPEN_PER_ADMIN, NOTICE, Governance, digest_of
from chaincode.validators import MAX_VALIDATORS, epoch_count
from node.consensus.settings import WINDOW
from tests.chaincode.town import NAMES, Town, admin, joining, key, pem, rotated
from tests.chaincode.world import CHAIN, World


def code(town: Town, who: str, method: str, **args: Any) -> tuple[str, tuple[int, ...]]:
    with pytest.raises(ContractError) as caught:
        town.call(admin(who), "governance", method, **args)
    return caught.value.code, caught.value.details


def propose_code(town: Town, who: str, kind: str, name: str, **rest: Any) -> str:
    args = {"kind": kind, "name": name, "first_height": town.height + NOTICE, **rest}
    return code(town, who, "propose", **args)[0]


def test_the_notice_is_twice_the_window_and_one() -> None:
    """Checklist 47: no replica can work beyond an epoch's end before the state has told it."""
    assert NOTICE == 2 * WINDOW + 1


def test_more_than_two_thirds_add_a_validator_at_the_stated_height() -> None:
    """Checklist 47: a change takes effect at a stated height."""
    town = Town()
    number, digest, missing = town.propose("ada", "add", "eve", town.height + 50, **joining("eve"))
    assert missing == 2
    assert town.approve("bob", number, digest) == 1
    assert town.approve("bob", number, digest) == 1, "one vote each"
    assert len(town.epochs()) == 1
    assert town.approve("cyd", number, digest) == 0
    first = town.height + 50
    assert [(epoch.number, epoch.first_height) for epoch in town.epochs()] == [(0, 1), (1, first)]
    assert town.names() == [*NAMES, "eve"]
    assert town.query("governance", "proposals") == ()
    town.at(first - 1)
    assert cast("tuple[int, ...]", town.query("governance", "validators"))[0] == 0
    assert code(town, "eve", "propose", kind="remove", name="ada", first_height=first + 99)[0] == "not-allowed"
    town.at(first)
    assert cast("tuple[int, ...]", town.query("governance", "validators"))[0] == 1
    assert town.propose("eve", "remove", "ada")[2] == 3, "four of five from now on"


def test_keys_rotate_in_place() -> None:
    """Checklist 50: while whoever else is down, since a quorum decides and none is asked for the other nodes."""
    town = Town()
    assert town.decide("rotate", "bob", "ada", "cyd", "dan", **rotated("new bob")) == 0
    seat = town.epochs()[-1].seats[1]
    assert (seat.name, seat.public_key, seat.admin_key) == ("bob", key("new bob"), admin("bob"))
    assert town.names() == list(NAMES)


def test_an_admin_who_lost_its_key_is_replaced_with_its_nodes_keys() -> None:
    """The others vote; from the height on the key before decides for nobody."""
    town = Town()
    assert town.decide("rotate", "bob", "ada", "cyd", "dan", **rotated("new bob") | {"admin_key": admin("eve")}) == 0
    epoch = town.epochs()[-1]
    assert epoch.seats[1].admin_key == admin("eve")
    town.at(epoch.first_height - 1)
    with town.transaction() as ctx:
        assert town.registry.knows(ctx, admin("bob")), "it decides until then"
    town.at(epoch.first_height)
    assert code(town, "bob", "propose", kind="remove", name="ada", first_height=town.height + 99)[0] == "not-allowed"
    assert town.propose("eve", "rotate", "ada", **rotated("new ada"))[2] == 2
    with town.transaction() as ctx:
        known = [town.registry.knows(ctx, admin(name)) for name in ("ada", "bob", "eve")]
    assert known == [True, False, True], "who decides for nobody is not let in"


def test_one_change_is_scheduled_at_a_time() -> None:
    """Checklist 48: of an addition and a removal decided together the second waits; the set never falls below 4."""
    town = Town(("ada", "bob", "cyd", "dan", "eve"))
    add = town.propose("ada", "add", "fay", town.height + 60, **joining("fay"))
    remove = town.propose("bob", "remove", "eve", town.height + 200)
    for who in ("cyd", "dan"):
        assert town.approve(who, *add[:2]) > 0 and town.approve(who, *remove[:2]) > 0
    assert town.approve("eve", *add[:2]) == 0
    first = town.height + 60
    assert code(town, "eve", "approve", proposal=remove[0], digest=remove[1]) == ("change-pending", (first,))
    town.at(first)
    assert town.approve("eve", *remove[:2]) == 1, "five of six now"
    assert town.approve("fay", *remove[:2]) == 0
    assert town.names() == ["ada", "bob", "cyd", "dan", "fay"]


def test_the_set_never_falls_below_four_nor_grows_beyond_forty() -> None:
    """Checklist 48: also if it has shrunk since the change was proposed."""
    town = Town()
    assert propose_code(town, "ada", "remove", "dan") == "too-few"
    crowd = Town(tuple(f"node-{i}" for i in range(MAX_VALIDATORS)))
    assert propose_code(crowd, "node-0", "add", "eve", **joining("eve")) == "too-many"
    five = Town(("ada", "bob", "cyd", "dan", "eve"))
    late = five.propose("ada", "remove", "dan", five.height + 500)
    assert five.decide("remove", "eve", "ada", "bob", "cyd", "dan") == 0
    five.at(five.height + NOTICE)
    assert five.approve("bob", *late[:2]) == 1
    assert code(five, "cyd", "approve", proposal=late[0], digest=late[1])[0] == "too-few"


@pytest.mark.parametrize(
    ("kind", "name", "rest", "expected"),
    [
        ("replace", "ada", {}, "bad-kind"),
        ("remove", "eve", {}, "unknown-validator"),
        ("rotate", "eve", rotated("new eve"), "unknown-validator"),
        ("remove", "ada", {"public_key": key("x")}, "bad-args"),
        ("rotate", "ada", rotated("new ada") | {"admin_key": b"eve"}, "bad-key"),
        ("rotate", "ada", rotated("ada") | {"admin_key": admin("eve")}, "no-change"),
        ("add", "eve", joining("eve") | {"address": ""}, "bad-args"),
        ("add", "ada", joining("eve"), "duplicate-name"),
        ("add", "eve", joining("eve") | {"public_key": key("bob")}, "duplicate-key"),
        ("add", "eve", joining("eve") | {"tls_certificate": pem("bob").encode()}, "duplicate-certificate"),
        ("rotate", "ada", rotated("bob") | {"tls_certificate": pem("new ada").encode()}, "duplicate-key"),
        ("rotate", "ada", rotated("new ada") | {"tls_certificate": pem("bob").encode()}, "duplicate-certificate"),
        ("rotate", "ada", rotated("ada"), "no-change"),
        ("add", "Eve", joining("eve"), "bad-id"),
        ("add", "a/b", joining("eve"), "bad-id"),
        ("add", "eve", joining("eve") | {"public_key": b"short"}, "bad-key"),
        ("add", "eve", joining("eve") | {"admin_key": b""}, "bad-key"),
        ("add", "eve", joining("eve") | {"tls_certificate": b""}, "bad-certificate"),
        ("add", "eve", joining("eve") | {"tls_certificate": b"\xff"}, "bad-certificate"),
        ("add", "eve", joining("eve") | {"tls_certificate": 2 * pem("eve").encode()}, "bad-certificate"),
        (
            "add",
            "eve",
            joining("eve") | {"tls_certificate": pem("eve").replace("\n", "\n\n").encode()},
            "bad-certificate",
        ),
        (
            "add",
            "eve",
            joining("eve") | {"tls_certificate": pem("eve").replace("Li4u", "Li4").encode()},
            "bad-certificate",
        ),
        ("add", "eve", joining("eve") | {"tls_certificate": pem("eve" * 2000).encode()}, "bad-certificate"),
        ("add", "eve", joining("eve") | {"address": "eve"}, "bad-address"),
        ("add", "eve", joining("eve") | {"address": ":7501"}, "bad-address"),
        ("add", "eve", joining("eve") | {"address": "eve:0"}, "bad-address"),
        ("add", "eve", joining("eve") | {"address": "eve:65536"}, "bad-address"),
        ("add", "eve", joining("eve") | {"address": "e ve:7501"}, "bad-address"),
    ],
)
def test_what_is_refused(kind: str, name: str, rest: dict[str, Any], expected: str) -> None:
    town = Town()
    assert propose_code(town, "ada", kind, name, **rest) == expected
    assert len(town.epochs()) == 1 and town.query("governance", "proposals") == ()


def test_a_new_certificate_alone_is_a_rotation() -> None:
    """Checklist 51: a certificate can be replaced without another key."""
    town = Town()
    change: dict[str, Any] = rotated("ada") | {"tls_certificate": pem("new ada").encode()}
    assert town.decide("rotate", "ada", "bob", "cyd", "dan", **change) == 0


def test_nobody_approves_anything_but_what_it_has_read() -> None:
    town = Town()
    number, digest, _ = town.propose("ada", "add", "eve", 90, **joining("eve"))
    seat = ("eve", key("eve"), pem("eve"), admin("eve"), "eve.example:7501")
    assert digest == digest_of(CHAIN, number, "add", seat, 90)
    others = [
        digest_of(key("another chain"), number, "add", seat, 90),
        digest_of(CHAIN, number + 1, "add", seat, 90),
        digest_of(CHAIN, number, "rotate", seat, 90),
        digest_of(CHAIN, number, "add", seat, 91),
        *(
            digest_of(CHAIN, number, "add", cast("Any", (*seat[:i], seat[i][:-1], *seat[i + 1 :])), 90)
            for i in range(len(seat))
        ),
    ]
    assert len({digest, *others}) == len(others) + 1
    for other in others:
        assert code(town, "bob", "approve", proposal=number, digest=other)[0] == "wrong-digest"
    assert code(town, "bob", "approve", proposal=number + 1, digest=digest)[0] == "unknown-proposal"


def test_heights_that_are_too_near_or_too_far() -> None:
    town = Town()
    town.at(100)
    args = {"kind": "add", "name": "eve", **joining("eve")}
    assert code(town, "ada", "propose", first_height=132, **args) == ("too-soon", (133,))
    assert code(town, "ada", "propose", first_height=101 + MAX_AHEAD, **args) == ("too-far", (100 + MAX_AHEAD,))
    number, digest, _ = town.propose("ada", "add", "eve", 133, **joining("eve"))
    town.approve("bob", number, digest)
    town.at(101)
    assert code(town, "cyd", "approve", proposal=number, digest=digest) == ("lapsed", (100,))
    assert town.query("governance", "proposals") == ()


def test_only_admins_of_validators_in_force_decide() -> None:
    town = Town()
    number, digest, _ = town.propose("ada", "add", "eve", **joining("eve"))
    assert code(town, "eve", "approve", proposal=number, digest=digest)[0] == "not-allowed"
    assert code(town, "eve", "withdraw", proposal=number)[0] == "not-allowed"
    with town.transaction() as ctx:
        assert [town.registry.knows(ctx, admin(name)) for name in ("ada", "eve")] == [True, False]


def test_an_approval_of_one_who_has_left_does_not_count() -> None:
    town = Town(("ada", "bob", "cyd", "dan", "eve"))
    planned = town.height + 500
    waiting = town.propose("eve", "add", "fay", planned, **joining("fay"))
    by_ada = town.propose("ada", "rotate", "bob", planned, **rotated("new bob"))
    town.approve("eve", *by_ada[:2])
    assert town.decide("remove", "eve", "ada", "bob", "cyd", "dan") == 0
    town.at(town.height + NOTICE)
    rows = cast("tuple[tuple[Any, ...], ...]", town.query("governance", "proposals"))
    assert [(row[0], row[11], row[12], row[13]) for row in rows] == [(by_ada[0], ("ada",), ("bob", "cyd", "dan"), 2)]
    assert code(town, "eve", "withdraw", proposal=waiting[0])[0] == "not-allowed"
    gone = code(town, "ada", "approve", proposal=waiting[0], digest=waiting[1])
    assert gone == ("lapsed", (planned - NOTICE,)), "nobody sees it, so nobody decides it either"


def test_proposals_and_approvals_are_withdrawn() -> None:
    town = Town()
    number, digest, _ = town.propose("ada", "add", "eve", **joining("eve"))
    assert code(town, "bob", "withdraw", proposal=number)[0] == "not-allowed"
    assert town.approve("bob", number, digest) == 1
    town.call(admin("bob"), "governance", "withdraw", proposal=number)
    assert town.approve("cyd", number, digest) == 1
    town.call(admin("ada"), "governance", "withdraw", proposal=number)
    assert code(town, "cyd", "approve", proposal=number, digest=digest)[0] == "unknown-proposal"
    assert town.propose("ada", "add", "eve", **joining("eve"))[0] == number + 1, "numbers are used once"


def test_open_proposals_are_bounded_and_lapsed_ones_forgotten() -> None:
    town = Town()
    for turn in range(MAX_OPEN_PER_ADMIN):
        town.propose("ada", "add", f"eve-{turn}", **joining(f"eve-{turn}"))
    assert propose_code(town, "ada", "add", "fay", **joining("fay")) == "too-many-proposals"
    town.propose("bob", "add", "fay", **joining("fay"))
    town.at(town.height + 1)
    town.propose("ada", "add", "gus", **joining("gus"))
    assert len([key for key, _ in town.state.scan(b"gov-proposal/", b"gov-proposal0")]) == 2, "the count, and one"


def test_one_key_may_decide_for_several() -> None:
    validators = tuple((name, key(name).hex(), pem(name)) for name in NAMES)
    admins = tuple((name, admin("ada" if name != "dan" else "dan").hex()) for name in NAMES)
    world = World([Governance()], {"governance": {"validators": validators, "admins": admins}})
    call = {"kind": "add", "name": "eve", "first_height": 99, **joining("eve")}
    answer = cast("tuple[Any, ...]", world.call(admin("ada"), "governance", "propose", **call))
    assert answer[2] == 0 and epoch_count(world.state.get) == 2


@pytest.mark.parametrize("admins", [(), (("ada", "00"),), tuple((name, "00" * 32) for name in NAMES[1:])])
def test_settings_name_an_admin_for_each(admins: tuple[tuple[str, str], ...]) -> None:
    validators = tuple((name, key(name).hex(), pem(name)) for name in NAMES)
    with pytest.raises(ContractError, match="bad-settings"):
        World([Governance()], {"governance": {"validators": validators, "admins": admins}})


def test_without_settings_nobody_changes_anything() -> None:
    world = World([Governance()])
    with pytest.raises(ContractError, match="no-governance"):
        world.query("governance", "validators")
    with pytest.raises(ContractError, match="no-governance"):
        world.call(admin("ada"), "governance", "propose", kind="remove", name="ada", first_height=99)
    with pytest.raises(ContractError, match="no-governance"):
        world.query("governance", "proposals")
    assert world.query("governance", "epochs") == ()
