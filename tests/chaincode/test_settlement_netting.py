"""Own sun first: the netting rule, by itself."""

from hypothesis import given
from hypothesis import strategies as st

from chaincode.settlement_netting import Netted, net

deviations = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(-3_000, 3_000), min_size=1).map(
    lambda by_device: list(by_device.items())
)


def test_the_short_take_the_surplus_and_the_rest_from_the_utility() -> None:
    assert net([("ev", 700), ("load", 300), ("pv", -400)]) == [
        Netted("ev", 700, 280, 420),
        Netted("load", 300, 120, 180),
        Netted("pv", -400, 400, 0),
    ]


def test_equal_remainders_go_to_the_smaller_name() -> None:
    assert net([("b", 10), ("a", 10), ("pv", -5)]) == [
        Netted("b", 10, 2, 8),
        Netted("a", 10, 3, 7),
        Netted("pv", -5, 5, 0),
    ]


def test_without_a_counterpart_all_is_the_utilitys() -> None:
    assert net([("a", 5), ("b", 0)]) == [Netted("a", 5, 0, 5), Netted("b", 0, 0, 0)]
    assert net([("a", -5)]) == [Netted("a", -5, 0, 5)]


@given(deviations)
def test_every_wh_is_settled_once(given_wh: list[tuple[str, int]]) -> None:
    netted = net(given_wh)
    short = sum(wh for _, wh in given_wh if wh > 0)
    surplus = sum(-wh for _, wh in given_wh if wh < 0)
    inside = min(short, surplus)
    assert [(each.device, each.deviation_wh) for each in netted] == given_wh
    assert all(each.internal_wh + each.utility_wh == abs(each.deviation_wh) for each in netted)
    assert all(each.internal_wh >= 0 and each.utility_wh >= 0 for each in netted)
    assert sum(each.internal_wh for each in netted if each.deviation_wh > 0) == inside
    assert sum(each.internal_wh for each in netted if each.deviation_wh < 0) == inside
    # Only one side has business with the utility.
    assert len({each.deviation_wh > 0 for each in netted if each.utility_wh}) <= 1


@given(deviations)
def test_nobody_is_more_than_a_wh_from_its_exact_share(given_wh: list[tuple[str, int]]) -> None:
    inside = min(sum(wh for _, wh in given_wh if wh > 0), sum(-wh for _, wh in given_wh if wh < 0))
    for each in net(given_wh):
        side = sum(abs(wh) for _, wh in given_wh if (wh > 0) == (each.deviation_wh > 0) and wh)
        if side:
            assert abs(each.internal_wh * side - inside * abs(each.deviation_wh)) < side
