"""Who goes without, and who gives to whom: the quick algorithms against the simple ones that say what is meant."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode.apportion import apportion
from chaincode.budget_division import MAX_PARTS, Need, Part, divide, lacking, refused

DEVICES = ("a", "b", "c")
amounts = st.integers(1, 12)
asked = st.lists(st.tuples(st.sampled_from(DEVICES), amounts), max_size=14)
purses = st.fixed_dictionaries({device: st.integers(0, 25) for device in DEVICES})


def needs_of(rows: list[tuple[str, int]], order: Random | None = None) -> list[Need]:
    """Needs with references that stand in another order than they do, if ``order`` says so."""
    references = [b"%03d" % number for number in range(len(rows))]
    if order is not None:
        order.shuffle(references)
    return [Need(reference, device, amount) for reference, (device, amount) in zip(references, rows, strict=True)]


def simply_refused(needs: list[Need], own: dict[str, int], reach: int) -> set[bytes]:
    """While those left lack more than is in reach, the one that lacks most goes: decision 0004, word for word."""
    gone: set[bytes] = set()
    while True:
        lacks = lacking([need for need in needs if need.reference not in gone], own)
        if sum(lack.amount for lack in lacks) <= reach:
            return gone
        gone.add(max(lacks, key=lambda lack: (lack.amount, lack.reference)).reference)


def simply_divided(offers: list[int], needs: list[Need]) -> list[Part]:
    """Giver after giver divides what it has pro rata among what is still lacking."""
    missing = [need.amount for need in needs]
    parts = []
    for giver, offer in enumerate(offers):
        wanted = sum(missing)
        if not wanted:
            break
        shares = list(missing)
        if offer < wanted:
            shares = apportion(offer, missing, [(need.device, need.reference) for need in needs])
        parts += [Part(giver, number, share) for number, share in enumerate(shares) if share]
        missing = [lack - share for lack, share in zip(missing, shares, strict=True)]
    return parts


@settings(max_examples=400, deadline=None)
@given(asked, purses, st.integers(0, 90), st.randoms(use_true_random=False))
def test_who_goes_without_is_who_lacks_most_again_and_again(
    rows: list[tuple[str, int]], own: dict[str, int], reach: int, order: Random
) -> None:
    needs = needs_of(rows, order)
    gone = refused(needs, own, reach)
    assert set(gone) == simply_refused(needs, own, reach)
    left = lacking([need for need in needs if need.reference not in gone], own)
    assert sum(lack.amount for lack in left) <= reach


@settings(max_examples=200, deadline=None)
@given(asked, st.lists(amounts, max_size=8), st.randoms(use_true_random=False))
def test_several_needs_on_one_giver_share_pro_rata(
    rows: list[tuple[str, int]], offers: list[int], order: Random
) -> None:
    needs = needs_of(rows, order)
    assert divide(offers, needs) == simply_divided(offers, needs)


@settings(max_examples=40, deadline=None)
@given(st.integers(33, 60), st.integers(33, 60), st.booleans(), st.randoms(use_true_random=False))
def test_beyond_so_many_parts_the_amounts_are_the_same_and_the_parts_few(
    givers: int, wants: int, suffices: bool, fate: Random
) -> None:
    needs = needs_of([(fate.choice(DEVICES), fate.randint(1, 10**9)) for _ in range(wants)], fate)
    wanted = sum(need.amount for need in needs)
    offers = apportion(wanted * (3 if suffices else 1) // 2, [fate.randint(1, 9) for _ in range(givers)], range(givers))
    used = len({part.giver for part in simply_divided(offers, needs)})
    parts = divide(offers, needs)
    if used * wants > MAX_PARTS:
        assert len(parts) < used + wants
    gave, got = [0] * givers, [0] * wants
    for part in parts:
        assert part.amount > 0
        gave[part.giver] += part.amount
        got[part.need] += part.amount
    if suffices:
        assert got == [need.amount for need in needs]
        assert [amount for amount in gave if amount][:-1] == offers[: used - 1], "in order, each to its last token"
    else:
        assert gave == offers
        names = [(need.device, need.reference) for need in needs]
        exact = apportion(sum(offers), [need.amount for need in needs], names)
        assert got == exact or (used * wants <= MAX_PARTS and max(map(abs, map(int.__sub__, got, exact))) <= used)


@settings(max_examples=60, deadline=None)
@given(asked, st.lists(amounts, max_size=8), st.randoms(use_true_random=False))
def test_where_a_need_stands_changes_nothing_for_it(
    rows: list[tuple[str, int]], offers: list[int], fate: Random
) -> None:
    needs = needs_of(rows)
    shuffled = fate.sample(needs, len(needs))
    of = {(part.giver, needs[part.need].reference): part.amount for part in divide(offers, needs)}
    assert of == {(part.giver, shuffled[part.need].reference): part.amount for part in divide(offers, shuffled)}


def test_own_money_that_becomes_free_goes_to_the_devices_next_needs() -> None:
    needs = needs_of([("a", 200 + number) for number in range(250)])
    assert set(refused(needs, {"a": 10_500}, 0)) == simply_refused(needs, {"a": 10_500}, 0)
    assert len(refused(needs, {"a": 10_500}, 10**6)) == 0
