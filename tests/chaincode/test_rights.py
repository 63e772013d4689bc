"""Who may do what stands in one table: every row of it is asked for, and who is taken out of a row may no longer."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaincode import roles
from tests.chaincode import meters
from tests.chaincode.council import Council
from tests.chaincode.keyed import ADMIN, CLUB, EV, OWNER_1, proof, reset, signer, world_of_signers
from tests.chaincode.marketplace import SLOT_S, key_of, marketplace
from tests.chaincode.town import NAMES, admin
from tests.chaincode.world import World

CONTRACTS = Path(roles.__file__).parent
ASKING = ("has_right", "require_right", "_require", "_require_registrar")
"""Functions whose second argument is a right."""


def called(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def texts(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def asked(module: ast.Module) -> Iterator[str]:
    """The rights that a contract's source asks for: by name, or by a table of names of its own."""
    tables = {
        called(node.target): list(texts(node.value))
        for node in module.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and called(node.func) in ASKING and len(node.args) > 1:
            yield from texts(node.args[1])
        elif isinstance(node, ast.Subscript) and called(node.value) == "RIGHTS":
            yield from texts(node.slice)
            if isinstance(node.slice, ast.Subscript):
                yield from tables[called(node.slice.value)]


def test_every_row_of_the_table_is_asked_for_and_nothing_else_is() -> None:
    found = {right for path in CONTRACTS.glob("*.py") for right in asked(ast.parse(path.read_text()))}
    assert found == set(roles.RIGHTS)


def shares() -> tuple[World, bytes, str, str, dict[str, Any]]:
    leave = {"kind": "network", "name": "home-1", "reader": CLUB.public_key, "classes": ("budget",), "until": 1_000}
    return world_of_signers(), OWNER_1.public_key, "grants", "grant", leave


def shares_its_own() -> tuple[World, bytes, str, str, dict[str, Any]]:
    leave = {"kind": "member", "name": "club", "reader": OWNER_1.public_key, "classes": ("budget",), "until": 1_000}
    return world_of_signers(), CLUB.public_key, "grants", "grant", leave


def stirs() -> tuple[World, bytes, str, str, dict[str, Any]]:
    return marketplace(), key_of("club"), "privacy", "add_entropy", {"entropy": bytes(32)}


def stirs_as_admin() -> tuple[World, bytes, str, str, dict[str, Any]]:
    return Council(), admin(NAMES[0]), "privacy", "add_entropy", {"entropy": bytes(32)}


def enrols() -> tuple[World, bytes, str, str, dict[str, Any]]:
    world, once, new = world_of_signers(), signer("once"), signer("new")
    reset(world, "device", EV, OWNER_1, once)
    signed = {"key": new.public_key, "proof": proof("device", EV, once.public_key, new)}
    return world, once.public_key, "keys", "enrol", signed


def changes_its_key() -> tuple[World, bytes, str, str, dict[str, Any]]:
    new = signer("new")
    signed = {"key": new.public_key, "proof": proof("admin", "", ADMIN.public_key, new)}
    return world_of_signers(), ADMIN.public_key, "keys", "rotate_admin_key", signed


def votes() -> tuple[World, bytes, str, str, dict[str, Any]]:
    council = Council()
    return council, admin(NAMES[0]), "rules", "propose", council.proposed(None, {"tick_s": 600})


def reads_the_feeder() -> tuple[World, bytes, str, str, dict[str, Any]]:
    world = meters.street()
    world.next_block(2 * SLOT_S)
    figures = {"import_wh": 5, "export_wh": 0, "import_register": 5, "export_register": 0}
    return world, meters.FEEDER_KEY, "settlement", "report_feeder", {"slot": 1, **figures}


@pytest.mark.parametrize(
    ("right", "holder", "case", "code"),
    [
        ("share-data", "owner", shares, "wrong-key"),
        ("share-data", "member", shares_its_own, "wrong-key"),
        ("add-entropy", "member", stirs, "not-allowed"),
        ("add-entropy", "validator-admin", stirs_as_admin, "not-allowed"),
        ("enrol", "one-time-key", enrols, "no-enrolment"),
        ("change-admin-key", roles.ADMIN, changes_its_key, "unknown-admin"),
        ("govern", "validator-admin", votes, "not-allowed"),
        ("report-feeder", "feeder-meter", reads_the_feeder, "wrong-key"),
    ],
)
def test_who_is_taken_out_of_a_row_may_no_longer(
    right: str,
    holder: str,
    case: Callable[[], tuple[World, bytes, str, str, dict[str, Any]]],
    code: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, sender, contract, method, args = case()
    holders = roles.RIGHTS[right]
    assert holder in holders
    with monkeypatch.context() as patch:
        patch.setitem(roles.RIGHTS, right, tuple(other for other in holders if other != holder))
        assert world.refused(sender, contract, method, **args) == code
    world.call(sender, contract, method, **args)


def test_a_role_instead_of_which_keys_are_named_counts_by_these_alone() -> None:
    """An admin of the genesis changes its own key; a member with the role has a key of another kind."""
    world = world_of_signers()
    with world.transaction(ADMIN.public_key) as ctx:
        assert roles.has_right(ctx, "change-admin-key")
        assert not roles.has_right(ctx, "change-admin-key", {roles.ADMIN: ()})
        assert not roles.has_right(ctx, "enrol"), "nobody is told to have a one-time key"
