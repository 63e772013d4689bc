"""Random changes of keys against a model of who holds which."""

from hypothesis import given, settings
from hypothesis import strategies as st

from node.model.keys import SigningKey
from tests.chaincode.keyed import (
    ADMIN,
    EV,
    OWNER_2,
    ROTATE,
    enrol,
    knows,
    may_trade,
    refused,
    reset,
    rotate,
    rotation,
    signer,
    uses,
    world_of_signers,
)

SUBJECTS = (("device", EV), ("device", "home-2/load"), ("meter", EV), ("network", "home-1"), ("member", "club"))

_CHANGES = st.lists(
    st.tuples(st.sampled_from(("rotate", "reset", "enrol")), st.integers(0, len(SUBJECTS) - 1), st.integers(0, 3)),
    max_size=24,
)


@settings(max_examples=40, deadline=None)
@given(_CHANGES)
def test_after_any_changes_exactly_the_present_keys_act(changes: list[tuple[str, int, int]]) -> None:
    """A model of who holds which key; the ledger agrees on each key's uses, whatever was done in which order."""
    world = world_of_signers()
    pool = [signer(f"pool {number}") for number in range(4)]
    holder: dict[tuple[str, str], SigningKey | None] = {subject: signer(_name(subject)) for subject in SUBJECTS}
    codes: dict[tuple[str, str], SigningKey] = {}
    made = 0
    for what, index, number in changes:
        subject, key = SUBJECTS[index], pool[number]
        by = next((each for each in _above(subject, holder) if each is not None), None)
        if what == "enrol":
            if subject in codes:
                enrol(world, *subject, codes.pop(subject), key)
                holder[subject] = key
        elif by is None:
            continue
        elif what == "reset":
            codes[subject] = signer(f"once {made}")
            made += 1
            reset(world, *subject, by, codes[subject])
            holder[subject] = None
        elif holder[subject] is key:
            args = rotation(*subject, by, key)
            assert refused(world, by, f"rotate_{ROTATE[subject[0]]}_key", **args) == "no-change"
        else:
            rotate(world, *subject, by, key)
            codes.pop(subject, None)
            holder[subject] = key
    for key in (*pool, *(signer(_name(subject)) for subject in SUBJECTS)):
        held = {subject for subject, present in holder.items() if present and present.public_key == key.public_key}
        assert uses(world, key) == held
        assert knows(world, key) == bool(held)
        owned = {("device", EV), ("network", "home-1")} & held
        assert may_trade(world, EV, key) == bool(owned)
    assert all(knows(world, code) for code in codes.values())


def _name(subject: tuple[str, str]) -> str:
    kind, name = subject
    return {"meter": f"meter of {name}", "network": "owner-1"}.get(kind, name)


def _above(subject: tuple[str, str], holder: dict[tuple[str, str], SigningKey | None]) -> list[SigningKey | None]:
    """Who may change the key of ``subject``, in the model."""
    kind, name = subject
    if kind == "member":
        return [holder[subject], ADMIN]
    if kind == "device":
        owner = holder["network", "home-1"] if name == EV else OWNER_2
        return [holder[subject], owner, holder["member", "club"]]
    return [holder["member", "club"], holder[subject] if kind == "network" else ADMIN]
